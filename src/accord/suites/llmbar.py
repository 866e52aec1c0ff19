"""Whether a judge can judge: on pairs of known quality it has to beat what takes no reading.

LLMBar's pairs have one response that does what was asked and one that only looks better. Source:
Zeng et al. 2024, arXiv:2310.07641. Held-out gold pairs of one's own task do as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from accord.annotation.judge_bias import JudgeBias, judge_bias
from accord.annotation.tables import Floats
from accord.annotation.win_rates import paired_difference
from accord.core.errors import DataError
from accord.core.files import hash_json
from accord.core.interfaces import PairJudge
from accord.core.types import Comparison, Message
from accord.judges.both_orders import TwoOrders, ask_both_orders
from accord.suites.base import Figure
from accord.suites.estimates import estimate_mean
from accord.suites.rows import read_records

Flags = npt.NDArray[np.bool_]
MOST_GOLD = 1000
"""Enough for an interval of three points to each side; a judge may be paid by the question."""


@dataclass(frozen=True)
class GoldPair:
    """Two responses of which one is known to be the better."""

    prompt: tuple[Message, ...]
    first: str
    second: str
    """in the order in which the file has them"""
    is_first_better: bool
    subset: str = ""
    authors: tuple[str, str] = ("", "")
    """models that wrote the first and the second, where that is known"""


@dataclass(frozen=True)
class JudgeCheck:
    """May win rates by this judge be believed?"""

    judge: str
    is_valid: bool
    reason: str
    """one sentence for a report"""
    accuracy: Figure
    """over both orders; an abstention is wrong, a tie half right"""
    both_correct: Figure
    """pairs that it got right in both orders"""
    baselines: Mapping[str, float]
    """accuracy of `longest`, `first` and `random`"""
    bias: JudgeBias | None
    """at equal quality, which is known here; None where it judged no pair in both orders"""
    abstained: int
    """judgements, of two a pair"""
    subsets: Mapping[str, float] = field(default_factory=dict)
    """accuracy by subset"""


def read_llmbar(folder: str | Path) -> list[GoldPair]:
    """LLMBar's pairs, from all of its files in a folder; a file's name is the subset's.

    Raises:
        DataError: there is no file, a field is missing, or a label is neither 1 nor 2.
    """
    files = sorted(
        path for path in Path(folder).rglob("*") if path.name.endswith((".json", ".jsonl", ".gz"))
    )
    if not files:
        raise DataError(f"{folder}: no .json or .jsonl files of pairs")
    pairs = []
    for path in files:
        # The original has a folder a subset, each with one dataset.json.
        subset = path.parent.name if path.name == "dataset.json" else path.name.split(".")[0]
        for record in read_records(path):
            label = int(record.number("label"))
            if label not in (1, 2):
                raise DataError(f"{record.where}: field 'label' is {label}; expected 1 or 2")
            prompt = (Message(role="user", content=record.text("input")),)
            first, second = record.text("output_1"), record.text("output_2")
            pairs.append(GoldPair(prompt, first, second, label == 1, subset))
    return pairs


def gold_pairs(comparisons: Sequence[Comparison], *, seed: int) -> list[GoldPair]:
    """Held-out comparisons of one's own task, each in an order drawn anew; ties are left out.

    Of more than MOST_GOLD so many are drawn. Authors are in the columns `chosen_model` and
    `rejected_model`, where there are such.
    """
    rng = np.random.default_rng(seed)
    pairs = []
    for comparison in comparisons:
        if comparison.p_chosen == 0.5:
            continue
        names = ("chosen_model", "rejected_model")
        sides = [
            (comparison.chosen, str(comparison.columns.get(names[0]) or "")),
            (comparison.rejected, str(comparison.columns.get(names[1]) or "")),
        ]
        better = 0 if comparison.p_chosen > 0.5 else 1
        shown = int(rng.integers(2))
        (first, its), (second, others) = sides[shown], sides[1 - shown]
        pairs.append(
            GoldPair(comparison.prompt, first, second, shown == better, authors=(its, others))
        )
    if len(pairs) > MOST_GOLD:
        pairs = [pairs[i] for i in sorted(rng.choice(len(pairs), MOST_GOLD, replace=False))]
    return pairs


def check_judge(
    judge: PairJudge, pairs: Sequence[GoldPair], *, model: str = "", seed: int = 0
) -> JudgeCheck:
    """Judge all pairs in both orders, and see whether that beats `longest`, `first` and `random`.

    It does when the lower end of the 95% interval of the paired difference in accuracy is above 0
    for each of them, over the same pairs. `first` takes what the file has first, `longest` what has
    more characters (a tie being half), `random` is right half the time.

    Args:
        judge: asked in both orders.
        pairs: of known quality.
        model: the judge's own, as authors are named; for its preference for what it wrote itself.
        seed: of the bootstraps.

    Raises:
        ValueError: there are no pairs.
    """
    if not pairs:
        raise ValueError("there are no pairs to check a judge on")
    said = ask_both_orders(
        judge,
        [pair.prompt for pair in pairs],
        [pair.first for pair in pairs],
        [pair.second for pair in pairs],
    )
    is_first = np.array([pair.is_first_better for pair in pairs])
    right = np.stack([right_verdicts(said.forth, is_first), right_verdicts(said.back, ~is_first)])
    accuracy = right.mean(0)
    clusters = [hash_json(list(pair.prompt)) for pair in pairs]
    baselines = {
        "longest": _longest(pairs, is_first),
        "first": is_first.astype(np.float64),
        "random": np.full(len(pairs), 0.5),
    }
    found = estimate_mean(accuracy, clusters, seed=seed)
    failing = []
    for name, theirs in baselines.items():
        gap = paired_difference(accuracy, theirs, clusters, seed=seed)
        if not gap.low > 0:
            failing.append(f"{name!r} ({theirs.mean():.1%}; difference {gap.low:+.1%} at least)")
    abstained = int(np.isnan([said.forth, said.back]).sum())
    return JudgeCheck(
        judge=judge.name,
        is_valid=not failing,
        reason=_reason(judge.name, found, len(pairs), failing, abstained),
        accuracy=found,
        both_correct=estimate_mean((right == 1).all(0) * 1.0, clusters, seed=seed),
        baselines={name: float(theirs.mean()) for name, theirs in baselines.items()},
        bias=_bias(said, pairs, model, clusters, seed),
        abstained=abstained,
        subsets=_by_subset(accuracy, pairs),
    )


def validity_notes(judge: str, check: JudgeCheck | None) -> list[str]:
    """What a reader has to know of the judge before he believes its win rates."""
    if check is None:
        return [f"judge {judge} was not checked against pairs of known quality"]
    said = check.reason if check.is_valid else f"win rates are not valid: {check.reason}"
    return [said, *_tastes(check.bias)]


def right_verdicts(probabilities: Floats, is_first_better: Flags) -> Floats:
    """(N,) 1 where the verdict is right, 1/2 for a tie, 0 where it is wrong or there is none."""
    p = np.where(is_first_better, probabilities, 1 - probabilities)
    found: Floats = np.where(np.isnan(p), 0.0, (1 + np.sign(p - 0.5)) / 2)
    return found


def _tastes(bias: JudgeBias | None) -> list[str]:
    """What decides between responses of equal quality; half the time is no taste."""
    if bias is None:
        return []
    tastes = {"what is shown first": bias.position, "the longer": bias.length, "its own": bias.own}
    said = [
        f"{name} {taste.share:.0%} ({expit(taste.low):.0%} to {expit(taste.high):.0%})"
        for name, taste in tastes.items()
        if taste is not None
    ]
    unknown = "" if bias.own else "; whether its own is not known, for these pairs name no authors"
    return [f"of responses of equal quality the judge takes {', '.join(said)}{unknown}"]


def _longest(pairs: Sequence[GoldPair], is_first: Flags) -> Floats:
    gaps = np.array([len(pair.first) - len(pair.second) for pair in pairs])
    found: Floats = (1 + np.sign(np.where(is_first, gaps, -gaps))) / 2
    return found


def _bias(
    said: TwoOrders, pairs: Sequence[GoldPair], model: str, clusters: Sequence[str], seed: int
) -> JudgeBias | None:
    if np.isnan(said.forth + said.back).all():
        return None
    wrote = [[float(author == model != "") for author in pair.authors] for pair in pairs]
    own = np.array([first - second for first, second in wrote])
    return judge_bias(
        said.forth,
        said.back,
        clusters,
        seed=seed,
        length_gaps=np.array([float(len(pair.first) - len(pair.second)) for pair in pairs]),
        quality_gaps=np.array([1.0 if pair.is_first_better else -1.0 for pair in pairs]),
        own=own if own.any() else None,
    )


def _by_subset(accuracy: Floats, pairs: Sequence[GoldPair]) -> dict[str, float]:
    names = dict.fromkeys(pair.subset for pair in pairs)
    subsets = np.array([pair.subset for pair in pairs])
    return {name: float(accuracy[subsets == name].mean()) for name in names}


def _reason(judge: str, found: Figure, pairs: int, failing: list[str], abstained: int) -> str:
    said = (
        f"judge {judge} is right on {found.value:.1%} of {pairs} pairs "
        f"({found.low:.1%} to {found.high:.1%})"
    )
    missing = f"; it abstained {abstained} times" if abstained else ""
    if failing:
        return f"{said}, which does not beat {', '.join(failing)}{missing}"
    return f"{said}, which beats 'longest', 'first' and 'random'{missing}"
