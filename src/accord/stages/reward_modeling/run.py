"""The reward model: fit on comparisons, measured on held-out ones beside simple rankers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
from accord.objectives.bradley_terry import bradley_terry_loss
from accord.stages.reward_modeling.baselines import (
    accuracy,
    longer_wins,
    ranked_right,
    tfidf_margins,
)
from accord.stages.reward_modeling.config import Config
from accord.stages.reward_modeling.cross_validation import cross_validate
from accord.stages.reward_modeling.encoded import Pairs, pair_batch
from accord.stages.reward_modeling.fit import all_scores, fit


@dataclass(frozen=True)
class Result:
    """What the stage leaves; accuracies are shares of held-out pairs ranked as judged.

    `measured_on` tells which pairs these are: "test" pairs that nothing was chosen by, or the
    "validation" pairs whose loss picked the weights. Pairs whose label is a tie do not count.
    `score_mean` and `score_std` are over all held-out responses, for whoever wants to normalise.
    """

    model: Path
    measured_on: Literal["test", "validation"]
    heldout_accuracy: float
    heldout_loss: float
    heldout_pairs: int
    accuracy_where_chosen_is_shorter: float
    accuracy_where_chosen_is_longer: float
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
    model, steps = fit(train, validation, encoder, config, run_dir)
    sample = pair_batch(held_out.encoded, range(min(8, len(heldout_rows))), encoder)
    save_scored_model(model, tokenizer, run_dir.model_path, sample=sample)
    save_adapter_of(model, tokenizer, config, run_dir)

    scores = all_scores(model, held_out, encoder, config)
    right = ranked_right((scores[0] - scores[1]).double().numpy(), heldout_rows)
    length = longer_wins(heldout_rows)
    seen = comparisons if config.test_comparisons else train_rows
    tfidf = ranked_right(tfidf_margins(seen, heldout_rows), heldout_rows)
    return Result(
        model=run_dir.model_path,
        measured_on="test" if config.test_comparisons else "validation",
        heldout_accuracy=accuracy(right),
        heldout_loss=bradley_terry_loss(
            scores[0], scores[1], p_chosen=held_out.p_chosen, margin=held_out.margin
        ).loss.item(),
        heldout_pairs=len(heldout_rows),
        accuracy_where_chosen_is_shorter=accuracy(right[length < 0]),
        accuracy_where_chosen_is_longer=accuracy(right[length > 0]),
        tfidf_accuracy=accuracy(tfidf),
        longer_wins_accuracy=accuracy(ranked_right(length, heldout_rows)),
        score_mean=float(scores.mean()),
        score_std=float(scores.std()),
        pairs=len(train_rows),
        cut_rows=train.encoded.cut_rows + held_out.encoded.cut_rows,
        steps=steps,
        cross_validation=validated,
    )


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
