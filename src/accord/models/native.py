"""Functions in C++, compiled once on the machine that runs them, or left out.

The machine's own compiler knows its processor, which a wheel for everybody does not. Without a
compiler, on another system than Linux, or with ACCORD_NATIVE=0, PyTorch's operators do the work.
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_HEADERS = Path(__file__).parent
# Sums may be reordered where the source says so; NaN and infinity keep their meaning.
_FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math"),
    *("-ffp-contract=fast", "-fopenmp", "-shared", "-fPIC"),
)
_COMPILE_S = 120


def load_native(source: Path, functions: Mapping[str, Sequence[Any]]) -> ctypes.CDLL | None:
    """A source's functions, from the user's cache folder or made now; None where there are none.

    PyTorch must have been imported: the functions share its OpenMP threads.

    Args:
        source: a file of C++; it may include the headers beside this module.
        functions: the types of each function's arguments; none returns anything.
    """
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if sys.platform != "linux" or os.environ.get("ACCORD_NATIVE") == "0" or compiler is None:
        return None
    try:
        library = ctypes.CDLL(str(_compiled(source, compiler)))
    except (OSError, subprocess.SubprocessError):
        return None
    for name, types in functions.items():
        getattr(library, name).argtypes = list(types)
        getattr(library, name).restype = None
    return library


def _compiled(source: Path, compiler: str) -> Path:
    """The library of this source, compiler and processor.

    Raises:
        OSError: it can be written nowhere.
        subprocess.SubprocessError: the compiler refuses.
    """
    texts = [path.read_text() for path in (source, *sorted(_HEADERS.glob("*.h")))]
    parts = (*texts, " ".join(_FLAGS), compiler, platform.machine(), _processor())
    name = f"{source.stem}-{hashlib.sha256('/'.join(parts).encode()).hexdigest()[:16]}.so"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "accord"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = folder / name
        if made.exists():
            return made
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            _compile(compiler, source, Path(scratch) / name)
            (Path(scratch) / name).replace(made)  # another process may have been faster: the same
        return made
    except OSError:
        made = Path(tempfile.mkdtemp(prefix="accord-")) / name
        _compile(compiler, source, made)
        return made


def _compile(compiler: str, source: Path, target: Path) -> None:
    subprocess.run(
        [compiler, *_FLAGS, f"-I{_HEADERS}", str(source), "-o", str(target)],
        check=True,
        capture_output=True,
        timeout=_COMPILE_S,
    )


def _processor() -> str:
    """What decides which instructions `-march=native` takes: a home may be shared by machines."""
    lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))


def is_intel() -> bool:
    """Told by the processor's name and not by a clock: equal machines add in equal order."""
    with contextlib.suppress(OSError):  # another system than Linux
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(errors="replace")
    return False


def both_types(functions: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Types of the arguments of functions that there are for float32 and for bfloat16."""
    return {f"{n}_{t}": a for n, a in functions.items() for t in ("float32", "bfloat16")}


def call(library: Any, name: str, *arguments: Any, of: torch.dtype) -> None:
    """A function for numbers of a type; tensors, which have to be contiguous, as pointers."""
    function = getattr(library, f"{name}_{str(of).removeprefix('torch.')}")
    function(*(a.data_ptr() if isinstance(a, Tensor) else a for a in arguments))
