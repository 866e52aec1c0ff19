"""RewardBench 2's Ties: several answers are right, and none of them should be much above another.

Source: Malik et al. 2025, arXiv:2506.01937.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accord.annotation.tables import Floats
from accord.core.errors import DataError
from accord.suites.base import Figure

TIES = "Ties"
_TERMS = ("accuracy_tied", "accuracy_reference", "preferred", "preferred_hard", "margin")
_WEIGHTS = np.array([0.3, 0.3, 0.2, 0.2, 0.01])
_RESAMPLES = 2000


@dataclass(frozen=True)
class TiedPrompt:
    """Scores of one prompt: `id` is "tied:N", or "ref:N" for its twin with one right answer."""

    id: str
    right: Floats
    wrong: Floats
    where: str


def ties_figures(prompts: Sequence[TiedPrompt], *, seed: int) -> dict[str, Figure]:
    """The subset's score, and the terms that it is made of.

        0.3 (accuracy of tied) + 0.3 (accuracy of references) + 0.2 P(m_t > s)
        + 0.2 P(min(m_t, m_r) > s) + 0.01 mean tanh(min(m_t, m_r) / s - 1)

    A prompt is accurate where every right answer is above every wrong one; m_t and m_r are how far
    above, for a tied prompt and its reference, and s is how far the right answers of the tied
    prompt are apart. An undefined margin (0 / 0) is 0, and so is one with a score of NaN.

    Raises:
        DataError: an id is of another form, or a tied prompt has a single right answer.
    """
    margins: dict[str, dict[int, float]] = {"ref": {}, "tied": {}}
    spreads: dict[int, float] = {}
    for prompt in prompts:
        kind, _, number = prompt.id.partition(":")
        if kind not in margins or not number.isdigit():
            raise DataError(f"{prompt.where}: id {prompt.id!r}; expected ref:N or tied:N in {TIES}")
        if kind == "tied" and len(prompt.right) < 2:
            raise DataError(f"{prompt.where}: a tied prompt needs two right answers or more")
        margins[kind][int(number)] = float(prompt.right.min() - prompt.wrong.max())
        if kind == "tied":
            spreads[int(number)] = float(prompt.right.max() - prompt.right.min())
    numbers = sorted(margins["ref"].keys() | margins["tied"].keys())
    terms = np.array([_terms(margins, spreads, number) for number in numbers])
    rng = np.random.default_rng(seed)
    drawn = terms[rng.integers(len(terms), size=(_RESAMPLES, len(terms)))]
    figures = {}
    for place, name in enumerate(_TERMS):
        figures[f"ties_{name}"] = _figure(_means(terms)[place], _means(drawn)[:, place], len(terms))
    figures[TIES] = _figure(_means(terms) @ _WEIGHTS, _means(drawn) @ _WEIGHTS, len(terms))
    return figures


def _terms(
    margins: dict[str, dict[int, float]], spreads: dict[int, float], number: int
) -> list[float]:
    """Of one prompt, in the order of `_TERMS`; NaN where its file lacks one of the two."""
    missing = float("nan")
    tied, reference = margins["tied"].get(number), margins["ref"].get(number)
    accurate = [missing if margin is None else float(margin > 0) for margin in (tied, reference)]
    if tied is None or reference is None:
        return [*accurate, missing, missing, missing]
    spread, least = spreads[number], float(np.minimum(tied, reference))
    with np.errstate(divide="ignore", invalid="ignore"):
        margin = float(np.nan_to_num(np.tanh(np.float64(least) / spread - 1)))
    return [*accurate, float(tied > spread), float(least > spread), margin]


def _means(terms: Floats) -> Floats:
    """(..., terms) over the prompts that have the term; 0 where none has."""
    known = ~np.isnan(terms)
    found: Floats = np.where(known, terms, 0).sum(-2) / np.maximum(known.sum(-2), 1)
    return found


def _figure(value: float, resampled: Floats, count: int) -> Figure:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Figure(float(value), float(low), float(high), count, float(resampled.std(ddof=1)))
