"""Shuts itself in and starts a program: run as a script, on the standard library alone.

The order given on stdin is a JSON object (`process.py` writes it); the report on stdout is another:
`{"exit_code": n, "timed_out": bool}`, or `{"error": why}` where nothing was run.

    launcher   makes the namespaces, and waits; ends with the host
    └ keeper   first process of the process namespace: when it ends, all in there end
      └ program   ends with whoever started it

Without namespaces, launcher and keeper are one.
"""

import base64
import contextlib
import ctypes
import json
import os
import resource
import signal
import stat
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

Order = dict[str, Any]

_NAMESPACES = 0x10000000 | 0x20000 | 0x40000000 | 0x20000000 | 0x8000000 | 0x4000000
"""CLONE_NEWUSER, NEWNS, NEWNET, NEWPID, NEWIPC, NEWUTS"""
_NOBODY = 65534
_ROOT = "/tmp"  # where the new root is mounted; any folder that is always there would do

_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 0x1000, 0x4000, 0x40000
_MNT_DETACH = 2
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_MOUNT_SETATTR = 442
_SYS_LANDLOCK = 444  # create_ruleset; add_rule and restrict_self follow
_LANDLOCK_FILES = 0x1FFF  # all that version 1 knows: reading, running, writing, making, removing
_LANDLOCK_READ_FILE, _LANDLOCK_READ_FOLDER = 0b0101, 0b1101
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_READ_ONLY = 1 | 2 | 4  # and nosuid, nodev
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 22, 24, 38

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Do what the order on stdin says, and report; the host kills what is left of the group."""
    order: Order = json.loads(sys.stdin.buffer.read())
    report = os.dup(1)
    os.umask(0o022)  # what is made here is the program's to read, whoever that will be
    for file in (order["nothing"], order["stdout"], order["stderr"]):
        os.set_inheritable(file, False)
    try:
        if sys.platform == "linux":
            _die_with(order["host"])
        if order["is_isolated"]:
            _enter_namespaces()
            _enter_private_root(order)
            keeper = os.fork()
            if keeper:
                os.waitpid(keeper, 0)
            else:
                _die_with(None)
                _keep(order, report)
        else:
            _keep(order, report)
    except Exception as error:
        _tell(report, {"error": f"{type(error).__name__}: {error}"})
    os._exit(0)


def _keep(order: Order, report: int) -> None:
    """Run the program, for so long; its report is the first line that is written."""
    program = os.fork()
    if program == 0:
        try:
            _start(order)
        except BaseException as error:
            _tell(report, {"error": f"{type(error).__name__}: {error}"})
            os._exit(1)
    signal.signal(signal.SIGALRM, _stop_waiting)
    signal.setitimer(signal.ITIMER_REAL, order["wall_s"])
    try:
        _, status, used = os.wait4(program, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # it may come while we go on
    except TimeoutError:
        _tell(report, {"exit_code": None, "timed_out": True})
        return
    code = os.waitstatus_to_exitcode(status)
    was_spent = used.ru_utime + used.ru_stime >= order["limits"]["RLIMIT_CPU"]
    too_long = code == -signal.SIGXCPU or (code == -signal.SIGKILL and was_spent)
    _tell(report, {"exit_code": code, "timed_out": too_long})


def _stop_waiting(_signal: int, _frame: object) -> NoReturn:
    raise TimeoutError


def _tell(report: int, what: Order) -> None:
    os.write(report, json.dumps(what).encode() + b"\n")


def _start(order: Order) -> NoReturn:
    """Become the program."""
    if not order["is_isolated"]:
        os.chdir(order["folder"])
    source = Path("program.py").resolve()
    source.write_bytes(order["program"].encode("utf-8", "surrogatepass"))
    nothing = order["nothing"]
    for stream, file in enumerate((nothing, order["stdout"], order["stderr"])):
        os.dup2(file, stream)
    for name, value in order["limits"].items():
        _limit(getattr(resource, name), value)
    # Counted per user: in a namespace of its own the program is alone.
    others = 0 if order["is_isolated"] else _threads_of_user()
    _limit(resource.RLIMIT_NPROC, order["threads"] + others)
    if order["is_isolated"] and os.getuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    if sys.platform == "linux":
        _die_with(None)  # after the change of user, which would undo it
    if order["filter"]:
        _drop_capabilities()
        _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
        if order["is_confined"]:
            _confine([*order["visible"], str(source)])
        _install_filter(base64.b64decode(order["filter"]))
    # Isolated from the environment and the site; no bytecode is written.
    command = [order["python"], "-I", "-S", "-B", "-X", "utf8", str(source)]
    os.execve(command[0], command, {})


def _threads_of_user() -> int:
    """All that run now, where /proc can tell."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may end meanwhile
            if folder.stat().st_uid == os.getuid():
                count += len(os.listdir(folder / "task"))  # noqa: PTH208 (a count, no paths)
    return count


def _limit(resource_number: int, value: int) -> None:
    """Set soft and hard limit; a lower one that is there already stays."""
    hard = resource.getrlimit(resource_number)[1]
    lower = value if hard == resource.RLIM_INFINITY else min(value, hard)
    # At the soft limit of CPU time comes a signal of its own, a second later SIGKILL.
    spare = resource_number == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY
    resource.setrlimit(resource_number, (lower, lower + spare))


def _die_with(parent: int | None) -> None:
    """Be killed when the parent ends, which may have happened already."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG")
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def _enter_namespaces() -> None:
    """Leave the host's users, mounts, network, processes and IPC.

    Root keeps root inside (its Python may lie where only root can look) and maps a second user that
    the program will be; others can map themselves alone, and are called nobody.
    """
    me, user, group = os.getpid(), os.getuid(), os.getgid()
    if user == 0:
        users = groups = f"0 0 1\n{_NOBODY} {_NOBODY} 1\n"
    else:
        users, groups = f"{_NOBODY} {user} 1\n", f"{_NOBODY} {group} 1\n"
    go, ready = os.pipe()
    helper = os.fork()  # a map of two users has to be written from outside
    if helper == 0:
        os.close(ready)
        if os.read(go, 1) != b"1":
            os._exit(1)
        if user != 0:
            Path(f"/proc/{me}/setgroups").write_text("deny")
        Path(f"/proc/{me}/uid_map").write_text(users)
        Path(f"/proc/{me}/gid_map").write_text(groups)
        os._exit(0)
    _check(_libc.unshare(_NAMESPACES), "unshare")
    _check(_libc.sethostname(b"sandbox", ctypes.c_size_t(7)), "sethostname")
    os.write(ready, b"1")
    if os.waitstatus_to_exitcode(os.waitpid(helper, 0)[1]) != 0:
        raise PermissionError("users cannot be mapped into a new user namespace")


def _enter_private_root(order: Order) -> None:
    """A root file system of limited size, with a few paths of the host's to read."""
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE, None)
    sources = [Path(path) for path in order["visible"]]
    # Opened first: the new root may hide them.
    opened = {
        path: os.open(path, os.O_PATH)
        for path in sources
        if path.exists() and not path.is_symlink()
    }
    links = {path: path.readlink() for path in sources if path.is_symlink()}
    size = f"size={order['disk_bytes']},nr_inodes=4096,mode=755"
    _mount("none", _ROOT, "tmpfs", _MS_NOSUID | _MS_NODEV, size)
    for path, link in links.items():
        (_ROOT / path.relative_to("/")).symlink_to(link)
    for path, source in opened.items():
        place = _ROOT / path.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISDIR(os.fstat(source).st_mode):
            place.mkdir(exist_ok=True)
        else:
            place.touch()
        _mount(f"/proc/self/fd/{source}", str(place), None, _MS_BIND | _MS_REC, None)
        _make_read_only(str(place))
    os.chdir(_ROOT)
    _check(_libc.syscall(_SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", _MNT_DETACH), "umount2")
    os.chdir("/")
    Path("tmp").mkdir(exist_ok=True)
    Path("tmp").chmod(0o777)
    os.chdir("/tmp")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None) -> None:
    arguments = [text.encode() if text is not None else None for text in (source, target, kind)]
    _check(
        _libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() if data else None),
        f"mount {target}",
    )


def _make_read_only(path: str) -> None:
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY, 0, 0, 0)  # struct mount_attr
    done = _libc.syscall(
        _SYS_MOUNT_SETATTR,
        ctypes.c_long(_AT_FDCWD),
        path.encode(),
        _AT_RECURSIVE,
        attributes,
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _check(done, f"mount_setattr {path}")


def _drop_capabilities() -> None:
    """Root that starts a program gets no capability back which is not in the bounding set."""
    if os.geteuid() == 0:
        for capability in range(64):
            if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                break


def _confine(paths: list[str]) -> None:
    """Let files be read and run below these paths only (Landlock; all else about files is denied).

    Source: the kernel's Documentation/userspace-api/landlock.rst.
    """
    handled = ctypes.c_uint64(_LANDLOCK_FILES)  # the first field is all that version 1 has
    rules = _libc.syscall(_SYS_LANDLOCK, ctypes.byref(handled), ctypes.c_size_t(8), 0)
    if rules < 0:
        _check(rules, "landlock_create_ruleset")
    for path in paths:
        if Path(path).exists():
            file = os.open(path, os.O_PATH)
            is_folder = stat.S_ISDIR(os.fstat(file).st_mode)
            allowed = _LANDLOCK_READ_FOLDER if is_folder else _LANDLOCK_READ_FILE
            rule = struct.pack("=Qi", allowed, file)
            _check(_libc.syscall(_SYS_LANDLOCK + 1, rules, 1, rule, 0), "landlock_add_rule")
            os.close(file)
    _check(_libc.syscall(_SYS_LANDLOCK + 2, rules, 0), "landlock_restrict_self")
    os.close(rules)


def _install_filter(steps: bytes) -> None:
    class Program(ctypes.Structure):  # struct sock_fprog
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    program = Program(len(steps) // 8, steps)
    _check(_libc.prctl(_PR_SET_SECCOMP, 2, ctypes.byref(program), 0, 0), "PR_SET_SECCOMP")


def _check(done: int, what: str) -> None:
    if done != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


if __name__ == "__main__":
    main()
