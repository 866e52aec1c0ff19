"""Supervised fine-tuning: the mean nats of the demonstrated tokens, to their validation minimum."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from accord.core import processes
from accord.core.device import default_device, seed_everything
from accord.core.errors import DataError
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.corpora.demonstrations import (
    EncodedDemonstration,
    encode_demonstration,
    load_demonstrations,
)
from accord.corpora.encoding import ChatEncoder
from accord.corpora.pairs import split_by_prompt
from accord.models.loading import load_start, load_tokenizer, within_context
from accord.models.logprobs import token_logprobs
from accord.models.lora import adapted, save_trained
from accord.objectives.cross_entropy import token_cross_entropy
from accord.stages.sft.config import Config
from accord.training.batches import (
    batch_at,
    collate_demonstrations,
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
    supervised_end_of_turn: float  # share of rows whose last end of turn is trained on


def run(config: Config, run_dir: RunDir) -> Result:
    """Train on demonstrations and save the weights of the lowest validation loss in `model/`."""
    seed_everything(config.seed)
    tokenizer = load_tokenizer(config.model_name_or_path)
    encoder = ChatEncoder(tokenizer)
    policy = load_start(config)
    train, held_out = _read(config, encoder, within_context(config.max_length, policy.config))
    model = adapted(policy, config)
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
        keep=config.save_total_limit,
    )
    done, best = checkpoints.restore() or (0, best)

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
            tokens = sum(len(row.input_ids) for row in rows)
            metrics["num_tokens"] = best["num_tokens"] = best.get("num_tokens", 0) + tokens
            if done % config.eval_steps == 0 or done == total:
                metrics["validation/loss"] = evaluate(done)
            run_dir.log(done, metrics)
            bar.update(done, {"loss": loss, "validation": best["loss"]})
            checkpoints.after(done, best, stop, metrics)
    model.load_state_dict(best["weights"], strict=False)
    save_trained(model, tokenizer, config, run_dir)
    cuts = [row.cut for row in train + held_out]
    return Result(
        model=run_dir.model_path,
        validation_loss=best["loss"],
        best_step=best["step"],
        steps=done,
        rows=len(train),
        cut_rows=sum(cut > 0 for cut in cuts),
        cut_tokens=sum(cuts),
        supervised_end_of_turn=_supervised_end_of_turn(train, encoder),
    )


def _read(
    config: Config, encoder: ChatEncoder, longest: int
) -> tuple[list[EncodedDemonstration], list[EncodedDemonstration]]:
    """Encoded training and validation rows; every row trains something."""
    train = [source for name in config.dataset_name for source in load_demonstrations(name)]
    if config.eval_dataset_name:
        held_out = load_demonstrations(config.eval_dataset_name)
    else:
        kept, held = split_by_prompt(
            [source.opening for source in train],
            fraction=config.eval_fraction,
            seed=config.seed,
        )
        if not kept or not held:
            raise DataError(f"{len(train)} demonstrations are too few to hold some out")
        train, held_out = [train[i] for i in kept], [train[i] for i in held]
    return (
        [encode_demonstration(source, encoder, max_length=longest) for source in train],
        [encode_demonstration(source, encoder, max_length=longest) for source in held_out],
    )


def _supervised_end_of_turn(rows: Sequence[EncodedDemonstration], encoder: ChatEncoder) -> float:
    """1 by construction; a template or tokenizer that breaks it shows here."""
    ends = [row.target_mask[-1] and row.input_ids[-1] == encoder.end_of_turn_id for row in rows]
    return sum(ends) / len(ends)


def _accumulate(
    model: nn.Module, rows: Sequence[EncodedDemonstration], encoder: ChatEncoder, config: Config
) -> float:
    """Gradients of the mean over all target tokens of the batch, however it is split."""
    lengths = [len(row.input_ids) for row in rows]
    tokens = float(sum(row.targets for row in rows))
    total = 0.0
    for piece in micro_batches(
        range(len(rows)), lengths, token_budget=config.tokens_per_micro_batch
    ):
        loss = _loss(model, [rows[i] for i in piece], encoder, config, denominator=tokens)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return processes.summed({"loss": total})["loss"]


def _loss(
    model: nn.Module,
    rows: Sequence[EncodedDemonstration],
    encoder: ChatEncoder,
    config: Config,
    *,
    denominator: float,
) -> torch.Tensor:
    device = default_device()
    batch = collate_demonstrations(rows, pad_id=encoder.pad_id, device=device)
    with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=config.bf16):
        logprobs = token_logprobs(model, *batch).logprobs
    return token_cross_entropy(logprobs, batch.target_mask, denominator=denominator).loss


@torch.no_grad()
def validation_loss(
    model: nn.Module, rows: Sequence[EncodedDemonstration], encoder: ChatEncoder, config: Config
) -> float:
    """Mean nats a target token over all rows."""
    lengths = [len(row.input_ids) for row in rows]
    tokens = float(sum(row.targets for row in rows))
    pieces = micro_batches(range(len(rows)), lengths, token_budget=config.tokens_per_micro_batch)
    total = sum(
        _loss(model, [rows[i] for i in piece], encoder, config, denominator=tokens).item()
        for piece in pieces
    )
    return processes.summed({"loss": total})["loss"]
