"""Progress that a person can follow: a bar with ETA and the three numbers that matter."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bar:
    """A running task; `update` moves it and shows a few numbers beside it."""

    def __init__(self, progress: Progress | None, description: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=total, numbers="") if progress else None

    def update(self, done: int, numbers: Mapping[str, float] | None = None) -> None:
        """Show that `done` of the total are done."""
        if self._progress is None or self._task is None:
            return
        text = "  ".join(f"{name} {value:.3g}" for name, value in (numbers or {}).items())
        self._progress.update(self._task, completed=done, numbers=text)


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Bar]:
    """A bar on standard error; silent when `ACCORD_QUIET` is set or nobody is watching."""
    if os.environ.get("ACCORD_QUIET") or not sys.stderr.isatty():
        yield Bar(None, description, total)
        return
    columns = (
        TextColumn("  {task.description:<22}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[numbers]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress, description, total)
