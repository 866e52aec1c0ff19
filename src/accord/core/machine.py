"""Memory of this machine: what is free for this process, and what it takes."""

import contextlib
import ctypes
import os
from pathlib import Path

import torch

from accord.core import processes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_LARGEST_KEPT = 2**25


def keep_freed_memory() -> None:
    """Have the C library keep what is freed, for the next step asks for the same again.

    Otherwise large pieces go back to the system, which has to clear each page of the next one: a
    tenth of a step on CPUs. Pieces beyond 32 MiB go back as ever, and so does all of it where the
    library is not GNU's.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def available_bytes() -> int | None:
    """Free bytes for this process: of its GPU, or its share of the machine's (or the container's)
    memory; None where the system does not say.
    """
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if processes.count() > 1 else 1
    free = _field(Path("/proc/meminfo"), "MemAvailable")
    known = [size for size in (free, group_bytes()) if size is not None]
    return min(known) // neighbours if known else None


def group_bytes(
    root: Path = Path("/sys/fs/cgroup"), of_process: Path = Path("/proc/self/cgroup")
) -> int | None:
    """What control groups (of either version) leave to this process; None without a limit.

    Pages of files that the kernel can drop count as free. A container may see its own group as the
    root, so both are looked at.
    """
    names = ["/"]
    with contextlib.suppress(OSError):
        for line in of_process.read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers in ("", "memory"):
                names.append(name)
    found = []
    for name in names:
        for mount, limit, used in (
            (root, "memory.max", "memory.current"),
            (root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            folder = mount / name.lstrip("/")
            with contextlib.suppress(OSError, ValueError):  # no such group, or its limit is "max"
                most = int((folder / limit).read_text())
                taken = int((folder / used).read_text())
                found.append(max(0, most - taken + _droppable(folder / "memory.stat")))
    return min(found, default=None)


def _droppable(statistics: Path) -> int:
    pairs = (line.split() for line in statistics.read_text().splitlines())
    return sum(int(size) for name, size in pairs if name == "inactive_file")


def resident_bytes() -> int:
    """Main memory that this process holds now; 0 where the system does not say."""
    return _field(Path("/proc/self/status"), "VmRSS") or 0


def restart_peak() -> None:
    """Measure `peak_bytes` from here on, where the system lets us."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int | None:
    """The most that this process has held: reserved on its GPU, or of main memory."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved())
    return _field(Path("/proc/self/status"), "VmHWM")


def _field(path: Path, name: str) -> int | None:
    """A line `NAME: N kB` of one of the kernel's files, in bytes."""
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None
