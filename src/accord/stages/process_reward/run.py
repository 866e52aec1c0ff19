"""The process reward model: a score at the end of every step, fit on judged steps."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from accord.annotation.calibration import calibration_error, probabilities, reliability
from accord.core import processes
from accord.core.device import default_device, seed_everything
from accord.core.errors import DataError
from accord.core.run_dir import RunDir
from accord.core.types import JudgedSteps
from accord.corpora.encoding import ChatEncoder
from accord.corpora.pairs import split_by_prompt
from accord.corpora.steps import EncodedSteps, encode_steps, load_steps
from accord.models.heads import init_reward_model, save_scored_model, token_scores
from accord.models.loading import load_tokenizer, within_context
from accord.models.lora import adapted, save_adapter_of
from accord.models.process_reward import ProcessFormat
from accord.models.sharding import whole
from accord.objectives.process import step_loss
from accord.stages.process_reward.config import Config
from accord.training.batches import collate, micro_batches
from accord.training.fitting import fit_to_minimum


@dataclass(frozen=True)
class Result:
    """What the stage leaves; the figures are over the held-out steps.

    `majority_accuracy` is what the commoner label alone would reach. `first_error_accuracy` is the
    share of responses whose first wrong step is found (or whose steps are all right, and held so).
    """

    model: Path
    heldout_loss: float
    heldout_accuracy: float
    majority_accuracy: float
    first_error_accuracy: float
    calibration_error: float
    heldout_steps: int
    rows: int
    cut_rows: int
    steps: int


def run(config: Config, run_dir: RunDir) -> Result:
    """Train a process reward model and save it, reloaded and rescored, under `model/`."""
    seed_everything(config.seed)
    tokenizer = load_tokenizer(config.model_name_or_path)
    encoder, device = ChatEncoder(tokenizer), default_device()
    fresh = init_reward_model(
        config.model_name_or_path,
        device=device,
        seed=config.seed,
        load_in_4bit=config.load_in_4bit,
    )
    train, held_out = _read(config, encoder, within_context(config.max_length, fresh.config))
    model = adapted(fresh, config)
    loss, steps = fit_to_minimum(
        model,
        config,
        run_dir,
        name="process reward",
        lengths=train.lengths,
        learn=lambda rows: _measure(model, train, rows, encoder, config),
        validate=lambda: _measure(model, held_out, range(len(held_out.encoded)), encoder, config),
        shown=("loss", "accuracy"),
    )
    model = whole(model)
    sample = collate(
        [item.row for item in held_out.encoded[:8]], pad_id=encoder.pad_id, device=device
    )
    kept = ProcessFormat(
        step_separator=config.step_separator, step_aggregation=config.step_aggregation
    )
    save_scored_model(model, tokenizer, run_dir.model_path, sample=sample, beside=kept.save)
    save_adapter_of(model, tokenizer, config, run_dir)
    cuts = [item.row.cut for item in train.encoded + held_out.encoded]
    return Result(
        model=run_dir.model_path,
        heldout_loss=loss,
        **_figures(_all_scores(model, held_out, encoder, config), held_out.labels),
        rows=len(train.encoded),
        cut_rows=sum(cut > 0 for cut in cuts),
        steps=steps,
    )


@dataclass(frozen=True)
class Judged:
    """Encoded responses, and the labels of each one's steps."""

    encoded: list[EncodedSteps]
    labels: list[tuple[float, ...]]

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each response, with its prompt."""
        return [len(item.row) for item in self.encoded]


def _read(config: Config, encoder: ChatEncoder, longest: int) -> tuple[Judged, Judged]:
    rows = load_steps(config.dataset_name)
    if config.eval_dataset_name:
        sides = [rows, load_steps([config.eval_dataset_name])]
    else:
        split = split_by_prompt(
            [row.prompt for row in rows], fraction=config.eval_fraction, seed=config.seed
        )
        sides = [[rows[i] for i in side] for side in split]
    if not all(sides):
        raise DataError(f"{len(rows)} rows are too few to hold some out")

    def encoded(side: list[JudgedSteps]) -> Judged:
        found = [
            encode_steps(
                row.prompt,
                row.steps,
                encoder,
                separator=config.step_separator,
                max_length=longest,
                where=row.where,
            )
            for row in side
        ]
        return Judged(found, [row.labels for row in side])

    return encoded(sides[0]), encoded(sides[1])


def _measure(
    model: nn.Module, judged: Judged, rows: Sequence[int], encoder: ChatEncoder, config: Config
) -> dict[str, float]:
    """Means over the steps of `rows`; with gradients enabled, those of the loss too."""
    count = float(sum(len(judged.labels[i]) for i in rows))
    totals = dict.fromkeys(("loss", "right", "decided"), 0.0)
    for piece in micro_batches(rows, judged.lengths, token_budget=config.tokens_per_micro_batch):
        scores = _step_scores(model, judged, piece, encoder, config)
        labels = torch.tensor([y for i in piece for y in judged.labels[i]], device=scores.device)
        out = step_loss(scores, labels, denominator=count)
        if out.loss.requires_grad:
            out.loss.backward()  # type: ignore[no-untyped-call]
        decided = int((labels != 0.5).sum())
        totals["loss"] += out.loss.item()
        if decided:
            totals["right"] += out.accuracy.item() * decided
            totals["decided"] += decided
    totals = processes.summed(totals)
    right, decided_steps = totals["right"], totals["decided"]
    share = right / decided_steps if decided_steps else float("nan")
    return {"loss": totals["loss"], "accuracy": share}


def _step_scores(
    model: nn.Module, judged: Judged, rows: Sequence[int], encoder: ChatEncoder, config: Config
) -> Tensor:
    """(S,) the head read at the end of every step, rows one after the other."""
    items = [judged.encoded[i] for i in rows]
    device = default_device()
    batch = collate([item.row for item in items], pad_id=encoder.pad_id, device=device)
    with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=config.bf16):
        scores = token_scores(model, batch.input_ids, batch.attention_mask)
    places = [(row, place) for row, item in enumerate(items) for place in item.places]
    row_index, column_index = torch.tensor(places, device=device).T
    return scores[row_index, column_index]


@torch.no_grad()
def _all_scores(
    model: nn.Module, judged: Judged, encoder: ChatEncoder, config: Config
) -> list[list[float]]:
    """Every response's step scores, in order."""
    starts = np.cumsum([0, *(len(labels) for labels in judged.labels)])
    found = torch.zeros(int(starts[-1]))
    everything, budget = range(len(judged.encoded)), config.tokens_per_micro_batch
    for piece in micro_batches(everything, judged.lengths, token_budget=budget):
        scores = _step_scores(model, judged, piece, encoder, config).cpu()
        places = [p for i in piece for p in range(starts[i], starts[i + 1])]
        found[places] = scores
    whole = processes.summed_tensor(found).tolist()
    return [whole[start:end] for start, end in itertools.pairwise(starts)]


def _figures(scores: list[list[float]], labels: Sequence[Sequence[float]]) -> dict[str, Any]:
    margins = np.array([s for row in scores for s in row])
    wanted = np.array([y for row in labels for y in row])
    decided = wanted != 0.5
    positive = float((wanted[decided] > 0.5).mean())
    given = probabilities(margins)
    return {
        "heldout_accuracy": float(((margins > 0) == (wanted > 0.5))[decided].mean()),
        "majority_accuracy": max(positive, 1 - positive),
        "first_error_accuracy": float(
            np.mean(
                [
                    _first(s > 0 for s in row) == _first(y > 0.5 for y in truth)
                    for row, truth in zip(scores, labels, strict=True)
                ]
            )
        ),
        "calibration_error": calibration_error(reliability(given, wanted)),
        "heldout_steps": len(wanted),
    }


def _first(right: Any) -> int | None:
    """The place of the first step that is not right; None when all are."""
    return next((place for place, is_right in enumerate(right) if not is_right), None)
