"""What a side reports: seconds of each timed step, losses or rewards, memory above the model."""

import json
import time
from pathlib import Path
from typing import Any

import torch

MIB = 2**20


def memory_mb(name: str) -> float:
    """A line of this process's status on Linux: VmRSS (resident now) or VmHWM (its peak)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def reset_peak() -> None:
    """Count the peak from here: what was needed to load a model is not a step's."""
    Path("/proc/self/clear_refs").write_text("5")


class Meter:
    """Told when the model is loaded, and of every step's end.

    Memory is the process's, or on a GPU what PyTorch has allocated there. A step's time is from one
    end to the next, so the first has none; the last is left out too, since our stages evaluate in
    it.
    """

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.losses: list[float] = []
        self.rewards: list[float] = []
        self.loaded = self.peak = 0.0

    def is_loaded(self) -> None:
        """What the process holds now is the loaded model; memory is counted above it."""
        if self.ends:
            return
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            self.loaded = torch.cuda.memory_allocated() / MIB
        else:
            reset_peak()
            self.loaded = memory_mb("VmRSS")

    def step(self) -> None:
        """A step has ended."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # a step has ended when its kernels have
            self.peak = torch.cuda.max_memory_allocated() / MIB - self.loaded
        else:
            self.peak = memory_mb("VmHWM") - self.loaded
        self.ends.append(time.perf_counter())

    def learned(self, loss: float | None, reward: float | None) -> None:
        """What a step's log said."""
        if loss is not None:
            self.losses.append(float(loss))
        if reward is not None:
            self.rewards.append(float(reward))

    def report(self, **more: Any) -> None:
        """Print one JSON line, the last of the process."""
        seconds = [b - a for a, b in zip(self.ends, self.ends[1:], strict=False)]
        values = {
            "seconds": seconds[:-1],
            "losses": self.losses,
            "rewards": self.rewards,
            "peak_mb": self.peak,
        }
        print("\n" + json.dumps({**values, **more}), flush=True)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    """Rows as a file that a stage reads."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)
