"""Cross-validation of the reward model beside simple rankers, in the same folds by prompt."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from accord.annotation.intervals import cluster_bootstrap
from accord.core.files import hash_json
from accord.core.run_dir import RunDir
from accord.core.types import Comparison
from accord.corpora.encoding import ChatEncoder
from accord.corpora.pairs import prompt_fraction, split_by_prompt
from accord.stages.reward_modeling.baselines import (
    Floats,
    accuracy,
    longer_wins,
    ranked_right,
    tfidf_margins,
)
from accord.stages.reward_modeling.config import Config
from accord.stages.reward_modeling.encoded import Pairs
from accord.stages.reward_modeling.fit import all_margins, all_readings, fit


def cross_validate(
    comparisons: Sequence[Comparison], encoder: ChatEncoder, config: Config, run_dir: RunDir
) -> dict[str, Any]:
    """Accuracy of the three rankers in every fold and over all pairs, and their difference.

    Each fold holds out the prompts of one k-th. The reward model chooses its best moment on a
    slice of its own training prompts, never on the fold. A finished fold is kept and not redone.
    """
    fold_of = [
        int(config.folds * prompt_fraction(c.prompt, seed=config.seed + 17)) for c in comparisons
    ]
    right: dict[str, Floats] = {
        name: np.full(len(comparisons), np.nan) for name in ("reward_model", "tfidf", "longer")
    }
    for fold in range(config.folds):
        held = [i for i, f in enumerate(fold_of) if f == fold]
        kept = [i for i, f in enumerate(fold_of) if f != fold]
        name = f"fold-{fold}.json"
        found = run_dir.read_json(name)
        if found is None:
            found = _run_fold(comparisons, kept, held, encoder, config, run_dir, fold)
            run_dir.write_json(name, found)
        for ranker, values in found.items():
            right[ranker][held] = [np.nan if v is None else v for v in values]
    return summarize(right, fold_of, comparisons, seed=config.seed)


def _run_fold(
    comparisons: Sequence[Comparison],
    kept: list[int],
    held: list[int],
    encoder: ChatEncoder,
    config: Config,
    run_dir: RunDir,
    fold: int,
) -> dict[str, list[float | None]]:
    train, test = [comparisons[i] for i in kept], [comparisons[i] for i in held]
    learns, chooses = split_by_prompt(
        [c.prompt for c in train], fraction=config.eval_fraction, seed=config.seed + 18
    )
    sides = [train[i] for i in learns], [train[i] for i in chooses], test
    learned, chosen_on, measured = (Pairs.encode(side, encoder, config) for side in sides)
    model, _ = fit(learned, chosen_on, encoder, config, RunDir(run_dir.path / f"fold-{fold}"))
    readings = all_readings(model, measured, encoder, config)
    margins = {
        "reward_model": all_margins(readings, measured, config),
        "tfidf": tfidf_margins(train, test),
        "longer": longer_wins(test),
    }
    return {
        name: [None if np.isnan(v) else float(v) for v in ranked_right(values, test)]
        for name, values in margins.items()
    }


def summarize(
    right: dict[str, Floats], fold_of: list[int], comparisons: Sequence[Comparison], *, seed: int
) -> dict[str, Any]:
    """Accuracies by fold and over all pairs, and the paired difference to the TF-IDF ranker."""
    clusters = [hash_json(list(c.prompt)) for c in comparisons]
    folds = np.array(fold_of)
    decided = ~np.isnan(right["reward_model"])
    summary: dict[str, Any] = {"folds": int(folds.max()) + 1, "pairs": int(decided.sum())}
    for name, values in right.items():
        by_fold = [accuracy(values[folds == f]) for f in range(summary["folds"])]
        summary[name] = {"accuracy": accuracy(values), "by_fold": by_fold}
    difference = (right["reward_model"] - right["tfidf"])[decided]
    low, high = cluster_bootstrap(
        difference, [c for c, d in zip(clusters, decided, strict=True) if d], seed=seed
    )
    summary["difference_to_tfidf"] = {
        "mean": float(difference.mean()),
        "low": low,
        "high": high,
        "only_reward_model_right": int((difference > 0).sum()),
        "only_tfidf_right": int((difference < 0).sum()),
    }
    return summary
