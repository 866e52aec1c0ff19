"""Which tokens may come next, so that a response is what was asked for: structured output.

The vocabulary is a tree by bytes. A grammar's state walks down it, so that tokens with the same
start are looked at once; what a state allows is remembered, because states come again.
"""

import json
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from accord.core.controls import TokenFilter
from accord.core.errors import DataError
from accord.serving import grammar
from accord.serving.grammar import Expression, Grammar, State
from accord.serving.json_schema import expression_of, grammar_of
from accord.serving.protocol import Tool
from accord.serving.refusals import ApiError
from accord.serving.served import Served
from accord.serving.tools import CLOSE, OPEN

_MOST_STATES = 4096
_MOST_IDS = 2**22
"""Remembered of one grammar; a state may allow most of a large vocabulary."""
_LONGEST = 2**17
"""A schema, or tools, in characters of JSON: a grammar has an object for every byte."""
_MOST_STRUCTURES = 32
"""Remembered of one model."""


class _Tree:
    """Tokens by their bytes: `here` are ids whose bytes end at this node."""

    def __init__(self) -> None:
        self.here: list[int] = []
        self.next: dict[int, _Tree] = {}

    @classmethod
    def of(cls, bytes_of: Sequence[bytes | None]) -> "_Tree":
        root = cls()
        for token_id, written in enumerate(bytes_of):
            node = root
            for byte in written or b"":
                node = node.next.setdefault(byte, cls())
            if written:
                node.here.append(token_id)
        return root


class Structure:
    """A grammar over a vocabulary: what its states allow, remembered for all its responses."""

    def __init__(self, rules: Grammar, served: Served) -> None:
        self.grammar = rules
        self.bytes_of = served.bytes_of
        self._tree = _tree_of(served)
        self._end = served.encoder.end_of_turn_id
        self._longest = served.longest_token
        self._allowed: dict[State, list[int]] = {}
        self._ids = 0  # in all of them

    def allowed(self, state: State) -> list[int]:
        """Ids that may come. A look at all of them is long: every stream waits for it."""
        state = self.grammar.near(state, self._longest)
        found = self._allowed.get(state)
        if found is None:
            found = self._look(state)
            if len(self._allowed) >= _MOST_STATES or self._ids + len(found) > _MOST_IDS:
                self._allowed.clear()
                self._ids = 0
            self._allowed[state] = found
            self._ids += len(found)
        return found

    def _look(self, start: State) -> list[int]:
        found = [self._end] if Grammar.may_end(start) else []
        waiting = [(self._tree, start)]
        while waiting:
            node, state = waiting.pop()
            found += node.here
            for byte, child in node.next.items():
                after = self.grammar.after(state, byte)
                if after:
                    waiting.append((child, after))
        return found

    def new_filter(self) -> TokenFilter:
        """Of one response."""
        return _Filter(self)


class _Filter:
    """Follows a response's bytes through the grammar."""

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        self._state = structure.grammar.start
        self._read = 0

    def __call__(self, response: Sequence[int]) -> Sequence[int]:
        """Ids that may come after `response`, which grows from call to call."""
        for token_id in response[self._read :]:
            for byte in self._structure.bytes_of[token_id] or b"":
                self._state = self._structure.grammar.after(self._state, byte)
        self._read = len(response)
        return self._structure.allowed(self._state)


_lock = threading.Lock()
_trees: weakref.WeakKeyDictionary[Any, _Tree] = weakref.WeakKeyDictionary()
_structures: weakref.WeakKeyDictionary[Any, OrderedDict[str, Structure]] = (
    weakref.WeakKeyDictionary()
)


def structure_for(served: Served, schema: dict[str, Any]) -> Structure:
    """Only JSON that a schema allows.

    Raises:
        ApiError: the schema asks for what cannot be promised.
    """
    try:
        return _remembered(served, ["schema", schema], lambda: grammar_of(schema))
    except DataError as error:
        raise ApiError(400, f"response_format: {error}", param="response_format") from error


def tool_call_structure(served: Served, tools: Sequence[Tool]) -> Structure:
    """Only one call of one of these tools, with arguments that its schema allows.

    Raises:
        ApiError: a tool's schema asks for what cannot be promised.
    """
    key = ["tools", [tool.function.model_dump() for tool in tools]]
    return _remembered(served, key, lambda: _call_grammar(tools))


def _call_grammar(tools: Sequence[Tool]) -> Grammar:
    rules: dict[str, Expression] = {}
    calls = []
    for tool in tools:
        schema = tool.function.parameters or {"type": "object"}
        try:
            arguments = expression_of(schema, rules)
        except DataError as error:
            raise ApiError(400, f"tool {tool.function.name}: {error}", param="tools") from error
        start = grammar.text(f'{OPEN}{{"name": "{tool.function.name}", "arguments": ')
        calls.append(grammar.Sequence((start, arguments, grammar.text("}" + CLOSE))))
    return Grammar(grammar.Choice(tuple(calls)), rules)


def _remembered(served: Served, key: Any, make: Callable[[], Grammar]) -> Structure:
    """One for equal keys; the one that was asked for longest ago is forgotten first."""
    name = json.dumps(key)
    if len(name) > _LONGEST:
        raise ApiError(400, f"a schema, or tools, of {len(name)} characters; at most {_LONGEST}")
    with _lock:
        mine = _structures.setdefault(served.encoder, OrderedDict())
        found = mine.pop(name, None)
    if found is None:
        found = Structure(make(), served)
    with _lock:
        mine[name] = found
        if len(mine) > _MOST_STRUCTURES:
            mine.popitem(last=False)
    return found


def _tree_of(served: Served) -> _Tree:
    with _lock:
        tree = _trees.get(served.encoder)
        if tree is None:
            tree = _trees[served.encoder] = _Tree.of(served.bytes_of)
    return tree
