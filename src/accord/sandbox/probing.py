"""Which level this machine allows: measured by trying to get out, never assumed."""

import functools
import json
import os
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from accord.core.errors import SandboxError
from accord.sandbox.levels import FORBIDDEN, Level
from accord.sandbox.process import Limits, run_program

_ESCAPES = Path(__file__).with_name("escapes.py")


@dataclass(frozen=True)
class Reached:
    """The strongest level that held, and why stronger ones did not."""

    level: Level | None
    """None: not even LIMITS can be set up"""
    reasons: dict[Level, str] = field(default_factory=dict)


@functools.cache
def measure_level() -> Reached:
    """Try the levels from the strongest down, once a process."""
    reasons: dict[Level, str] = {}
    for level in sorted(Level, reverse=True):
        try:
            escaped = escapes_from(level) & FORBIDDEN[level]
        except SandboxError as error:
            reasons[level] = str(error)
            continue
        if not escaped:
            return Reached(level, reasons)
        reasons[level] = f"at {level.name} a program got out by: {', '.join(sorted(escaped))}"
    return Reached(None, reasons)


def escapes_from(level: Level) -> set[str]:
    """The escapes that succeed at a level on this machine.

    Raises:
        SandboxError: the level cannot be set up, or the attempts came to no end.
    """
    with tempfile.TemporaryDirectory(prefix="probe-") as folder, socket.socket() as listener:
        # Readable for everyone, so that it is not the file's mode which keeps the program out.
        (Path(folder) / "secret").write_text("secret")
        (Path(folder) / "secret").chmod(0o644)
        Path(folder).chmod(0o755)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        targets = {"folder": folder, "port": listener.getsockname()[1], "host": os.getpid()}
        source = _ESCAPES.read_text(encoding="utf-8")
        attempt = f"import json; print(json.dumps(attempt(**{targets!r})))"
        outcome = run_program(f"{source}\n{attempt}\n", level, Limits(wall_s=20))
        planted = (Path(folder) / "planted").exists()
    if outcome.exit_code != 0:
        raise SandboxError(
            f"no sandbox of level {level.name} here: the probe ended with "
            f"{outcome.exit_code}: {outcome.stderr.strip().splitlines()[-1:]}"
        )
    return set(json.loads(outcome.stdout)) | ({"write"} if planted else set())
