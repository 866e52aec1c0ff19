"""From one number a response to figures: `mean`, `low`, `high` (95%) and `n`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from accord.annotation.intervals import cluster_bootstrap, wilson_interval
from accord.annotation.prediction_powered import corrected_mean
from accord.annotation.win_rates import clustered_standard_error, minimum_detectable_effect
from accord.core.files import hash_json
from accord.core.interfaces import PairJudge
from accord.core.types import PromptRow
from accord.objectives.kl import kl_k3
from accord.stages.evaluation.responses import Response
from accord.stages.evaluation.scoring import distinct_share, repetition_rate

Figure = dict[str, float]

# Probabilities and scores closer than this are a tie: rounding is nobody's win.
_TIE_WIDTH = 1e-9


class Figures:
    """Figures over one set of prompts; rows with the same prompt are drawn together."""

    def __init__(self, rows: Sequence[PromptRow], *, seed: int) -> None:
        self.clusters = [hash_json(list(row.prompt)) for row in rows]
        self.seed = seed

    def mean(self, values: Sequence[float]) -> Figure | None:
        """Mean over the values that are not NaN, bootstrapped by prompt; None without any."""
        known = [i for i, value in enumerate(values) if not np.isnan(value)]
        if not known:
            return None
        numbers = [values[i] for i in known]
        low, high = cluster_bootstrap(numbers, [self.clusters[i] for i in known], seed=self.seed)
        return {"mean": float(np.mean(numbers)), "low": low, "high": high, "n": len(known)}

    def share(self, values: Sequence[float]) -> Figure | None:
        """Share of ones among zeros and ones, with Wilson's interval; other numbers: `mean`."""
        known = [value for value in values if not np.isnan(value)]
        if not known or not set(known) <= {0.0, 1.0}:
            return self.mean(values)
        low, high = wilson_interval(sum(known), len(known))
        return {"mean": sum(known) / len(known), "low": low, "high": high, "n": len(known)}

    def win_rate(
        self, margins: npt.ArrayLike, texts: Sequence[str], baseline_texts: Sequence[str]
    ) -> Figure | None:
        """Share of prompts with a positive margin; a tie, or the same text, counts 1/2.

        `minimum_detectable_effect` is the difference from 1/2 that as many prompts would show four
        times in five.

        A margin of NaN, where one of the two has no score, counts for nobody; None without others.
        """
        margin = np.asarray(margins, dtype=np.float64)
        same = np.array([a == b for a, b in zip(texts, baseline_texts, strict=True)])
        is_tie = same | (np.abs(margin) < _TIE_WIDTH)
        wins = np.where(is_tie, 0.5, (margin > 0).astype(np.float64))
        is_known = ~np.isnan(margin)
        figure = self.mean(np.where(is_known, wins, np.nan).tolist())
        if figure is None:
            return None
        kept = [cluster for cluster, keep in zip(self.clusters, is_known, strict=True) if keep]
        error = clustered_standard_error(wins[is_known], kept)
        unseen = minimum_detectable_effect(error) if len(set(kept)) > 1 else 0.5
        ties = float(is_tie[is_known].mean())
        return {**figure, "ties": ties, "minimum_detectable_effect": min(unseen, 0.5)}

    def by_people(
        self,
        people: PairJudge | None,
        preferred: Sequence[float],
        rows: Sequence[PromptRow],
        texts: Sequence[str],
        baseline_texts: Sequence[str],
    ) -> Figure | None:
        """The judge's mean probability, put right by people's judgements of some of the pairs;
        None where they judged fewer than two prompts.
        """
        if people is None:
            return None
        said = people.compare([row.prompt for row in rows], texts, baseline_texts)
        asked = {c for c, p in zip(self.clusters, said, strict=True) if not np.isnan(p)}
        if len(asked) < 2:
            return None
        found = corrected_mean(preferred, said, self.clusters)
        return {"mean": found.value, "low": found.low, "high": found.high, "n": found.labelled}


def constant(value: float, n: int) -> Figure:
    """A figure without an interval: an extreme, or a statistic of the whole set."""
    return {"mean": value, "low": value, "high": value, "n": n}


def summarize(
    figures: Figures,
    responses: Sequence[Response],
    references: Sequence[npt.NDArray[np.float64]],
    scores: Mapping[str, Sequence[float]],
    behaviours: Mapping[str, Sequence[float]],
) -> dict[str, Figure]:
    """All figures of one policy.

    Args:
        references: log-probs of each response's tokens under the reference.
        scores: by name, one number a response.
        behaviours: by name, one number a response, NaN where it does not apply.
    """
    own = [np.array(response.logprobs) for response in responses]
    pairs = list(zip(own, references, strict=True))
    gaps = np.concatenate(
        [np.abs(mine - r.sampler_logprobs) for mine, r in zip(own, responses, strict=True)]
    )
    found: dict[str, Figure | None] = {
        **{name: figures.mean(values) for name, values in scores.items()},
        **{name: figures.share(values) for name, values in behaviours.items()},
        "kl_nats": figures.mean([float((mine - other).sum()) for mine, other in pairs]),
        "kl_k3_nats": figures.mean([_k3(mine, other) for mine, other in pairs]),
        "length": figures.mean([float(len(r.response_ids)) for r in responses]),
        "stop_rate": figures.share([float(r.finish == "stop") for r in responses]),
        "repetition_rate": figures.mean([repetition_rate(r.text) for r in responses]),
        "sampler_gap_nats": constant(float(gaps.max()), len(gaps)),
        "sampler_gap_mean_nats": constant(float(gaps.mean()), len(gaps)),
    }
    for n in (1, 2):
        distinct = distinct_share([r.text for r in responses], n=n)
        found[f"distinct_{n}"] = None if distinct is None else constant(distinct, len(responses))
    return {name: figure for name, figure in found.items() if figure is not None}


def _k3(own: npt.NDArray[np.float64], reference: npt.NDArray[np.float64]) -> float:
    """Sum over a response's tokens: never negative, and less noisy than k1 near the reference."""
    return float(kl_k3(torch.from_numpy(own), torch.from_numpy(reference)).sum())


def interval_of(figure: Figure, prefix: str) -> dict[str, Any]:
    """The same numbers under names that start with `prefix`, to stand beside another figure."""
    return {
        prefix: figure["mean"],
        f"{prefix}_low": figure["low"],
        f"{prefix}_high": figure["high"],
    }
