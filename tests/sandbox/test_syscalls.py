"""The filter, by a small interpreter of its steps; its numbers, against the kernel's headers."""

import errno
import re
import struct
from pathlib import Path

import pytest

from accord.sandbox.syscalls import (
    CHANGING_FILES,
    HARMLESS,
    MACHINES,
    WITH_ARGUMENTS,
    Numbers,
    build_filter,
)

ALLOW, KILL = 0x7FFF0000, 0x80000000
TABLES = {**HARMLESS, **CHANGING_FILES, **WITH_ARGUMENTS}


def verdict(steps: bytes, machine: str, number: int, *arguments: int) -> int:
    """What the kernel would answer: ALLOW, KILL, or an errno."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, MACHINES[machine].audit, 0, *padded)
    return interpret(steps, data)


def interpret(steps: bytes, data: bytes) -> int:
    place, accumulator = 0, 0
    while True:
        code, if_true, if_false, operand = struct.unpack_from("=HBBI", steps, 8 * place)
        if code == 0x06:
            return operand if operand in (ALLOW, KILL) else operand & 0xFFFF
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, operand)
            place += 1
        elif code in (0x15, 0x45):
            holds = accumulator == operand if code == 0x15 else bool(accumulator & operand)
            place += 1 + (if_true if holds else if_false)
        else:
            raise AssertionError(f"unknown step {code:#x}")


def number_of(machine: str, name: str) -> int:
    number = TABLES[name][MACHINES[machine].column]
    assert number is not None
    return number


@pytest.mark.parametrize("machine", MACHINES)
def test_the_filter_allows_what_is_listed_and_nothing_else(machine: str) -> None:
    column = MACHINES[machine].column
    for may_write in (False, True):
        steps = build_filter(machine, may_write=may_write)
        assert len(steps) // 8 < 4096  # BPF_MAXINSNS
        for number in range(1000):
            known = [name for name, numbers in TABLES.items() if numbers[column] == number]
            assert len(known) <= 1
            found = verdict(steps, machine, number)
            if not known:
                assert found == errno.ENOSYS
            elif known[0] in HARMLESS:
                assert found == ALLOW
            elif known[0] in CHANGING_FILES:
                assert found == (ALLOW if may_write else errno.EROFS)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("clone", [0x3D0F00], ALLOW),  # a thread, as glibc makes it
        ("clone", [0x1200011], errno.EPERM),  # fork
        ("clone", [0x4111], errno.EPERM),  # vfork
        ("openat", [0, 0, 0], ALLOW),
        ("openat", [0, 0, 0o1], errno.EROFS),
        ("openat", [0, 0, 0o2], errno.EROFS),
        ("openat", [0, 0, 0o100], errno.EROFS),  # O_CREAT
        ("openat", [0, 0, 0o1000], errno.EROFS),  # O_TRUNC
        ("prlimit64", [0, 7], ALLOW),
        ("prlimit64", [1, 7], errno.EPERM),
        ("sendto", [3, 0, 0, 0, 0, 0], ALLOW),
        ("sendto", [3, 0, 0, 0, 1 << 40, 16], errno.EPERM),
        ("fcntl", [3, 1], ALLOW),  # F_GETFD
        ("fcntl", [3, 8, 1], errno.EPERM),  # F_SETOWN
        ("fcntl", [3, 10, 9], errno.EPERM),  # F_SETSIG
        ("fcntl", [3, 15, 1], errno.EPERM),  # F_SETOWN_EX
        ("ioctl", [0, 0x5401], ALLOW),  # TCGETS, which is isatty
        ("ioctl", [0, 0x5412], errno.ENOTTY),  # TIOCSTI
        ("ioctl", [0, 0x8901], errno.ENOTTY),  # FIOSETOWN
    ],
)
def test_arguments_decide(machine: str, name: str, arguments: list[int], expected: int) -> None:
    steps = build_filter(machine, may_write=False)
    assert verdict(steps, machine, number_of(machine, name), *arguments) == expected


def test_files_may_be_opened_for_writing_where_they_are_private() -> None:
    steps = build_filter("x86_64", may_write=True)
    assert verdict(steps, "x86_64", number_of("x86_64", "openat"), 0, 0, 0o1101) == ALLOW


def test_calls_of_another_architecture_kill() -> None:
    steps = build_filter("x86_64", may_write=True)
    assert interpret(steps, struct.pack("=IIQ6Q", 0, 0x40000003, 0, *[0] * 6)) == KILL
    x32 = 0x40000000 + number_of("x86_64", "read")
    assert verdict(steps, "x86_64", x32) == errno.ENOSYS


HEADERS = {
    "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    "aarch64": "/usr/include/asm-generic/unistd.h",
}


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_those_of_the_kernel(machine: str) -> None:
    header = Path(HEADERS[machine])
    if not header.exists():
        pytest.skip("the kernel's headers are not installed")
    text = header.read_text()
    official: dict[str, int] = {
        name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", text)
    }
    # Generic tables name 64-bit calls by what they are on 32 bits.
    if machine == "aarch64":
        official["newfstatat"] = official["fstatat"]
    ours: dict[str, Numbers] = TABLES
    column = MACHINES[machine].column
    for name, numbers in ours.items():
        assert official.get(name) == numbers[column], name
