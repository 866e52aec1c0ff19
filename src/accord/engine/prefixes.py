"""Keys and values of what was read before, kept for prompts that begin with the same tokens.

They are kept in blocks of a few tokens, each under the block before it: what conversations share
(instructions, the turns so far) is kept once. Nothing is hashed to a number that could collide:
another text never answers for this one. What was not used for the longest time goes first, and the
end of a text before its beginning, without which it could not be found.
"""

from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from torch import Tensor

BLOCK = 16
"""Tokens that are kept, found and dropped together."""


class Prompt(NamedTuple):
    """Token ids, and the adapter that reads them (None is the trunk alone)."""

    adapter: str | None
    ids: tuple[int, ...]


class _Node(NamedTuple):
    number: int
    columns: Tensor  # (layers, 2, heads, BLOCK, D): keys, then values


_Key = tuple[int | str | None, tuple[int, ...]]
"""The number of the block before, or the adapter where there is none; and the block's tokens."""


class Prefixes:
    """Blocks by the tokens up to them, in `most_bytes` of memory. Of one policy's weights.

    Attributes:
        bytes: of keys and values that are kept.
    """

    def __init__(self, most_bytes: int) -> None:
        self.bytes = 0
        self._most_bytes = most_bytes
        self._made = 0
        self._nodes: OrderedDict[_Key, _Node] = OrderedDict()  # the next to go first

    def find(self, prompt: Prompt) -> list[Tensor]:
        """Blocks (layers, 2, heads, BLOCK, D) of the longest start that is kept.

        Never of all the prompt: its last token is run, for the state that gives the next.
        """
        path = self._walk(prompt, len(prompt.ids) - 1)
        self._touch(path)
        return [self._nodes[key].columns for key in path]

    def keep(self, prompt: Prompt, cache: Any, row: int, start: int) -> None:
        """Keep the whole blocks of a row, whose tokens stand in the cache from column `start` on.

        Models whose layers differ in their heads are left out.
        """
        path = self._walk(prompt, len(prompt.ids))
        known, end = BLOCK * len(path), len(prompt.ids) // BLOCK * BLOCK
        if known < end and _is_uniform(cache):
            parent = self._nodes[path[-1]].number if path else prompt.adapter
            columns = _columns(cache, row, start + known, start + end)
            for place in range(known, end, BLOCK):
                key = (parent, prompt.ids[place : place + BLOCK])
                block = columns[:, :, :, place - known : place - known + BLOCK].contiguous()
                self._made = parent = self._made + 1
                self._nodes[key] = _Node(parent, block)
                self.bytes += block.nbytes
                path.append(key)
        self._touch(path)
        while self.bytes > self._most_bytes:
            _, node = self._nodes.popitem(last=False)
            self.bytes -= node.columns.nbytes

    def clear(self) -> None:
        """Forget everything: other weights give other keys and values."""
        self._nodes.clear()
        self.bytes = 0

    def _walk(self, prompt: Prompt, most: int) -> list[_Key]:
        """Keys of the blocks that are kept, of the first `most` tokens."""
        path: list[_Key] = []
        before: int | str | None = prompt.adapter
        for end in range(BLOCK, most + 1, BLOCK):
            key = (before, prompt.ids[end - BLOCK : end])
            node = self._nodes.get(key)
            if node is None:
                break
            path.append(key)
            before = node.number
        return path

    def _touch(self, path: list[_Key]) -> None:
        for key in reversed(path):
            self._nodes.move_to_end(key)


def fill(cache: Any, columns: Tensor) -> None:
    """Put (layers, 2, rows, heads, n, D) keys and values into an empty cache."""
    for layer, (keys, values) in enumerate(columns):
        cache.update(keys, values, layer)


def _columns(cache: Any, row: int, start: int, end: int) -> Tensor:
    """(layers, 2, heads, n, D) of a row's columns."""
    kept = [
        torch.stack([t[row, :, start:end] for t in (layer.keys, layer.values)])
        for layer in cache.layers
    ]
    return torch.stack(kept)


def _is_uniform(cache: Any) -> bool:
    shapes = {t.shape[1::2] for layer in cache.layers for t in (layer.keys, layer.values)}
    return len(shapes) == 1
