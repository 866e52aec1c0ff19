"""How well a program is shut in, from the weakest level to the strongest."""

from enum import IntEnum
from typing import Literal

Escape = Literal["environment", "network", "write", "process", "signal", "read", "look"]
"""What a program may try: see `escapes.attempt`."""


class Level(IntEnum):
    """Each level guarantees what the levels below it do.

    Whatever the level, a program starts in its own session with no environment, no open files but
    its three streams, a time, CPU, memory and file-size limit, and is killed with its group.
    """

    LIMITS = 1
    """Nothing else: the program may read, write and send whatever its user may."""
    FILTERED = 2
    """A seccomp filter lets only harmless system calls through: it can write no file but its
    output, open no socket, start no process and signal none. It can read what its user can."""
    CONFINED = 3
    """Also, by Landlock, it can open no file but Python's and the system's libraries. It can still
    see that others exist. Needs no privileges, and works in most containers."""
    ISOLATED = 4
    """The filter in user, mount, network, process and IPC namespaces of its own: it sees Python,
    the system's libraries and an empty folder of limited size, and no network interface."""


_FILTERED: frozenset[Escape] = frozenset({"environment", "network", "write", "process", "signal"})
FORBIDDEN: dict[Level, frozenset[Escape]] = {
    Level.LIMITS: frozenset({"environment"}),
    Level.FILTERED: _FILTERED,
    Level.CONFINED: _FILTERED | {"read"},
    Level.ISOLATED: _FILTERED | {"read", "look"},
}
"""The escapes that must fail before a level counts as reached."""

GUARANTEES: dict[Level, str] = {
    Level.LIMITS: "limits of time and memory only: files and network are open to the program",
    Level.FILTERED: "no writing, network, processes or signals; files can be read",
    Level.CONFINED: "no files but Python's own, no writing, network, processes or signals",
    Level.ISOLATED: "no files but Python's own and a private folder, and namespaces around it",
}
"""For reports."""
