"""Products of a few rows with a frozen weight, where ours are faster than a library's.

Those of few_rows.h ask memory for the weight before it is needed: on Intel's processors with
AVX-512 a step of 32 rows takes 0.7 of oneDNN's time in float32, and with AMX 0.6 in bfloat16. An
output is summed in the same order however many rows there are.
"""

import ctypes
import functools
from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from accord.models.native import call, is_intel, load_native

MOST_ROWS = 128
"""Beyond, the weight comes from the cache, and a library's product is as fast."""

MOST_HALF_ROWS = 1024
"""In bfloat16 oneDNN makes code for each number of rows that it has not met (1 to 6 ms)."""
_PANEL, _TILE_ROWS = 32, 16


class FewRows:
    """A weight (N, K), laid out for `__call__`; made by `of`.

    Attributes:
        packed: as few_rows.h reads it.
        bias: (N,) or None.
        outputs: N.
        most_rows: up to which this product is the faster one.
    """

    def __init__(self, library: ctypes.CDLL, weight: Tensor, bias: Tensor | None) -> None:
        self._library = library
        self.outputs = weight.shape[0]
        self.most_rows = MOST_HALF_ROWS if weight.dtype == torch.bfloat16 else MOST_ROWS
        self.bias = None if bias is None else bias.detach().contiguous()
        if weight.dtype == torch.float32:
            panels = weight.view(-1, _PANEL, weight.shape[1]).transpose(1, 2)
        else:  # of two neighbours in depth the sixteen outputs of a tile
            tiles = weight.view(-1, 2, 16, weight.shape[1] // 32, 16, 2)
            panels = tiles.permute(0, 3, 1, 4, 2, 5)
        self.packed = panels.contiguous()

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None = None) -> Self | None:
        """None where there is no faster product of this weight than the library's."""
        if weight.device.type != "cpu" or any(size % _PANEL for size in weight.shape):
            return None
        library = _library()
        if library is None or weight.dtype not in _kinds():
            return None
        return cls(library, weight.detach().contiguous(), bias)

    def __call__(self, states: Tensor) -> Tensor:
        """(R, N) of (R, K), without gradient; R is at least 1."""
        rows, depth = states.shape
        states = states.contiguous()
        out = states.new_empty(rows, self.outputs)
        if states.dtype == torch.bfloat16 and rows % _TILE_ROWS:
            states = pad(states, (0, 0, 0, -rows % _TILE_ROWS))
        sizes = rows, self.outputs, depth, torch.get_num_threads()
        tensors = states, self.packed, self.bias, out
        call(self._library, "few_rows", *tensors, *sizes, of=out.dtype)
        return out


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The functions of few_rows.cpp, on processors on which they were measured to be faster."""
    if not is_intel():
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    product = [*[pointer] * 4, *[number] * 3, ctypes.c_int32]
    return load_native(
        Path(__file__).with_name("few_rows.cpp"),
        {"few_rows_float32": product, "few_rows_bfloat16": product, "kinds": [pointer]},
    )


@functools.cache
def _kinds() -> frozenset[torch.dtype]:
    """Numbers that the processor has the instructions for."""
    library, answers = _library(), (ctypes.c_int32 * 2)()
    if library is not None:
        library.kinds(answers)
    known = zip((torch.float32, torch.bfloat16), answers, strict=True)
    return frozenset(kind for kind, is_there in known if is_there)
