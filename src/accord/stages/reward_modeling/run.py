"""The reward model: fit on comparisons, measured on held-out ones beside simple rankers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import AutoConfig

from accord.core.device import seed_everything
from accord.core.run_dir import RunDir
from accord.core.types import Comparison
from accord.corpora.encoding import ChatEncoder
from accord.corpora.pairs import load_comparisons, split_by_prompt
from accord.models.adapter_files import base_of
from accord.models.heads import save_scored_model
from accord.models.loading import load_tokenizer, within_context
from accord.models.lora import save_adapter_of
from accord.models.score_heads import folded
from accord.objectives.bradley_terry import bradley_terry_loss
from accord.stages.reward_modeling.baselines import (
    accuracy,
    longer_wins,
    ranked_right,
    tfidf_margins,
)
from accord.stages.reward_modeling.config import Config
from accord.stages.reward_modeling.cross_validation import cross_validate
from accord.stages.reward_modeling.encoded import Pairs, head_layout
from accord.stages.reward_modeling.figures import (
    accuracy_by_attribute,
    accuracy_by_length,
    calibration,
    length_correlation,
)
from accord.stages.reward_modeling.fit import all_margins, all_readings, fit
from accord.training.pair_batches import pair_batch


@dataclass(frozen=True)
class Result:
    """What the stage leaves; accuracies are shares of held-out pairs ranked as judged.

    `measured_on` tells which pairs these are: "test" pairs that nothing was chosen by, or the
    "validation" pairs whose loss picked the weights. Pairs whose label is a tie do not count.
    `score_mean` and `score_std` are over all held-out responses, for whoever wants to normalise;
    `length_correlation` is the scores' with the responses' tokens. `calibration` says how often a
    confidence was right, with the temperature that the validation pairs ask for. `spread` is the
    mean disagreement of an ensemble's members, the standard deviation of their scores.
    """

    model: Path
    measured_on: Literal["test", "validation"]
    heldout_accuracy: float
    heldout_loss: float
    heldout_pairs: int
    accuracy_where_chosen_is_shorter: float
    accuracy_where_chosen_is_longer: float
    accuracy_by_length: list[dict[str, Any]]
    accuracy_by_attribute: dict[str, float]
    calibration: dict[str, Any]
    length_correlation: float
    spread: float
    tfidf_accuracy: float
    longer_wins_accuracy: float
    score_mean: float
    score_std: float
    pairs: int
    cut_rows: int
    steps: int
    cross_validation: dict[str, Any] | None


def run(config: Config, run_dir: RunDir) -> Result:
    """Train a reward model and save it, reloaded and rescored, under `model/`."""
    seed_everything(config.seed)
    tokenizer = load_tokenizer(config.model_name_or_path)
    encoder = ChatEncoder(tokenizer)
    config = _within_context(config)
    comparisons = load_comparisons(config.comparisons)
    train_rows, validation_rows = _split(comparisons, config)
    train = Pairs.encode(train_rows, encoder, config)
    validation = Pairs.encode(validation_rows, encoder, config)
    heldout_rows, held_out = validation_rows, validation
    if config.test_comparisons:
        heldout_rows = load_comparisons([config.test_comparisons])
        held_out = Pairs.encode(heldout_rows, encoder, config)
    validated = cross_validate(comparisons, encoder, config, run_dir) if config.folds else None
    seed_everything(config.seed)
    fitted, steps = fit(train, validation, encoder, config, run_dir)
    readings = all_readings(fitted, held_out, encoder, config)
    layout = head_layout(config)
    members = layout.members_of(readings, torch.tensor(layout.weights))
    validation_readings = readings
    if config.test_comparisons:
        validation_readings = all_readings(fitted, validation, encoder, config)
    model, heads = folded(fitted, layout)
    heads = replace(
        heads,
        means=tuple(members.mean((0, 1)).tolist()),
        stds=tuple(members.std((0, 1)).tolist()),
    )
    sample = pair_batch(held_out.encoded, range(min(8, len(heldout_rows))), encoder).tokens
    save_scored_model(model, tokenizer, run_dir.model_path, sample=sample, beside=heads.save)
    save_adapter_of(fitted, tokenizer, config, run_dir)

    seen = comparisons if config.test_comparisons else train_rows
    return Result(
        model=run_dir.model_path,
        measured_on="test" if config.test_comparisons else "validation",
        **_figures(readings, held_out, heldout_rows, config),
        calibration=calibration(
            all_margins(readings, held_out, config),
            held_out.p_chosen.double().numpy(),
            fitted_on=(
                all_margins(validation_readings, validation, config),
                validation.p_chosen.double().numpy(),
            ),
        ),
        spread=float(members.std(-1, correction=0).mean()),
        tfidf_accuracy=accuracy(ranked_right(tfidf_margins(seen, heldout_rows), heldout_rows)),
        score_mean=float(members.mean()),
        score_std=float(members.mean(-1).std()),
        pairs=len(train_rows),
        cut_rows=train.encoded.cut_rows + held_out.encoded.cut_rows,
        steps=steps,
        cross_validation=validated,
    )


def _figures(
    readings: torch.Tensor, held_out: Pairs, rows: Sequence[Comparison], config: Config
) -> dict[str, Any]:
    """Loss, and who is ranked right, of held-out pairs whose heads read (2, N, outputs)."""
    layout = head_layout(config)
    margins = all_margins(readings, held_out, config)
    right, length = ranked_right(margins, rows), longer_wins(rows)
    sides = (held_out.encoded.chosen, held_out.encoded.rejected)
    tokens = [len(row.response_ids) for side in sides for row in side]
    return {
        "heldout_accuracy": accuracy(right),
        "heldout_loss": bradley_terry_loss(
            *layout.members_of(readings, held_out.selectors).mean(-1),
            p_chosen=held_out.p_chosen,
            margin=held_out.margin,
            weights=held_out.weight,
            centering=config.center_rewards_coefficient,
        ).loss.item(),
        "heldout_pairs": len(rows),
        "accuracy_where_chosen_is_shorter": accuracy(right[length < 0]),
        "accuracy_where_chosen_is_longer": accuracy(right[length > 0]),
        "accuracy_by_length": accuracy_by_length(margins, rows),
        "accuracy_by_attribute": accuracy_by_attribute(margins, rows, config.attributes),
        "length_correlation": length_correlation(
            layout.scores(readings).double().flatten().numpy(), np.array(tokens, dtype=np.float64)
        ),
        "longer_wins_accuracy": accuracy(ranked_right(length, rows)),
    }


def _within_context(config: Config) -> Config:
    """The config with a `max_length` that the model can read."""
    model = AutoConfig.from_pretrained(base_of(config.model_name_or_path))
    return config.model_copy(update={"max_length": within_context(config.max_length, model)})


def _split(
    comparisons: Sequence[Comparison], config: Config
) -> tuple[list[Comparison], list[Comparison]]:
    if config.eval_comparisons:
        return list(comparisons), load_comparisons([config.eval_comparisons])
    kept, held = split_by_prompt(
        [c.prompt for c in comparisons], fraction=config.eval_fraction, seed=config.seed
    )
    return [comparisons[i] for i in kept], [comparisons[i] for i in held]
