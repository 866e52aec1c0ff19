"""What a side reports: seconds of each timed step, losses or rewards, memory above the model."""

import json
import time
from pathlib import Path
from typing import Any


def memory_mb(name: str) -> float:
    """A line of this process's status on Linux: VmRSS (resident now) or VmHWM (its peak)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def reset_peak() -> None:
    """Count the peak from here: what was needed to load a model is not a step's."""
    Path("/proc/self/clear_refs").write_text("5")


class Meter:
    """Started when the model is loaded; told of every step's end."""

    def __init__(self) -> None:
        reset_peak()
        self.loaded = memory_mb("VmRSS")
        self.times = [time.perf_counter()]
        self.losses: list[float] = []
        self.rewards: list[float] = []

    def step(self) -> None:
        """A step has ended."""
        self.times.append(time.perf_counter())

    def learned(self, loss: float | None, reward: float | None) -> None:
        """What a step's log said."""
        if loss is not None:
            self.losses.append(float(loss))
        if reward is not None:
            self.rewards.append(float(reward))

    def report(self, **more: Any) -> None:
        """Print one JSON line, the last of the process."""
        seconds = [b - a for a, b in zip(self.times, self.times[1:], strict=False)]
        values = {
            "seconds": seconds[1:-1],
            "losses": self.losses,
            "rewards": self.rewards,
            "peak_mb": memory_mb("VmHWM") - self.loaded,
        }
        print("\n" + json.dumps({**values, **more}), flush=True)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    """Rows as a file that a stage reads."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)
