"""All layers of a decoding step in one call, where every part of it is native.

Between the parts of a step PyTorch and Python take as long as some of the parts; in one call they
take nothing, and whoever else is in the process can run meanwhile.
"""

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from accord.engine.kernels import Heads, NativeKernels, Reads
from accord.engine.native import Layer, Model
from accord.engine.products import Product
from accord.models.native import call


class DecoderLayer(NamedTuple):
    """What a step needs of a layer of the Llama kind."""

    attention_norm: Tensor
    query_key_value: Product
    heads: Heads
    output: Product
    mlp_norm: Tensor
    gate_up: Product
    down: Product


class WholeStep:
    """A model's layers, described once for many steps; made by `of`."""

    def __init__(
        self, layers: Sequence[DecoderLayer], last_norm: Tensor, eps: float, kernels: NativeKernels
    ) -> None:
        self._tensors = [_tensors(layer) for layer in layers]  # their places are what is kept
        self._last_norm, self._eps, self._kernels = last_norm, eps, kernels
        self._heads = layers[0].heads
        self._layers = (Layer * len(layers))(
            *(Layer(*(None if t is None else t.data_ptr() for t in one)) for one in self._tensors)
        )
        size, (joint, wide) = len(last_norm), _widths(layers[0])
        attended = joint - 2 * self._heads.groups * self._heads.dim
        self._queries = attended // self._heads.dim
        self._model = Model(len(layers), size, wide // 2)
        self._numbers_a_row = 2 * size + joint + attended + wide + wide // 2

    @classmethod
    def of(
        cls, layers: Sequence[DecoderLayer], last_norm: Tensor, eps: float, kernels: Any
    ) -> Self | None:
        """None where a part is not native, or layers differ in their sizes."""
        products = [
            p for la in layers for p in (la.query_key_value, la.output, la.gate_up, la.down)
        ]
        if not isinstance(kernels, NativeKernels) or any(p.few is None for p in products):
            return None
        sizes = {(*la.heads[:2], la.heads.scaling, *_widths(la)) for la in layers}
        return cls(layers, last_norm, eps, kernels) if len(sizes) == 1 else None

    def __call__(
        self, hidden: Tensor, turn: tuple[Tensor, Tensor], reads: Reads, cache: Any
    ) -> Tensor:
        """(R, H) float32 states after all layers, from (R, H) embeddings, which are written over.

        Args:
            hidden: at most MOST_ROWS tokens, each the next of its own row.
            turn: as of `Kernels.attend`, and so `reads`.
            cache: of `Columns`.
        """
        rows, rooms = len(hidden), [columns.extend(1) for columns in cache.layers]
        keys, _, column = rooms[0]
        shape = self._kernels.shape(rows, self._queries, self._heads, keys, column, self._eps)
        places = [t.data_ptr() for room in rooms for t in room[:2]]
        caches = (ctypes.c_void_p * len(places))(*places)
        size = (rows + 15) // 16 * 16, self._numbers_a_row
        scratch = hidden.new_empty(size, dtype=keys.dtype)
        out = torch.empty_like(hidden)
        call(
            self._kernels.library, "step", ctypes.byref(shape), ctypes.byref(self._model),
            self._layers, caches, hidden, *turn, self._last_norm, reads.starts, scratch, out,
            of=keys.dtype,
        )  # fmt: skip
        return out


def _widths(layer: DecoderLayer) -> tuple[int, int]:
    """Outputs of the products that are several layers joined."""
    few = layer.query_key_value.few, layer.gate_up.few
    joint, wide = (0 if one is None else one.outputs for one in few)
    return joint, wide


def _tensors(layer: DecoderLayer) -> list[Tensor | None]:
    """In the order of `Layer`."""
    found: list[Tensor | None] = [layer.attention_norm]
    for product, more in (
        (layer.query_key_value, (layer.heads.query_norm, layer.heads.key_norm)),
        (layer.output, (layer.mlp_norm,)),
        (layer.gate_up, ()),
        (layer.down, ()),
    ):
        assert product.few is not None
        found += [product.few.packed, product.few.bias, *more]
    return found
