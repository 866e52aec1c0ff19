"""A sandbox of a level that was measured; below the level that is asked for, it runs nothing."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from accord.core.errors import SandboxError
from accord.sandbox.levels import GUARANTEES, Level
from accord.sandbox.probing import measure_level
from accord.sandbox.process import Limits, Outcome, run_program

_REMEDY = {
    Level.ISOLATED: (
        "allow user namespaces (sysctl user.max_user_namespaces above 0; where AppArmor restricts "
        "them, kernel.apparmor_restrict_unprivileged_userns=0; in Docker a seccomp profile that "
        "lets unshare and mount through), or ask for less"
    ),
    Level.CONFINED: (
        "use Linux 5.13 or later with Landlock among its security modules (lsm=landlock,... at "
        "boot), and a container profile that lets it through; or allow user namespaces (sysctl "
        "user.max_user_namespaces above 0); or ask for less"
    ),
    Level.FILTERED: "use Linux with seccomp on x86_64 or aarch64, or ask for less",
    Level.LIMITS: "use a system where Python can start processes and limit them",
}


class Sandbox:
    """Runs untrusted Python, several programs at a time.

    Args:
        minimum: the weakest level that will do.
        workers: programs that run at the same time, whoever calls.

    Raises:
        SandboxError: this machine does not reach the minimum; the message says why and what to do.
    """

    def __init__(
        self,
        *,
        minimum: Level = Level.CONFINED,
        limits: Limits | None = None,
        workers: int = 2,
    ) -> None:
        reached = measure_level()
        if reached.level is None or reached.level < minimum:
            found = reached.level.name if reached.level else "nothing"
            why = "; ".join(text for level, text in reached.reasons.items() if level >= minimum)
            raise SandboxError(
                f"untrusted code is not run: a sandbox of level {minimum.name} was asked for, and "
                f"this machine reaches {found} ({why}); {_REMEDY[minimum]}"
            )
        self.level = reached.level
        self.limits = limits or Limits()
        self.workers = workers
        self._places = threading.BoundedSemaphore(workers)

    def describe(self) -> str:
        """The level and what it guarantees, for reports."""
        return f"sandbox level {self.level.name}: {GUARANTEES[self.level]}"

    def run(self, program: str) -> Outcome:
        """Run Python source; only the standard library can be imported, and stdin is empty."""
        with self._places:
            return run_program(program, self.level, self.limits)

    def run_many(self, programs: Sequence[str]) -> list[Outcome]:
        """Outcomes in the order of the programs."""
        with ThreadPoolExecutor(max_workers=self.workers) as pool:
            return list(pool.map(self.run, programs))
