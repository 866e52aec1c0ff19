"""Memory that is freed and asked for again."""

import subprocess
import sys

import pytest

_COUNT = """
import ctypes, resource, sys
from accord.core.machine import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
faults = []
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pieces = [library.malloc(2**24 + i * 2**22) for i in range(3)]
    for i, piece in enumerate(pieces):
        ctypes.memset(piece, 1, 2**24 + i * 2**22)
    for piece in pieces:
        library.free(piece)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(faults[-1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="another C library")
def test_pages_are_not_made_again() -> None:
    """60 MiB are 15,360 pages (of 4 KiB), the last time as the first unless they are kept."""
    faults = {
        how: int(subprocess.check_output([sys.executable, "-c", _COUNT, how], text=True))
        for how in ("kept", "returned")
    }
    if faults["returned"] < 1000:
        pytest.skip("this C library keeps them by itself")
    assert faults["kept"] < faults["returned"] / 10
