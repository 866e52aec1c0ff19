"""The C++ of a decoding step, where it can be compiled."""

import ctypes
import functools
from pathlib import Path
from typing import Any

from accord.models.native import both_types, load_native

_SOURCE = Path(__file__).with_name("decoding.cpp")


class Shape(ctypes.Structure):
    """`Shape` of decoding.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "groups", "queries", "dim")),
        *((name, ctypes.c_int64) for name in ("row_stride", "head_stride")),
        *((name, ctypes.c_int64) for name in ("column", "column_step", "before")),
        ("eps", ctypes.c_float),
        ("scaling", ctypes.c_float),
        ("threads", ctypes.c_int32),
    )


class Model(ctypes.Structure):
    """`Model` of decoding.cpp."""

    _fields_ = tuple((name, ctypes.c_int64) for name in ("layers", "size", "inner"))


class Layer(ctypes.Structure):
    """`Layer` of decoding.cpp."""

    _fields_ = tuple(
        (name, ctypes.c_void_p)
        for name in (
            *("attention_norm", "query_key_value", "query_key_value_bias"),
            *("query_norm", "key_norm", "output", "output_bias", "mlp_norm"),
            *("gate_up", "gate_up_bias", "down", "down_bias"),
        )
    )


@functools.cache
def native_library() -> ctypes.CDLL | None:
    """The functions of decoding.cpp, or None."""
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    small, real = ctypes.c_int32, ctypes.c_float
    arguments: dict[str, list[Any]] = {
        "add_norm": [*[pointer] * 5, number, number, real, small],
        "gate": [pointer, pointer, number, number, small],
        "attend": [ctypes.POINTER(Shape), *[pointer] * 10],
        "step": [ctypes.POINTER(Shape), ctypes.POINTER(Model), *[pointer] * 9],
    }
    draw = {"draw_float32": [*[pointer] * 5, number, number, small]}
    return load_native(_SOURCE, {**both_types(arguments), **draw})
