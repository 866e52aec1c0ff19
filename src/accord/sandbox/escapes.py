"""A program that tries to get out; `probing.py` runs its source inside. Standard library only."""

import os
import socket
from collections.abc import Callable
from pathlib import Path


def attempt(*, folder: str, port: int, host: int) -> list[str]:
    """The names of those escapes that succeed.

    Args:
        folder: of the host's, with a file `secret` that everyone may read.
        port: one that the host listens on, on its loopback interface.
        host: process id of the host.
    """
    attempts: dict[str, Callable[[], object]] = {
        "environment": _inherit,
        "network": lambda: socket.create_connection(("127.0.0.1", port), timeout=1).close(),
        "write": lambda: (Path(folder) / "planted").write_text("here"),
        "process": _fork,
        "signal": lambda: os.kill(host, 0),
        "read": lambda: (Path(folder) / "secret").read_text(),
        "look": lambda: (Path(folder) / "secret").stat(),
    }
    return [name for name, attack in attempts.items() if _succeeds(attack)]


def _succeeds(attack: Callable[[], object]) -> bool:
    try:
        attack()
    except OSError:
        return False
    return True


def _inherit() -> None:
    # Python may set LC_CTYPE itself.
    if not set(os.environ) - {"LC_CTYPE"}:
        raise OSError("the environment is empty")


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)
    os.wait()
