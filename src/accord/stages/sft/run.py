"""Supervised fine-tuning: the mean nats of the demonstrated tokens, to their validation minimum."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from accord.core.device import default_device, seed_everything
from accord.core.errors import DataError
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.core.types import Demonstration
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.corpora.formats import to_demonstration
from accord.corpora.pairs import split_by_prompt
from accord.corpora.readers import read_rows
from accord.models.loading import load_policy, load_tokenizer, save_model
from accord.models.logprobs import token_logprobs
from accord.models.lora import adapted, merged
from accord.objectives.cross_entropy import token_cross_entropy
from accord.stages.sft.config import Config
from accord.training.batches import (
    batch_at,
    collate,
    micro_batches,
    steps_per_epoch,
    total_steps,
)
from accord.training.interrupt import stop_on_signal
from accord.training.state import Checkpoints, trained_weights
from accord.training.step import fine_tuning


@dataclass(frozen=True)
class Result:
    """What fine-tuning leaves; losses in nats a demonstrated token."""

    model: Path
    validation_loss: float
    best_step: int
    steps: int
    rows: int
    cut_rows: int
    cut_tokens: int


def run(config: Config, run_dir: RunDir) -> Result:
    """Train on demonstrations and save the weights of the lowest validation loss in `model/`."""
    seed_everything(config.seed)
    tokenizer = load_tokenizer(config.model_name_or_path)
    encoder = ChatEncoder(tokenizer)
    train, held_out = _read(config, encoder)
    model = adapted(load_policy(config.model_name_or_path, device=default_device()), config)
    lengths = [len(row.input_ids) for row in train]
    total = total_steps(len(train), config)
    optimizations = {"model": fine_tuning(model, config, total_steps=total, dump_dir=run_dir.path)}
    best: dict[str, Any] = {"loss": float("inf"), "step": 0, "misses": 0, "weights": {}}
    checkpoints = Checkpoints(
        run_dir,
        modules={"model": model},
        optimizations=optimizations,
        every=config.save_steps,
        total=total,
    )
    restored = checkpoints.restore()
    done, best = restored or (0, best)

    def evaluate(step: int) -> float:
        loss = validation_loss(model, held_out, encoder, config)
        if loss < best["loss"]:
            best.update(loss=loss, step=step, misses=0, weights=trained_weights(model))
        else:
            best["misses"] += 1
        return loss

    with stop_on_signal() as stop, progress_bar("fine-tuning", total) as bar:
        if done == 0:
            run_dir.log(0, {"validation/loss": evaluate(0)})
        while done < total and best["misses"] < config.patience:
            rows = [train[i] for i in batch_at(lengths, done, config)]
            loss = _accumulate(model, rows, encoder, config)
            report = optimizations["model"].step(loss, [row.input_ids for row in rows])
            done += 1
            metrics = {"loss": loss, "epoch": done / steps_per_epoch(len(train), config)}
            metrics |= {"grad_norm": report.grad_norm, "learning_rate": report.learning_rate}
            if done % config.eval_steps == 0 or done == total:
                metrics["validation/loss"] = evaluate(done)
            run_dir.log(done, metrics)
            bar.update(done, {"loss": loss, "validation": best["loss"]})
            checkpoints.after(done, best, stop)
    model.load_state_dict(best["weights"], strict=False)
    save_model(merged(model), tokenizer, run_dir.model_path)
    cuts = [row.cut for row in train + held_out]
    return Result(
        model=run_dir.model_path,
        validation_loss=best["loss"],
        best_step=best["step"],
        steps=done,
        rows=len(train),
        cut_rows=sum(cut > 0 for cut in cuts),
        cut_tokens=sum(cuts),
    )


def _read(config: Config, encoder: ChatEncoder) -> tuple[list[Encoded], list[Encoded]]:
    """Encoded training and validation rows; every row trains something."""
    train = [d for name in config.dataset_name for d in load_demonstrations(name)]
    if config.eval_dataset_name:
        held_out = load_demonstrations(config.eval_dataset_name)
    else:
        kept, held = split_by_prompt(
            [d.prompt for _, d in train], fraction=config.eval_fraction, seed=config.seed
        )
        if not kept or not held:
            raise DataError(f"{len(train)} demonstrations are too few to hold some out")
        train, held_out = [train[i] for i in kept], [train[i] for i in held]
    return tuple(  # type: ignore[return-value]
        [_encode(where, d, encoder, config.max_length) for where, d in rows]
        for rows in (train, held_out)
    )


def load_demonstrations(reference: str) -> list[tuple[str, Demonstration]]:
    """All demonstrations of a data source, each with its place for error messages."""
    rows = enumerate(read_rows(reference), start=1)
    places = ((f"{reference}, row {number}", row) for number, row in rows)
    return [(where, to_demonstration(row, where)) for where, row in places]


def _encode(where: str, shown: Demonstration, encoder: ChatEncoder, max_length: int) -> Encoded:
    try:
        return encoder.encode(shown.prompt, shown.completion, max_length=max_length)
    except DataError as error:
        raise DataError(f"{where}: {error}; raise max_length, or leave the row out") from None


def _accumulate(
    model: nn.Module, rows: Sequence[Encoded], encoder: ChatEncoder, config: Config
) -> float:
    """Gradients of the mean over all target tokens of the batch, however it is split."""
    lengths = [len(row.input_ids) for row in rows]
    tokens = float(sum(len(row.response_ids) for row in rows))
    total = 0.0
    for piece in micro_batches(
        range(len(rows)), lengths, token_budget=config.tokens_per_micro_batch
    ):
        loss = _loss(model, [rows[i] for i in piece], encoder, config, denominator=tokens)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total


def _loss(
    model: nn.Module,
    rows: Sequence[Encoded],
    encoder: ChatEncoder,
    config: Config,
    *,
    denominator: float,
) -> torch.Tensor:
    device = default_device()
    batch = collate(rows, pad_id=encoder.pad_id, device=device)
    with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=config.bf16):
        logprobs = token_logprobs(model, *batch).logprobs
    return token_cross_entropy(logprobs, batch.target_mask, denominator=denominator).loss


@torch.no_grad()
def validation_loss(
    model: nn.Module, rows: Sequence[Encoded], encoder: ChatEncoder, config: Config
) -> float:
    """Mean nats a target token over all rows."""
    lengths = [len(row.input_ids) for row in rows]
    tokens = float(sum(len(row.response_ids) for row in rows))
    pieces = micro_batches(range(len(rows)), lengths, token_budget=config.tokens_per_micro_batch)
    return sum(
        _loss(model, [rows[i] for i in piece], encoder, config, denominator=tokens).item()
        for piece in pieces
    )
