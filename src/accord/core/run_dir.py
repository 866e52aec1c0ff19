"""The run directory: what a stage leaves, and the lock, manifest and metrics around it."""

import contextlib
import fcntl
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from accord.core import files, processes
from accord.core.errors import AccordError, CheckpointError


class RunDir:
    """`runs/NAME/STEP/`: `config.toml`, `manifest.json`, `metrics.jsonl`, `result.json`,
    `checkpoint-N/`, `model/`. Every write is atomic.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with files.storage_errors(path):
            path.mkdir(parents=True, exist_ok=True)

    @property
    def metrics_path(self) -> Path:
        """One JSON object a line; every row has `step`."""
        return self.path / "metrics.jsonl"

    @property
    def model_path(self) -> Path:
        """The Hugging Face directory of the trained model."""
        return self.path / "model"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this run, so that two never write to it at once."""
        if not processes.is_main():
            yield  # the main process holds it for all
            return
        with self.path.with_name(f".{self.path.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AccordError(f"{self.path}: another process is running here") from None
            yield

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one row of metrics; non-finite values are stored as null (JSON has no NaN)."""
        if not processes.is_main():
            return
        row = {k: v if math.isfinite(v) else None for k, v in metrics.items()}
        with files.storage_errors(self.metrics_path), self.metrics_path.open("a") as file:
            file.write(json.dumps({"step": step, **row}) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All logged rows, oldest first; a last line cut short by a kill is left out."""
        if not self.metrics_path.exists():
            return []
        rows = []
        for line in self.metrics_path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                rows.append(json.loads(line))
        return rows

    def rewind_metrics(self, step: int) -> None:
        """Drop rows after `step`: a resumed run writes them again."""
        files.write_jsonl(self.metrics_path, [r for r in self.metrics() if r["step"] <= step])

    def checkpoints(self) -> list[tuple[int, Path]]:
        """(step, directory) of every complete checkpoint, oldest first."""
        found = []
        for path in self.path.glob("checkpoint-*"):
            match = re.fullmatch(r"checkpoint-(\d+)", path.name)
            if match and path.is_dir():
                found.append((int(match[1]), path))
        return sorted(found)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON file of this directory, or None when it is not there."""
        path = self.path / name
        if not path.exists():
            return None
        try:
            value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise CheckpointError(f"{path}: not valid JSON ({error}); delete it to redo") from None
        return value

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file of this directory."""
        files.write_json(self.path / name, value)


def run_of(step: Path) -> Path:
    """The run directory of a step's: RUN/STEP or RUN/round-K/STEP."""
    return step.parent.parent if step.parent.name.startswith("round-") else step.parent


def step_of(path: Path) -> Path | None:
    """The step's directory that a path is, or is in."""
    places = [path, *path.parents][:4]  # RUN/STEP/checkpoint-N/model
    return next((place for place in places if (place / "manifest.json").is_file()), None)
