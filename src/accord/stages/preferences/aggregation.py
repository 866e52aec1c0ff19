"""From judgements to comparisons: one a pair, whoever judged it and in whatever order."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from accord.annotation.votes import vote_share
from accord.core.types import Judgement, Verdict
from accord.corpora.pairs import comparison_row, prompt_fraction
from accord.stages.preferences.events import P_A

# Later stages split the comparisons by prompt again, with the same seed: were this the same hash,
# their held-out share would be empty.
_SPLIT_SEED = 1_000_003

_SWAPPED: dict[Verdict, Verdict] = {"a": "b", "b": "a", "tie": "tie"}
_RESERVED = {"prompt", "chosen", "rejected", "p_chosen", "completion", "messages", P_A}


def group_by_pair(judgements: Sequence[Judgement]) -> list[list[Judgement]]:
    """Judgements of the same two responses to the same prompt, in the order of the first ones."""
    groups: dict[Any, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        prompt = tuple((m["role"], m["content"]) for m in judgement.prompt)
        pair = frozenset((judgement.response_a, judgement.response_b))
        groups[prompt, pair].append(judgement)
    return list(groups.values())


def verdicts_of(group: Sequence[Judgement]) -> list[Verdict]:
    """Verdicts as if everybody had seen the first one's a as a."""
    return [j.verdict if _is_aligned(j, group) else _SWAPPED[j.verdict] for j in group]


def _is_aligned(judgement: Judgement, group: Sequence[Judgement]) -> bool:
    return judgement.response_a == group[0].response_a


def aggregate(group: Sequence[Judgement]) -> dict[str, Any]:
    """The comparison of one pair; `chosen` is the side with p_chosen >= 1/2.

    p_chosen is the smoothed share of the votes; where every judgement came with a probability of
    its own (an imported comparison), their mean. Columns on which all judgements agree are kept.
    """
    first = group[0]
    p_a = _probability(group)
    columns = {
        key: value
        for key, value in first.columns.items()
        if key not in _RESERVED and all(j.columns.get(key) == value for j in group)
    }
    if columns.get("margin") and p_a < 0.5:
        columns["margin"] = -columns["margin"]  # it came as a's margin over b
    sides = (first.response_a, first.response_b)
    return comparison_row(
        columns, first.prompt, sides, p_a, task_id=first.task_id, votes=len(group)
    )


def _probability(group: Sequence[Judgement]) -> float:
    if all(P_A in judgement.columns for judgement in group):
        own = [float(judgement.columns[P_A]) for judgement in group]
        pairs = zip(own, group, strict=True)
        return sum(p if _is_aligned(j, group) else 1 - p for p, j in pairs) / len(group)
    return vote_share(verdicts_of(group))


def split(
    rows: Sequence[dict[str, Any]], *, heldout: float, judge: float, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """By prompt: held out, kept for the judge, and the rest for training."""
    parts: dict[str, list[dict[str, Any]]] = {
        "comparisons": [],
        "heldout_comparisons": [],
        "judge_comparisons": [],
    }
    for row in rows:
        place = prompt_fraction(row["prompt"], seed=seed + _SPLIT_SEED)
        if place < heldout:
            parts["heldout_comparisons"].append(row)
        elif place < heldout + judge:
            parts["judge_comparisons"].append(row)
        else:
            parts["comparisons"].append(row)
    return parts
