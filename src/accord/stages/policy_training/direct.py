"""What the direct methods share: responses' log-probs, figures of a batch, and the loop."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from accord.core import processes
from accord.core.device import default_device
from accord.core.files import atomic_directory, hash_json, hash_path
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.core.train_config import TrainConfig
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.models.logprobs import token_logprobs
from accord.training.batches import (
    batch_at,
    collate,
    micro_batches,
    steps_per_epoch,
    total_steps,
)
from accord.training.interrupt import stop_on_signal
from accord.training.state import Checkpoints
from accord.training.step import fine_tuning


class Figures(NamedTuple):
    """Of a piece of a batch: its share of the batch's loss, and by name (mean, rows behind it)."""

    loss: Tensor
    means: dict[str, tuple[Tensor, int]]


def fit(
    model: nn.Module,
    config: TrainConfig,
    run_dir: RunDir,
    *,
    name: str,
    lengths: Sequence[int],
    learn: Callable[[Sequence[int]], dict[str, float]],
    validate: Callable[[], dict[str, float]],
    shown: Sequence[str],
) -> dict[str, float]:
    """The loop of every direct method; returns the figures of the last validation.

    Args:
        model: what trains; resumes from `run_dir`'s last checkpoint.
        name: on the progress bar.
        lengths: tokens of each training row.
        learn: leaves the gradients of the mean loss over some rows, and gives their figures.
        validate: figures of the held-out rows, without gradient.
        shown: names of two figures for the progress bar, beside the loss.
    """
    total = total_steps(len(lengths), config)
    optimizations = {"model": fine_tuning(model, config, total_steps=total, dump_dir=run_dir.path)}
    checkpoints = Checkpoints(
        run_dir,
        modules={"model": model},
        optimizations=optimizations,
        every=config.save_steps,
        total=total,
        keep=config.save_total_limit,
    )
    restored = checkpoints.restore()
    validation: dict[str, float] = {}  # the last step always measures it
    with stop_on_signal() as stop, progress_bar(name, total) as bar:
        for step in range(restored[0] if restored else 0, total):
            rows = batch_at(lengths, step, config)
            metrics = learn(rows)
            report = optimizations["model"].step(metrics["loss"], {"rows": rows})
            done = step + 1
            metrics |= {"grad_norm": report.grad_norm, "learning_rate": report.learning_rate}
            metrics["epoch"] = done / steps_per_epoch(len(lengths), config)
            if done % config.eval_steps == 0 or done == total:
                with torch.no_grad():
                    validation = validate()
                metrics |= {f"validation/{key}": value for key, value in validation.items()}
            run_dir.log(done, metrics)
            bar.update(done, {key: metrics[key] for key in ("loss", *shown)})
            checkpoints.after(done, {}, stop, metrics)
    return validation


def measure(
    piece_figures: Callable[[list[int], float], Figures],
    rows: Sequence[int],
    lengths: Sequence[int],
    *,
    token_budget: int,
) -> dict[str, float]:
    """Means over `rows`, however they are split; where gradients are on, they are left behind.

    Args:
        piece_figures: of some rows, when the batch has so many.
        rows: of the batch, over all processes.
        lengths: tokens of each row, at the widest.
        token_budget: of a piece, padding included.
    """
    totals = {"loss": 0.0}
    for piece in micro_batches(rows, lengths, token_budget=token_budget):
        figures = piece_figures(piece, float(len(rows)))
        if torch.is_grad_enabled():
            figures.loss.backward()  # type: ignore[no-untyped-call]
        totals["loss"] += figures.loss.item()
        for key, (mean, count) in figures.means.items():
            total = float(mean.detach()) * count if count else 0.0  # a mean over nothing is NaN
            totals[f"sum {key}"] = totals.get(f"sum {key}", 0.0) + total
            totals[f"count {key}"] = totals.get(f"count {key}", 0.0) + count
    totals = processes.summed(totals)
    means = {"loss": totals["loss"]}
    for key in [key.removeprefix("count ") for key in totals if key.startswith("count ")]:
        rows_behind = totals[f"count {key}"]
        means[key] = totals[f"sum {key}"] / rows_behind if rows_behind else float("nan")
    return means


def response_logprobs(
    model: nn.Module, rows: Sequence[Encoded], encoder: ChatEncoder, config: TrainConfig
) -> tuple[Tensor, Tensor]:
    """(n, L) log-probs of the rows' tokens in nats, and the mask of their responses."""
    device = default_device()
    batch = collate(rows, pad_id=encoder.pad_id, device=device)
    with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=config.bf16):
        return token_logprobs(model, *batch).logprobs, batch.target_mask


def model_key(model_name_or_path: str) -> str:
    """What a model's log-probs depend on: its files' hash, or its name on a hub."""
    weights = Path(model_name_or_path)
    return hash_path(weights) if weights.exists() else model_name_or_path


@torch.no_grad()
def cached_reference(
    run_dir: RunDir,
    name: str,
    key: object,
    read: Callable[[list[int]], dict[str, Tensor]],
    lengths: Sequence[int],
    *,
    sides: Sequence[str],
    token_budget: int,
) -> dict[str, Tensor]:
    """(N,) numbers of every row under the untouched model, computed once and kept with the run.

    Args:
        name: of the rows; part of the file's name.
        key: all that the numbers depend on: kept ones of other data are never reused.
        read: numbers of some rows, by name.
        lengths: tokens of each row, at the widest.
        sides: the numbers' names.
        token_budget: of a piece, padding included.
    """
    path = run_dir.path / f"reference-{name}-{hash_json(key)[:16]}"
    file = path / "logps.safetensors"
    if not file.exists():
        pieces = micro_batches(range(len(lengths)), lengths, token_budget=token_budget)
        found = {side: torch.zeros(len(lengths)) for side in sides}
        for piece in pieces:
            for side, values in read(piece).items():
                found[side][piece] = values.cpu()
        found = {side: processes.summed_tensor(values) for side, values in found.items()}
        with atomic_directory(path) as temporary:
            save_file(found, temporary / "logps.safetensors")
    return load_file(file)
