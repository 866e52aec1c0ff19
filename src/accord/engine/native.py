"""The C++ of a decoding step: compiled once on the machine that runs it, or left out.

The machine's own compiler knows its processor, which a wheel for everybody does not. Without a
compiler, on another system than Linux, or with ACCORD_NATIVE=0, sampling takes PyTorch's operators.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_SOURCE = Path(__file__).with_name("native.cpp")
# Sums may be reordered where the source says so; NaN and infinity keep their meaning.
_FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math"),
    *("-ffp-contract=fast", "-fopenmp", "-shared", "-fPIC"),
)
_COMPILE_S = 120


class Shape(ctypes.Structure):
    """`Shape` of native.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "groups", "queries", "dim")),
        *((name, ctypes.c_int64) for name in ("row_stride", "head_stride")),
        *((name, ctypes.c_int64) for name in ("column", "column_step")),
        ("eps", ctypes.c_float),
        ("scaling", ctypes.c_float),
        ("threads", ctypes.c_int32),
    )


@functools.cache
def native_library() -> ctypes.CDLL | None:
    """The compiled functions, from the user's cache folder or made now; None where there are none.

    PyTorch must have been imported: the functions share its OpenMP threads.
    """
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if sys.platform != "linux" or os.environ.get("ACCORD_NATIVE") == "0" or compiler is None:
        return None
    try:
        library = ctypes.CDLL(str(_compiled(compiler)))
    except (OSError, subprocess.SubprocessError):
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    small, real = ctypes.c_int32, ctypes.c_float
    arguments = {
        "add_norm": [*[pointer] * 4, number, number, real, small],
        "gate": [pointer, pointer, number, number, small],
        "attend": [ctypes.POINTER(Shape), *[pointer] * 10],
    }
    functions = [
        (f"{name}_{dtype}", types)
        for name, types in arguments.items()
        for dtype in ("float32", "bfloat16")
    ]
    functions.append(("draw_float32", [*[pointer] * 5, number, number, small]))
    for name, types in functions:
        getattr(library, name).argtypes = types
        getattr(library, name).restype = None
    return library


def _compiled(compiler: str) -> Path:
    """The library of this source, compiler and processor.

    Raises:
        OSError: it can be written nowhere.
        subprocess.SubprocessError: the compiler refuses.
    """
    parts = (_SOURCE.read_text(), " ".join(_FLAGS), compiler, platform.machine(), _processor())
    name = f"native-{hashlib.sha256('/'.join(parts).encode()).hexdigest()[:16]}.so"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "accord"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = folder / name
        if made.exists():
            return made
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            _compile(compiler, Path(scratch) / name)
            (Path(scratch) / name).replace(made)  # another process may have been faster: the same
        return made
    except OSError:
        made = Path(tempfile.mkdtemp(prefix="accord-")) / name
        _compile(compiler, made)
        return made


def _compile(compiler: str, target: Path) -> None:
    subprocess.run(
        [compiler, *_FLAGS, str(_SOURCE), "-o", str(target)],
        check=True,
        capture_output=True,
        timeout=_COMPILE_S,
    )


def _processor() -> str:
    """What decides which instructions `-march=native` takes: a home may be shared by machines."""
    lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))
