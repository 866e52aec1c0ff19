"""What a side reports: seconds of each step after the first, losses, and memory above the model."""

import json
import resource
import threading
import time
from pathlib import Path
from typing import Any

import psutil


class Meter:
    """Started when the model is loaded; told of every step's end."""

    def __init__(self) -> None:
        process = psutil.Process()
        self.loaded = process.memory_info().rss
        self.peak = self.loaded
        self.times = [time.perf_counter()]
        self.losses: list[float] = []
        self._runs = True

        def watch() -> None:
            while self._runs:
                self.peak = max(self.peak, process.memory_info().rss)
                time.sleep(0.02)

        threading.Thread(target=watch, daemon=True).start()

    def step(self, loss: float | None = None) -> None:
        """A step has ended."""
        self.times.append(time.perf_counter())
        if loss is not None:
            self.losses.append(loss)

    def report(self, **more: Any) -> None:
        """Print one JSON line, the last of the process."""
        self._runs = False
        seconds = [b - a for a, b in zip(self.times, self.times[1:], strict=False)]
        values = {
            "seconds": seconds[1:],
            "losses": self.losses,
            "peak_mb": (self.peak - self.loaded) / 2**20,
            "maximum_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print("\n" + json.dumps({**values, **more}), flush=True)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    """Rows as a file that a stage reads."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)
