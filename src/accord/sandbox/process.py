"""Runs one program at one level, and says how it ended."""

import base64
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from accord.core.errors import SandboxError
from accord.sandbox.levels import Level
from accord.sandbox.syscalls import MACHINES, build_filter

_LAUNCHER = Path(__file__).with_name("launcher.py")
_GRACE_S = 30.0
"""for starting on a busy machine; a launcher that has not reported by then is killed"""


@dataclass(frozen=True)
class Limits:
    """What a program may use up."""

    wall_s: float = 10.0
    cpu_s: float = 10.0
    memory_bytes: int = 512 << 20
    """of address space; with no second process (FILTERED and above) that is all there is"""
    file_bytes: int = 1 << 20
    """of any one file, and so of stdout and of stderr"""
    disk_bytes: int = 16 << 20
    """of all files together (ISOLATED; no file can be written at FILTERED)"""
    threads: int = 32
    """at a time; not enforced for root unless ISOLATED"""
    open_files: int = 64


@dataclass(frozen=True)
class Outcome:
    """How a program ended."""

    exit_code: int | None
    """negative: the signal that ended it; None: it was killed from outside, or hung"""
    timed_out: bool
    stdout: str
    stderr: str
    was_cut: bool
    """a stream reached the limit of its length, so the end of it may be missing"""


def run_program(program: str, level: Level, limits: Limits) -> Outcome:
    """Run Python source at exactly this level; nothing of it is left when this returns.

    Only the standard library can be imported; stdin is empty.

    Raises:
        SandboxError: the level cannot be set up on this machine; nothing was run.
    """
    with (
        tempfile.TemporaryDirectory(prefix="sandbox-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
        Path(os.devnull).open("rb") as nothing,
    ):
        streams = {
            "stdout": stdout.fileno(),
            "stderr": stderr.fileno(),
            "nothing": nothing.fileno(),
        }
        order = {**_order(program, level, limits), **streams, "folder": folder}
        report = _launch(order, tuple(streams.values()), limits.wall_s)
        if "error" in report:
            raise SandboxError(f"no sandbox of level {level.name} here: {report['error']}")
        written = [_read(file, limits.file_bytes) for file in (stdout, stderr)]
    return Outcome(
        exit_code=report["exit_code"],
        timed_out=report["timed_out"],
        stdout=written[0].decode("utf-8", errors="replace"),
        stderr=written[1].decode("utf-8", errors="replace"),
        was_cut=any(len(text) >= limits.file_bytes for text in written),
    )


def _order(program: str, level: Level, limits: Limits) -> dict[str, Any]:
    python = Path(sys.executable).resolve()
    return {
        "program": program,
        "python": str(python),
        "host": os.getpid(),
        "is_isolated": level >= Level.ISOLATED,
        "is_confined": level == Level.CONFINED,
        "filter": _filter(level),
        "visible": _visible(python),
        "wall_s": limits.wall_s,
        "disk_bytes": limits.disk_bytes,
        "threads": limits.threads,
        "limits": {
            "RLIMIT_AS": limits.memory_bytes,
            "RLIMIT_CPU": math.ceil(limits.cpu_s),
            "RLIMIT_FSIZE": limits.file_bytes,
            "RLIMIT_NOFILE": limits.open_files,
            "RLIMIT_CORE": 0,
        },
    }


def _filter(level: Level) -> str | None:
    if level < Level.FILTERED:
        return None
    machine = os.uname().machine
    if machine not in MACHINES:
        raise SandboxError(
            f"no sandbox of level {level.name} here: the system calls of {machine} are not known; "
            f"expected one of {', '.join(MACHINES)}"
        )
    return base64.b64encode(build_filter(machine, may_write=level >= Level.ISOLATED)).decode()


def _visible(python: Path) -> list[str]:
    """What a Python needs of the host's files: itself, its library, the system's libraries."""
    prefix = python.parent.parent
    own = [str(python), f"{prefix}/lib", f"{prefix}/lib64"]
    system = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"]
    return list(dict.fromkeys([*system, *own]))


def _launch(order: dict[str, Any], files: tuple[int, ...], wall_s: float) -> dict[str, Any]:
    launcher = subprocess.Popen(
        [order["python"], "-I", "-S", str(_LAUNCHER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={},
        cwd="/",
        pass_fds=files,
        start_new_session=True,
    )
    assert launcher.stdin and launcher.stdout  # they are pipes
    too_late = threading.Timer(wall_s + _GRACE_S, _kill_group, [launcher.pid])
    too_late.start()
    try:
        with contextlib.suppress(BrokenPipeError), launcher.stdin as pipe:
            pipe.write(json.dumps(order).encode())
        first, _, _ = launcher.stdout.read().partition(b"\n")
    finally:
        too_late.cancel()
        # The launcher is waited for only now: until then nobody else can have its number.
        _kill_group(launcher.pid)
        launcher.stdout.close()
        launcher.wait()
    if not first:
        return {"exit_code": None, "timed_out": False}
    try:
        report: dict[str, Any] = json.loads(first)
    except json.JSONDecodeError:
        return {"error": f"the launcher failed: {first.decode(errors='replace')}"}
    return report


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _read(file: IO[bytes], limit: int) -> bytes:
    file.seek(0)
    return file.read(limit)
