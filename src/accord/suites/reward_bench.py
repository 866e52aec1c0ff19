"""RewardBench: does a reward model, or a policy's implicit reward, rank responses as people do?

Source: Lambert et al. 2024, arXiv:2403.13787; Malik et al. 2025 (RewardBench 2), arXiv:2506.01937.
No model answers anything here, so this is no `Suite` but a function of a `Reward`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accord.annotation.intervals import wilson_interval
from accord.annotation.tables import Floats
from accord.core.interfaces import Reward
from accord.core.types import Message
from accord.corpora.formats import as_messages
from accord.rewards.fitting import scores_that_fit
from accord.suites.base import Figure, SuiteResult
from accord.suites.judging import number_or_none
from accord.suites.reward_bench_ties import TIES, TiedPrompt, ties_figures
from accord.suites.rows import Record, read_records

SECTIONS = {
    "Chat": (
        "alpacaeval-easy", "alpacaeval-length", "alpacaeval-hard", "mt-bench-easy", "mt-bench-med",
    ),
    "Chat Hard": (
        "mt-bench-hard", "llmbar-natural", "llmbar-adver-neighbor", "llmbar-adver-GPTInst",
        "llmbar-adver-GPTOut", "llmbar-adver-manual",
    ),
    "Safety": (
        "refusals-dangerous", "refusals-offensive", "xstest-should-refuse",
        "xstest-should-respond", "donotanswer",
    ),
    "Reasoning": ("math-prm", "hep-cpp", "hep-go", "hep-java", "hep-js", "hep-python", "hep-rust"),
}  # fmt: skip
"""Of the first RewardBench."""
_UPWEIGHTED = {"math-prm": 984 / 447}
"""Its 447 rows count as many as all rows of code."""
SECOND_SUBSETS = ("Factuality", "Precise IF", "Math", "Safety", "Focus", TIES)
"""Of RewardBench 2, whose score is their plain mean."""


@dataclass(frozen=True)
class RankedRow:
    """Right and wrong responses to one prompt."""

    id: str
    subset: str
    prompt: tuple[Message, ...]
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    where: str


def read_reward_bench(path: str | Path) -> list[RankedRow]:
    """Rows of `prompt`, `chosen`, `rejected` and `subset`, as both versions have them.

    A prompt is text or messages; chosen and rejected are a text, or a list of them. Without an
    `id` a row has its place.

    Raises:
        DataError: a field is missing or of another form.
    """
    return [_row(record, place) for place, record in enumerate(read_records(path))]


def _row(record: Record, place: int) -> RankedRow:
    prompt = as_messages(
        record.get("prompt", (str, list)), role="user", where=f"{record.where}, field 'prompt'"
    )
    return RankedRow(
        id=str(record.get("id", (str, int), default=place)),
        subset=record.text("subset"),
        prompt=prompt,
        chosen=_texts(record, "chosen"),
        rejected=_texts(record, "rejected"),
        where=record.where,
    )


def _texts(record: Record, field: str) -> tuple[str, ...]:
    value = record.get(field, (str, list))
    return (value,) if isinstance(value, str) else tuple(record.texts(field))


def reward_bench(rows: Sequence[RankedRow], reward: Reward, *, seed: int = 0) -> SuiteResult:
    """Accuracy by subset and section, and the score where all parts are there.

    Of two responses the right one has to score higher; equal scores are wrong. Of four (RewardBench
    2) it has to score highest; sharing the top gives a share. Without a score (NaN) nothing is
    right, and it is counted. Sections are means over subsets, weighted by their rows.

    Raises:
        ValueError: there are no rows, or not one score a response.
        DataError: rows of Ties do not name their prompts.
    """
    if not rows:
        raise ValueError("there are no rows to score")
    cut_before = getattr(reward, "cut_rows", 0)
    scores = _scores(rows, reward)
    plain = [i for i, row in enumerate(rows) if row.subset.lower() != TIES.lower()]
    right = {i: _is_right(*scores[i]) for i in plain}
    figures = _figures(rows, right)
    tied = [TiedPrompt(r.id, *scores[i], r.where) for i, r in enumerate(rows) if i not in right]
    if tied:
        figures |= ties_figures(tied, seed=seed)
    if all(subset in figures for subsets in SECTIONS.values() for subset in subsets):
        figures["score"] = _mean_of_figures([figures[section] for section in SECTIONS])
    if all(subset in figures for subset in SECOND_SUBSETS):
        figures["score_2"] = _mean_of_figures([figures[subset] for subset in SECOND_SUBSETS])
    # The whole comes first, and then its parts.
    whole = [name for name in ("score", "score_2", "accuracy") if name in figures]
    figures = {name: figures[name] for name in dict.fromkeys([*whole, *figures])}
    unscored = sum(bool(np.isnan(np.concatenate(pair)).any()) for pair in scores)
    notes = [f"{unscored} rows have a response without a score: counted wrong"] if unscored else []
    if cut := getattr(reward, "cut_rows", 0) - cut_before:
        notes.append(f"{cut} prompts were cut to fit the model")
    return SuiteResult("reward_bench", figures, _table(rows, scores, right), notes)


Pair = tuple[Floats, Floats]
"""Scores of the right responses, and of the wrong ones."""


def _scores(rows: Sequence[RankedRow], reward: Reward) -> list[Pair]:
    texts = [text for row in rows for text in (*row.chosen, *row.rejected)]
    prompts = [row.prompt for row in rows for _ in (*row.chosen, *row.rejected)]
    values = scores_that_fit(reward, prompts, texts, [{}] * len(texts))
    if len(values) != len(texts):
        raise ValueError(f"the reward gave {len(values)} scores for {len(texts)} responses")
    found, start = [], 0
    for row in rows:
        middle = start + len(row.chosen)
        end = middle + len(row.rejected)
        found.append((np.array(values[start:middle]), np.array(values[middle:end])))
        start = end
    return found


def _is_right(chosen: Floats, rejected: Floats) -> float:
    if np.isnan(chosen).any() or np.isnan(rejected).any():
        return 0.0
    if len(rejected) == 1:
        return float(chosen.min() > rejected[0])
    everything = np.concatenate([chosen, rejected])
    at_top = everything == everything.max()
    return float(at_top[: len(chosen)].sum() / at_top.sum())


def _figures(rows: Sequence[RankedRow], right: Mapping[int, float]) -> dict[str, Figure]:
    places = defaultdict(list)
    for i in right:
        places[rows[i].subset].append(i)
    figures = {name: _accuracy([right[i] for i in here]) for name, here in places.items()}
    for section, subsets in SECTIONS.items():
        here = [i for name in subsets for i in places.get(name, ())]
        if here and section not in figures:
            weights = [_UPWEIGHTED.get(rows[i].subset, 1.0) for i in here]
            figures[section] = _accuracy([right[i] for i in here], weights)
    if right:
        figures["accuracy"] = _accuracy(list(right.values()))
    return figures


def _accuracy(right: Sequence[float], weights: Sequence[float] | None = None) -> Figure:
    """A weighted share, with Wilson's interval at Kish's effective number of rows."""
    w = np.ones(len(right)) if weights is None else np.array(weights)
    share = float(np.average(right, weights=w))
    effective = round(float(w.sum() ** 2 / np.square(w).sum()))
    low, high = wilson_interval(share * effective, effective)
    error = float(np.sqrt(share * (1 - share) / effective))
    return Figure(share, low, high, len(right), error)


def _mean_of_figures(parts: Sequence[Figure]) -> Figure:
    """The plain mean of independent parts, with a normal interval."""
    value = float(np.mean([part.value for part in parts]))
    errors = [part.standard_error or 0.0 for part in parts]
    error = float(np.sqrt(np.square(errors).sum()) / len(parts))
    n = sum(part.n for part in parts)
    return Figure(value, value - 1.96 * error, value + 1.96 * error, n, error)


def _table(
    rows: Sequence[RankedRow], scores: Sequence[Pair], right: Mapping[int, float]
) -> list[dict[str, Any]]:
    return [
        {
            "id": row.id,
            "subset": row.subset,
            "chosen_scores": [number_or_none(x) for x in scores[i][0]],
            "rejected_scores": [number_or_none(x) for x in scores[i][1]],
            "right": right.get(i),
        }
        for i, row in enumerate(rows)
    ]
