"""The system calls that a sandboxed program may make, as a seccomp filter.

What is not listed does not exist for the program (ENOSYS), so a kernel's new calls open no holes.
Source: the kernel's Documentation/userspace-api/seccomp_filter.rst and include/uapi/linux/bpf.h.
"""

import errno
import os
import struct
from collections.abc import Sequence
from typing import NamedTuple


class Machine(NamedTuple):
    """A processor architecture: its number in audit.h, and the column of the tables below."""

    audit: int
    column: int


MACHINES = {"x86_64": Machine(0xC000003E, 0), "aarch64": Machine(0xC00000B7, 1)}

# name: numbers on x86_64 and aarch64 (None: that machine has no such call)
Numbers = tuple[int | None, int | None]

HARMLESS: dict[str, Numbers] = {
    # its own files and streams
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "lseek": (8, 62),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "readv": (19, 65),
    "writev": (20, 66),
    "access": (21, None),
    "pipe": (22, None),
    "dup": (32, 23),
    "dup2": (33, None),
    "sendfile": (40, 71),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "ftruncate": (77, 46),
    "getcwd": (79, 17),
    "chdir": (80, 49),
    "fchdir": (81, 50),
    "readlink": (89, None),
    "umask": (95, 166),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "getdents64": (217, 61),
    "newfstatat": (262, 79),
    "readlinkat": (267, 78),
    "faccessat": (269, 48),
    "dup3": (292, 24),
    "pipe2": (293, 59),
    "copy_file_range": (326, 285),
    "statx": (332, 291),
    "close_range": (436, 436),
    "faccessat2": (439, 439),
    # waiting
    "poll": (7, None),
    "select": (23, None),
    "epoll_wait": (232, None),
    "epoll_ctl": (233, 21),
    "pselect6": (270, 72),
    "ppoll": (271, 73),
    "epoll_pwait": (281, 22),
    "eventfd2": (290, 19),
    "epoll_create1": (291, 20),
    "socketpair": (53, 199),
    "shutdown": (48, 210),
    "recvfrom": (45, 207),
    # memory and threads
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "arch_prctl": (158, None),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "set_tid_address": (218, 96),
    "set_robust_list": (273, 99),
    "getcpu": (309, 168),
    "membarrier": (324, 283),
    "rseq": (334, 293),
    # starting (the filter is there before the interpreter is) and ending
    "execve": (59, 221),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "wait4": (61, 260),
    "waitid": (247, 95),
    # its own signals and clocks
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137),
    "rt_sigsuspend": (130, 133),
    "sigaltstack": (131, 132),
    "nanosleep": (35, 101),
    "getitimer": (36, 102),
    "alarm": (37, None),
    "setitimer": (38, 103),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    # who and where it is
    "getpid": (39, 172),
    "uname": (63, 160),
    "getrlimit": (97, 163),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "times": (100, 153),
    "getuid": (102, 174),
    "getgid": (104, 176),
    "geteuid": (107, 175),
    "getegid": (108, 177),
    "getppid": (110, 173),
    "getpgrp": (111, None),
    "getgroups": (115, 158),
    "getresuid": (118, 148),
    "getresgid": (120, 150),
    "getpgid": (121, 155),
    "getsid": (124, 156),
    "getpriority": (140, 141),
    "gettid": (186, 178),
    "getrandom": (318, 278),
}

CHANGING_FILES: dict[str, Numbers] = {
    "truncate": (76, 45),
    "rename": (82, None),
    "mkdir": (83, None),
    "rmdir": (84, None),
    "link": (86, None),
    "unlink": (87, None),
    "symlink": (88, None),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "mkdirat": (258, 34),
    "unlinkat": (263, 35),
    "renameat": (264, 38),
    "linkat": (265, 37),
    "symlinkat": (266, 36),
    "fchmodat": (268, 53),
    "utimensat": (280, 88),
    "fallocate": (285, 47),
    "renameat2": (316, 276),
}
"""Allowed only where the program has file systems of its own."""

WITH_ARGUMENTS: dict[str, Numbers] = {
    "open": (2, None),
    "openat": (257, 56),
    "clone": (56, 220),
    "prlimit64": (302, 261),
    "sendto": (44, 206),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
}
"""Allowed with some arguments: see `build_filter`."""

_CLONE_THREAD = 0x10000
_FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# To own a descriptor is to have a signal of one's choice sent to any process.
_FCNTL_OWNERS = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX
_IOCTLS = (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS FIONREAD FIONBIO FIONCLEX FIOCLEX

Step = tuple[int, int, int, int]
"""code, steps to skip if true, if false, operand"""

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW, _KILL = 0x7FFF0000, 0x80000000


def build_filter(machine: str, *, may_write: bool) -> bytes:
    """The filter as an array of `struct sock_filter`.

    Threads may be made and processes not; limits may be set of oneself only; data may be sent to
    no address.

    Args:
        machine: as `os.uname().machine` has it.
        may_write: whether files may be opened for writing, made, renamed and removed.

    Raises:
        KeyError: the machine's system calls are not known here.
    """
    audit, column = MACHINES[machine]
    program = [(_LOAD, 0, 0, _ARCH_AT), (_EQUAL, 1, 0, audit), (_RETURN, 0, 0, _KILL)]
    program.append((_LOAD, 0, 0, _NUMBER_AT))
    refused = _refuse(errno.EROFS)

    def add(numbers: Numbers, verdict: Sequence[Step]) -> None:
        number = numbers[column]
        if number is not None:
            program.extend([(_EQUAL, 0, len(verdict), number), *verdict])

    for numbers in HARMLESS.values():
        add(numbers, [_allow()])
    for numbers in CHANGING_FILES.values():
        add(numbers, [_allow() if may_write else refused])
    for name, place in (("open", 1), ("openat", 2)):
        check = [_argument(place), (_ANY_BIT, 0, 1, _FOR_WRITING), refused]
        add(WITH_ARGUMENTS[name], [_allow()] if may_write else [*check, _allow()])
    denied = _refuse(errno.EPERM)
    threads = [_argument(0), (_ANY_BIT, 0, 1, _CLONE_THREAD), _allow(), denied]
    add(WITH_ARGUMENTS["clone"], threads)
    add(WITH_ARGUMENTS["prlimit64"], _one_of(0, [0], denied))
    add(WITH_ARGUMENTS["sendto"], _one_of(5, [0], denied))  # 5 is the address's length
    add(WITH_ARGUMENTS["ioctl"], _one_of(1, _IOCTLS, _refuse(errno.ENOTTY)))
    owners = [step for k in _FCNTL_OWNERS for step in ((_EQUAL, 0, 1, k), denied)]
    add(WITH_ARGUMENTS["fcntl"], [_argument(1), *owners, _allow()])
    program.append(_refuse(errno.ENOSYS))
    return b"".join(struct.pack("=HBBI", *step) for step in program)


def _one_of(place: int, values: Sequence[int], otherwise: Step) -> list[Step]:
    allowed = [step for k in values for step in ((_EQUAL, 0, 1, k), _allow())]
    return [_argument(place), *allowed, otherwise]


def _argument(place: int) -> Step:
    """Loads the low 32 bits: all arguments that are looked at are ints (little-endian machines)."""
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * place)


def _allow() -> Step:
    return (_RETURN, 0, 0, _ALLOW)


def _refuse(error: int) -> Step:
    return (_RETURN, 0, 0, 0x00050000 | error)
