"""Programs that mean harm: each tries one thing, at every level that claims to prevent it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from accord.core.errors import SandboxError
from accord.sandbox import process, sandbox
from accord.sandbox.levels import FORBIDDEN, Level
from accord.sandbox.probing import Reached, escapes_from, measure_level
from accord.sandbox.process import Limits, Outcome, run_program
from accord.sandbox.sandbox import Sandbox

ALL = list(Level)
CLOSED = [Level.FILTERED, Level.CONFINED, Level.ISOLATED]


def run(level: Level, program: str, limits: Limits | None = None) -> Outcome:
    reached = measure_level().level
    if reached is None or reached < level:
        pytest.skip(f"this machine does not reach {level.name}")
    try:
        return run_program(textwrap.dedent(program), level, limits or Limits())
    except SandboxError as error:
        if "landlock" in str(error):  # a kernel may have namespaces and no Landlock
            pytest.skip(str(error))
        raise


def processes_with(marker: str) -> list[str]:
    """Process ids whose command line holds the marker."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (folder / "cmdline").read_bytes():
                found.append(folder.name)
        except OSError:  # it ended meanwhile
            continue
    return found


def until_gone(marker: str) -> list[str]:
    """What is left with the marker; the kernel may need a moment to bury the dead."""
    for _ in range(200):
        if not (left := processes_with(marker)):
            return []
        time.sleep(0.02)
    return left


def sleeper(marker: str) -> str:
    """Source that becomes a sleeping process with the marker; the source itself has halves."""
    text = f"'import time; time.sleep(60) # {marker[:9]}' '{marker[9:]}'"
    return f"os.execv(sys.executable, [sys.executable, '-c', {text}])"


@pytest.fixture
def loopback_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


# What plain programs need --------------------------------------------------------------------


@pytest.mark.parametrize("level", ALL)
def test_a_harmless_program_runs(level: Level) -> None:
    program = """
        import asyncio, collections, hashlib, itertools, math, random, re, sqlite3, sys, threading
        done = []
        threads = [threading.Thread(target=done.append, args=(i,)) for i in range(8)]
        [t.start() for t in threads]; [t.join() for t in threads]
        async def add(): await asyncio.sleep(0); return 1
        print(sorted(done), asyncio.run(add()), hashlib.sha256(b'x').hexdigest()[:4], 'naïve')
        print(sqlite3.connect(':memory:').execute('select 40 + 2').fetchone(), file=sys.stderr)
    """
    outcome = run(level, program)
    assert outcome == Outcome(
        0, False, f"{list(range(8))} 1 2d71 naïve\n", "(42,)\n", was_cut=False
    )


def test_files_can_be_written_where_they_are_private() -> None:
    program = """
        import os, pathlib, shutil, tempfile
        with tempfile.TemporaryDirectory() as folder:
            place = pathlib.Path(folder) / 'a'
            place.write_text('text'); shutil.copy(place, 'b'); os.rename('b', 'c')
            print(pathlib.Path('c').read_text(), os.getcwd(), os.uname().nodename)
    """
    assert run(Level.ISOLATED, program).stdout == "text /tmp sandbox\n"


@pytest.mark.parametrize("level", ALL)
@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("raise SystemExit(3)", 3),
        ("1 / 0", 1),
        ("print(", 1),
        ("x = '\0'", 1),
        ("'\ud800'", 1),
        ("import os; os._exit(0)", 0),
        ("input()", 1),  # stdin is empty
        ("import ctypes; ctypes.string_at(0)", -11),
    ],
)
def test_exit_codes(level: Level, program: str, code: int) -> None:
    outcome = run(level, program)
    assert (outcome.exit_code, outcome.timed_out) == (code, False)


def test_long_programs_pass_through() -> None:
    assert run(Level.ISOLATED, f"print(len({'x' * 500_000!r}))").stdout == "500000\n"


# Files and secrets ---------------------------------------------------------------------------


def test_files_of_the_host_are_not_there(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    paths = ["/etc/passwd", "/etc/shadow", __file__, str(secret), "/proc/self/environ", "/dev/sda"]
    paths += [f"/..{path}" for path in paths]  # the old root may lie on the new one
    program = f"""
        import os
        for path in {paths!r}:
            try: print('read', path, open(path).read())
            except OSError as error: pass
        for folder, folders, files in os.walk('/'):
            for name in files:
                print(os.path.join(folder, name))
    """
    outcome = run(Level.ISOLATED, program, Limits(file_bytes=64 << 20))
    python = str(Path(sys.executable).resolve())
    libraries = ("/lib", "/usr/lib", "/usr/local/lib", f"{Path(python).parents[1]}/lib")
    own = {python, "/tmp/program.py", "/etc/ld.so.cache"}
    seen = outcome.stdout.splitlines()
    assert outcome.exit_code == 0 and seen
    assert [path for path in seen if not path.startswith(libraries) and path not in own] == []


def test_files_of_the_host_cannot_be_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    files = ["/etc/passwd", __file__, str(secret), "/proc/self/environ", "/proc/self/maps"]
    files += [f"/proc/{os.getpid()}/environ", f"/proc/{os.getpid()}/fd/1", "/dev/null"]
    folders = ["/", "/tmp", str(tmp_path), str(Path.home()), "."]
    program = f"""
        import os
        for attack, places in ((open, {files!r}), (os.listdir, {folders!r})):
            for place in places:
                try: print(attack(place))
                except PermissionError: pass
        print(open(__file__).read()[:7].strip(), len(os.listdir(os.path.dirname(os.__file__))) > 99)
    """
    outcome = run(Level.CONFINED, program)
    assert (outcome.exit_code, outcome.stdout) == (0, "import True\n"), outcome


def test_what_can_be_seen_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    open_to_all = Path(tempfile.mkdtemp())
    open_to_all.chmod(0o777)
    visible = process._visible
    monkeypatch.setattr(process, "_visible", lambda python: [*visible(python), str(open_to_all)])
    program = f"""
        import os, pathlib
        for path in [os.__file__, '/usr/lib/planted', '/etc/planted', '{open_to_all}/planted']:
            try: open(path, 'a'); print('opened', path)
            except OSError: pass
            try: os.chmod(path, 0o777); print('changed', path)
            except OSError: pass
    """
    outcome = run(Level.ISOLATED, program)
    assert (outcome.exit_code, outcome.stdout) == (0, "")
    open_to_all.rmdir()


def test_the_filter_alone_lets_no_file_be_changed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("text")
    program = f"""
        import os, shutil
        attacks = [
            lambda: open({str(mine)!r}, 'w'), lambda: os.remove({str(mine)!r}),
            lambda: os.truncate({str(mine)!r}, 0), lambda: os.chmod({str(mine)!r}, 0),
            lambda: os.rename({str(mine)!r}, {str(mine) + "2"!r}),
            lambda: os.link({str(mine)!r}, {str(mine) + "2"!r}),
            lambda: os.mkdir({str(tmp_path / "new")!r}), lambda: shutil.rmtree({str(tmp_path)!r}),
            lambda: os.open({str(tmp_path)!r}, os.O_TMPFILE | os.O_RDWR),
            lambda: os.utime({str(mine)!r}), lambda: os.chown({str(mine)!r}, 1, 1),
            lambda: os.symlink('a', {str(tmp_path / "link")!r}), lambda: open('here', 'w'),
            lambda: os.mkfifo({str(tmp_path / "pipe")!r}),
            lambda: os.setxattr({str(mine)!r}, 'user.a', b''),
        ]
        for i, attack in enumerate(attacks):
            try: attack(); print(i)
            except OSError: pass
    """
    outcome = run(Level.FILTERED, program)
    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"] and mine.read_text() == "text"


@pytest.mark.skipif(os.getuid() != 0, reason="only root has capabilities to lose")
def test_root_reads_no_files_of_others(tmp_path: Path) -> None:
    others = tmp_path / "others"
    others.write_text("secret")
    others.chmod(0o600)
    os.chown(others, 65534, 65534)
    outcome = run(Level.FILTERED, f"open({str(others)!r})")
    assert outcome.exit_code == 1 and "PermissionError" in outcome.stderr


@pytest.mark.parametrize("level", ALL)
def test_secrets_of_the_environment_stay_outside(
    level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "secret")
    outcome = run(level, "import os; print(set(os.environ) - {'LC_CTYPE'})")
    assert outcome.stdout == "set()\n"


# The network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("level", CLOSED)
def test_the_network_cannot_be_reached(level: Level, loopback_port: int, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local:
        local.bind(str(tmp_path / "local"))
        program = f"""
            import socket
            def send(near, address):
                near.sendto(b'x', address)
            udp = socket.AF_INET, socket.SOCK_DGRAM
            local = {str(tmp_path / "local")!r}
            attacks = [
                lambda: socket.create_connection(('127.0.0.1', {loopback_port}), timeout=1),
                lambda: socket.create_connection(('1.1.1.1', 53), timeout=1),
                lambda: send(socket.socket(*udp), ('127.0.0.1', 9)),
                lambda: socket.getaddrinfo('example.com', 80),
                lambda: send(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0], local),
                lambda: socket.socket(socket.AF_UNIX).connect(local),
            ]
            for i, attack in enumerate(attacks):
                try: attack(); print(i)
                except OSError: pass
        """
        outcome = run(level, program)
    assert (outcome.exit_code, outcome.stdout) == (0, ""), outcome.stderr


# Using things up -----------------------------------------------------------------------------


@pytest.mark.parametrize("level", CLOSED)
def test_a_fork_bomb_does_not_go_off(level: Level) -> None:
    program = """
        import os, subprocess, sys
        attacks = [
            os.fork, lambda: subprocess.run([sys.executable]), lambda: os.system('true') and 1 / 0,
            lambda: os.posix_spawn(sys.executable, [sys.executable], {}),
        ]
        for i, attack in enumerate(attacks):
            try: attack(); print(i)
            except (OSError, ZeroDivisionError): pass
    """
    outcome = run(level, program)
    assert (outcome.exit_code, outcome.stdout) == (0, ""), outcome.stderr


def test_threads_are_limited() -> None:
    program = """
        import threading
        threading.stack_size(1 << 16)
        stop, threads = threading.Event(), []
        try:
            for _ in range(500):
                threads.append(threading.Thread(target=stop.wait)); threads[-1].start()
        except RuntimeError: print(len(threads))
        stop.set()
    """
    outcome = run(Level.ISOLATED, program, Limits(threads=20))
    assert 0 < int(outcome.stdout) <= 21


def test_the_disk_cannot_be_filled() -> None:
    program = """
        import errno
        total = 0
        try:
            for i in range(1000):
                with open(f'file{i}', 'wb', buffering=0) as file:
                    total += file.write(b'x' * 100_000)
        except OSError as error:
            print(total, errno.errorcode[error.errno])
    """
    outcome = run(Level.ISOLATED, program, Limits(disk_bytes=2 << 20))
    total, why = outcome.stdout.split()
    assert 1_000_000 < int(total) <= 2 << 20 and why == "ENOSPC"
    many = "import os\nfor i in range(100_000): os.mkdir(f'{i}')"
    assert "No space left" in run(Level.ISOLATED, many).stderr


@pytest.mark.parametrize("level", ALL)
def test_memory_runs_out_for_the_program_alone(level: Level) -> None:
    outcome = run(level, "x = bytearray(1 << 30)", Limits(memory_bytes=256 << 20))
    assert outcome.exit_code == 1 and "MemoryError" in outcome.stderr
    mapped = "import mmap; x = mmap.mmap(-1, 1 << 30)"
    assert run(level, mapped, Limits(memory_bytes=256 << 20)).exit_code == 1


@pytest.mark.parametrize("level", ALL)
@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "import time; time.sleep(100)",
        "import signal, time\nfor s in signal.valid_signals() - {9, 19, 32, 33}: "
        "signal.signal(s, signal.SIG_IGN)\nwhile True: time.sleep(100)",
    ],
)
def test_programs_end_in_time(level: Level, program: str) -> None:
    outcome = run(level, program, Limits(wall_s=0.5))
    assert (outcome.exit_code, outcome.timed_out) == (None, True)


def test_processor_time_is_limited() -> None:
    outcome = run(Level.ISOLATED, "while True: pass", Limits(wall_s=20, cpu_s=1))
    assert outcome.timed_out and outcome.exit_code is not None


@pytest.mark.parametrize("level", ALL)
def test_output_that_is_no_text(level: Level) -> None:
    program = "import sys; sys.stdout.buffer.write(b'\\xff' * 50)"
    outcome = run(level, program, Limits(file_bytes=100))
    assert (outcome.stdout, outcome.was_cut) == ("\ufffd" * 50, False)


@pytest.mark.parametrize("level", ALL)
def test_floods_are_cut(level: Level) -> None:
    flood = run(level, "while True: print('x' * 999)", Limits(file_bytes=100_000))
    assert flood.was_cut and len(flood.stdout) == 100_000 and flood.exit_code != 0
    stubborn = """
        import sys
        while True:
            try: sys.stderr.write('x' * 999)
            except OSError: pass
    """
    outcome = run(level, stubborn, Limits(file_bytes=100_000, wall_s=1.0))
    assert outcome.was_cut and outcome.timed_out and len(outcome.stderr) == 100_000


# Other processes -----------------------------------------------------------------------------


@pytest.mark.parametrize("level", CLOSED)
def test_others_cannot_be_signalled(level: Level) -> None:
    program = f"""
        import fcntl, os, socket
        near, far = socket.socketpair()
        def own():
            fcntl.fcntl(near, fcntl.F_SETOWN, {os.getpid()})
        attacks = [
            lambda: os.kill(os.getppid() or 1, 9), lambda: os.kill({os.getpid()}, 9),
            lambda: os.kill(-1, 9), lambda: os.killpg(0, 9), own,
            lambda: fcntl.fcntl(near, 10, 9),  # F_SETSIG
            lambda: fcntl.ioctl(near, 0x8901, b'1234'),  # FIOSETOWN
            lambda: os.pidfd_open({os.getpid()}), lambda: os.setpriority(0, {os.getpid()}, 19),
            lambda: os.sched_setaffinity({os.getpid()}, [0]),
        ]
        for i, attack in enumerate(attacks):
            try: attack(); print(i)
            except OSError: pass
    """
    outcome = run(level, program)
    assert (outcome.exit_code, outcome.stdout) == (0, "")


def test_a_program_that_kills_its_launcher_is_killed_too(tmp_path: Path) -> None:
    marker = uuid4().hex
    program = f"import os, sys\nos.kill(os.getppid(), 9)\n{sleeper(marker)}"
    outcome = run(Level.LIMITS, program)
    assert (outcome.exit_code, outcome.timed_out) == (None, False)
    assert until_gone(marker) == []


def test_children_in_the_group_do_not_outlive_the_program(tmp_path: Path) -> None:
    marker, started = uuid4().hex, tmp_path / "started"
    program = f"""
        import os, sys, time
        if os.fork() == 0:
            open({str(started)!r}, 'w'); {sleeper(marker)}
        while not os.path.exists({str(started)!r}): time.sleep(0.01)
    """
    assert run(Level.LIMITS, program).exit_code == 0
    assert started.exists() and until_gone(marker) == []


def test_daemons_die_with_the_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the filter, which would not let them be born."""
    monkeypatch.setattr(process, "_filter", lambda level: None)
    marker = uuid4().hex
    program = f"""
        import os, sys, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                open('started', 'w'); {sleeper(marker)}
            os._exit(0)
        while not os.path.exists('started'): time.sleep(0.01)
        print('born')
    """
    assert run(Level.ISOLATED, program).stdout == "born\n"
    assert until_gone(marker) == []


@pytest.mark.parametrize("level", ALL)
def test_nothing_is_left_when_the_launcher_dies(level: Level) -> None:
    marker = uuid4().hex
    program = f"import os, sys\n{sleeper(marker)}"
    before = children()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, level, program, Limits(wall_s=60))
        while not processes_with(marker):
            assert not running.done(), running.result()
            time.sleep(0.01)
        (launcher,) = children() - before
        os.kill(launcher, 9)
        assert running.result(timeout=20).exit_code is None
    assert until_gone(marker) == []


@pytest.mark.parametrize("level", ALL)
def test_nothing_is_left_when_the_host_dies(level: Level) -> None:
    run(level, "")  # skips where the level is not reached
    marker = uuid4().hex
    program = f"import os, sys\n{sleeper(marker)}"
    host = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from accord.sandbox.process import *\n"
            f"run_program({program!r}, Level({int(level)}), Limits(wall_s=60))",
        ],
        env={"PYTHONPATH": str(Path(process.__file__).parents[2])},
    )
    while not processes_with(marker):
        assert host.poll() is None
        time.sleep(0.01)
    host.kill()
    host.wait()
    assert until_gone(marker) == []


def children() -> set[int]:
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers are those of x86_64")
@pytest.mark.parametrize("level", CLOSED)
def test_dangerous_calls_do_not_exist(level: Level) -> None:
    numbers = {
        "socket": 41, "kill": 62, "ptrace": 101, "mount": 165, "shmget": 29, "setxattr": 188,
        "unshare": 272, "perf_event_open": 298, "process_vm_readv": 310, "memfd_create": 319,
        "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425, "pidfd_open": 434, "clone3": 435,
        "openat2": 437, "keyctl": 250, "fork": 57, "vfork": 58, "setns": 308, "prctl": 157,
        "x32 read": 0x40000000, "of a later kernel": 5000,
    }  # fmt: skip
    program = f"""
        import ctypes, errno
        libc = ctypes.CDLL(None, use_errno=True)
        for name, number in {numbers!r}.items():
            ctypes.set_errno(0)
            if libc.syscall(number, 0, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != errno.ENOSYS:
                print(name, ctypes.get_errno())
    """
    outcome = run(level, program)
    assert (outcome.exit_code, outcome.stdout) == (0, "")


# Levels --------------------------------------------------------------------------------------


def test_the_levels_hold_what_they_say() -> None:
    reached = measure_level().level
    assert reached is not None
    expected = {
        Level.LIMITS: {"network", "write", "process", "signal", "read", "look"},
        Level.FILTERED: {"read", "look"},
        Level.CONFINED: {"look"},
        Level.ISOLATED: set(),
    }
    for level in ALL:
        try:
            escaped = escapes_from(level)
        except SandboxError as error:
            assert level > reached or "landlock" in str(error)
            continue
        assert escaped == expected[level]


def test_a_machine_that_makes_namespaces_is_seen_to() -> None:
    """Else a mistake of ours would show as tests that are skipped."""
    unshare = shutil.which("unshare")
    if not unshare:
        pytest.skip("no unshare program to ask")
    command = [unshare, "-Urnmpif", "mount", "-t", "tmpfs", "none", "/tmp"]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("this machine makes no namespaces")
    assert measure_level() == Reached(Level.ISOLATED)


def test_a_leak_lowers_the_measured_level(monkeypatch: pytest.MonkeyPatch) -> None:
    if measure_level().level != Level.ISOLATED:
        pytest.skip("this machine does not reach ISOLATED")
    visible = process._visible
    # Not below pytest's own folder, which only its user may enter.
    shared = tempfile.mkdtemp()
    Path(shared).chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", shared)
    monkeypatch.setattr(process, "_visible", lambda python: [*visible(python), shared])
    leaky = measure_level.__wrapped__()
    assert (
        leaky.level == Level.FILTERED and "got out by: look, read" in leaky.reasons[Level.ISOLATED]
    )
    monkeypatch.setattr(process, "_filter", lambda level: None)
    open_wide = measure_level.__wrapped__()
    assert open_wide.level == Level.LIMITS
    assert "network, process, signal, write" in open_wide.reasons[Level.FILTERED]
    shutil.rmtree(shared)


def test_below_the_minimum_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = {Level.ISOLATED: "unshare: not permitted", Level.CONFINED: "no landlock"}
    monkeypatch.setattr(sandbox, "measure_level", lambda: Reached(Level.FILTERED, reasons))
    with pytest.raises(SandboxError, match="ISOLATED was asked for.*FILTERED.*unshare.*sysctl"):
        Sandbox(minimum=Level.ISOLATED)
    with pytest.raises(SandboxError, match="CONFINED was asked for.*FILTERED.*no landlock.*boot"):
        Sandbox()
    assert Sandbox(minimum=Level.FILTERED).level == Level.FILTERED
    monkeypatch.setattr(sandbox, "measure_level", lambda: Reached(None))
    with pytest.raises(SandboxError, match="reaches nothing"):
        Sandbox(minimum=Level.LIMITS)


def test_what_cannot_be_set_up_is_an_error_and_not_an_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "_visible", lambda python: [])  # no Python inside
    with pytest.raises(SandboxError, match="no sandbox of level ISOLATED here"):
        run(Level.ISOLATED, "print(1)")


def test_without_privileges() -> None:
    """Root in the tests, nobody in the world: a fresh interpreter under another user."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if os.getuid() != 0 or not python:
        pytest.skip("the tests run without privileges, or there is no Python for everyone")
    script = """
import json, threading
from accord.core.errors import SandboxError
from accord.sandbox.levels import Level
from accord.sandbox.probing import escapes_from
from accord.sandbox.process import Limits, run_program
busy = [threading.Thread(target=threading.Event().wait, daemon=True) for _ in range(50)]
[thread.start() for thread in busy]
program = '''
import os, threading
stop, threads = threading.Event(), []
try:
    for i in range(100):
        threads.append(threading.Thread(target=stop.wait)); threads[-1].start()
except RuntimeError: pass
stop.set()
print(os.path.exists("/etc/passwd"), os.getuid(), len(threads))
'''
found = {}
for level in Level:
    try:
        said = run_program(program, level, Limits(threads=20)).stdout.split()
    except SandboxError:
        continue
    found[level.name] = [sorted(escapes_from(level)), *said]
print(json.dumps(found))
"""
    done = subprocess.run(
        [python, "-c", script],
        env={"PYTHONPATH": str(Path(process.__file__).parents[2])},
        user=65534,
        group=65534,
        extra_groups=[],
        capture_output=True,
        text=True,
        cwd="/",
    )
    if "ModuleNotFoundError" in done.stderr or "SyntaxError" in done.stderr:
        pytest.skip("that Python cannot read this checkout, or is too old")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "FILTERED" in found
    everything = sorted(FORBIDDEN[Level.ISOLATED] - {"environment"})
    escapes = {"LIMITS": everything, "FILTERED": ["look", "read"], "CONFINED": ["look"]}
    for name, (escaped, sees_files, user, threads) in found.items():
        assert escaped == escapes.get(name, [])
        assert (sees_files, user) == (str(name != "ISOLATED"), "65534")
        # Whatever else the user runs, the program has the threads that it may have, and no more.
        assert 15 <= int(threads) <= 25, name


def test_many_programs_keep_their_order_and_the_pool_its_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    box = Sandbox(minimum=Level.LIMITS, workers=2)
    outcomes = box.run_many(
        [f"import time; time.sleep({0.2 - i / 10}); print({i})" for i in (0, 1)]
    )
    assert [outcome.stdout for outcome in outcomes] == ["0\n", "1\n"]
    running, most, lock = [0], [0], threading.Lock()

    def counted(program: str, level: Level, limits: Limits) -> Outcome:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1
        return Outcome(0, False, program, "", was_cut=False)

    monkeypatch.setattr(sandbox, "run_program", counted)
    assert [o.stdout for o in box.run_many([str(i) for i in range(10)])] == [
        str(i) for i in range(10)
    ]
    assert most[0] == 2


def test_many_callers_run_a_few_programs_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = [], []

    def run(program: str, *_: object) -> Outcome:
        running.append(program)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()
        return Outcome(0, False, "", "", False)

    box = Sandbox(minimum=Level.LIMITS, workers=2)
    monkeypatch.setattr(sandbox, "run_program", run)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(box.run, ["1"] * 16))
    assert max(most) == 2
