"""Strengths of things that were compared or ranked, such as models: Bradley-Terry and its kin."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from accord.annotation.tables import Floats, Ints

_RIDGE = 1e-6
"""Times the squared log-strengths: what never loses would have none else."""


_PRECISE = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000}


def p_chosen(scores: Floats, first: Ints, second: Ints, *, ties: float = 0.0) -> Floats:
    """(N,) that `first` is the better, by log-strengths; a tie, where there are some, is half.

        p = (e^{d / 2} + nu / 2) / (e^{d / 2} + e^{-d / 2} + nu),  d = s_first - s_second

    Without ties (nu = 0) it is sigmoid(d).
    """
    half = (scores[first] - scores[second]) / 2
    # Divided by the larger of the two exponentials, so that neither is infinite.
    near, far = np.exp(half - np.abs(half)), np.exp(-half - np.abs(half))
    nu = ties * np.exp(-np.abs(half))
    found: Floats = (near + nu / 2) / (near + far + nu)
    return found


class Strengths(NamedTuple):
    """Log-strengths with a mean of 0, and how often equals tie: P(tie) = ties / (2 + ties)."""

    scores: Floats
    ties: float


def bradley_terry(
    first: Ints,
    second: Ints,
    outcomes: Floats,
    *,
    items: int,
    weights: Floats | None = None,
    ridge: float = _RIDGE,
) -> Strengths:
    """Maximum likelihood of Bradley-Terry with ties, by Davidson.

        P(i beats j) = e^{s_i} / Z,  P(tie) = nu e^{(s_i + s_j) / 2} / Z,
        Z = e^{s_i} + e^{s_j} + nu e^{(s_i + s_j) / 2}

    Source: Davidson 1970; without ties (nu = 0) it is Bradley and Terry 1952.

    Args:
        first: (N,) places of the first things.
        second: (N,) of the second ones.
        outcomes: (N,) 1 where the first won, 0 where the second, 1/2 for a tie.
        items: how many things there are.
        weights: (N,) of the comparisons; None means 1 each.
        ridge: times the squares of the strengths.

    Raises:
        ValueError: an outcome is none of the three.
    """
    if not np.isin(outcomes, (0.0, 0.5, 1.0)).all():
        raise ValueError("outcomes are 1, 1/2 (a tie) or 0")
    w = np.ones(len(outcomes)) if weights is None else weights
    is_tie = outcomes == 0.5
    has_ties = bool(is_tie.any())

    def negative(parameters: Floats) -> tuple[float, Floats]:
        scores, log_ties = parameters[:items], parameters[items]
        half = (scores[first] - scores[second]) / 2
        logits = np.stack([half, -half, np.full_like(half, log_ties if has_ties else -np.inf)])
        top = logits.max(0)
        log_z = top + np.log(np.exp(logits - top).sum(0))
        shares = np.exp(logits - log_z)
        chosen = np.where(is_tie, logits[2] if has_ties else 0.0, (2 * outcomes - 1) * half)
        value = -(w * (chosen - log_z)).sum() + ridge * (scores**2).sum()
        slope = -w * ((2 * outcomes - 1) - (shares[0] - shares[1])) / 2
        gradient = np.zeros(items + 1)
        np.add.at(gradient, first, slope)
        np.add.at(gradient, second, -slope)
        gradient[:items] += 2 * ridge * scores
        gradient[items] = -(w * (is_tie - shares[2])).sum() if has_ties else 0.0
        return float(value), gradient

    found = minimize(negative, np.zeros(items + 1), jac=True, method="L-BFGS-B", options=_PRECISE).x
    scores = found[:items] - found[:items].mean()
    return Strengths(scores, float(np.exp(found[items])) if has_ties else 0.0)


class NoisyStrengths(NamedTuple):
    """Log-strengths with a mean of 0; of each annotator the reliability, in (0, 1), and the
    log-odds of choosing the left when not looking.
    """

    scores: Floats
    reliability: Floats
    left_bias: Floats


def noisy_bradley_terry(
    left: Ints,
    right: Ints,
    left_wins: Floats,
    annotator: Ints,
    *,
    items: int,
    annotators: int,
    ridge: float = 0.05,
) -> NoisyStrengths:
    """Bradley-Terry among annotators of whom some look and some do not.

        P(a says left) = r_a sigmoid(s_left - s_right) + (1 - r_a) sigmoid(b_a)

    Source: Bugakova et al. 2019, "Aggregation of pairwise comparisons with reduction of biases".

    Args:
        left: (N,) places of what was shown on the left.
        right: (N,) and on the right.
        left_wins: (N,) 1 where left was chosen, 0 where right was; 1/2, a tie, is half of each.
        annotator: (N,) who chose.
        items: how many things there are.
        annotators: how many annotators.
        ridge: times the squares of all parameters; 0 reliability log-odds are the prior's middle.
    """
    sizes = np.cumsum([items, annotators])

    def negative(parameters: Floats) -> tuple[float, Floats]:
        scores, looks, biases = np.split(parameters, sizes)
        honest = expit(scores[left] - scores[right])
        guess = expit(biases[annotator])
        r = expit(looks[annotator])
        p = np.clip(r * honest + (1 - r) * guess, 1e-12, 1 - 1e-12)
        value = -(left_wins * np.log(p) + (1 - left_wins) * np.log1p(-p)).sum()
        slope = -(left_wins / p - (1 - left_wins) / (1 - p))
        of_score = slope * r * honest * (1 - honest)
        gradient = np.zeros_like(parameters)
        np.add.at(gradient, left, of_score)
        np.add.at(gradient, right, -of_score)
        np.add.at(gradient, sizes[0] + annotator, slope * (honest - guess) * r * (1 - r))
        np.add.at(gradient, sizes[1] + annotator, slope * (1 - r) * guess * (1 - guess))
        centred = parameters.copy()
        centred[sizes[0] : sizes[1]] -= _LOOKS
        return float(value + ridge * (centred**2).sum()), gradient + 2 * ridge * centred

    start = np.zeros(items + 2 * annotators)
    start[sizes[0] : sizes[1]] = _LOOKS
    found = minimize(negative, start, jac=True, method="L-BFGS-B", options=_PRECISE).x
    scores, looks, biases = np.split(found, sizes)
    return NoisyStrengths(scores - scores.mean(), expit(looks), biases)


class CrowdStrengths(NamedTuple):
    """Log-strengths with a mean of 0; of each annotator the probability, in (0, 1), of saying what
    the strengths say: 1/2 tosses a coin, less than that is against.
    """

    scores: Floats
    reliability: Floats


def crowd_bradley_terry(
    first: Ints,
    second: Ints,
    first_wins: Floats,
    annotator: Ints,
    *,
    items: int,
    annotators: int,
    ridge: float = 0.05,
) -> CrowdStrengths:
    """Bradley-Terry among annotators of whom some say the reverse of what they see.

        P(a says first) = r_a sigmoid(s_first - s_second) + (1 - r_a) sigmoid(s_second - s_first)

    The mirror image (all strengths and reliabilities reversed) is as likely; the prior of
    reliability, that most people mean what they say, decides between them.

    Source: Chen et al. 2013, "Pairwise ranking aggregation in a crowdsourced setting" (Crowd-BT);
    a ridge stands for their virtual item, and for their prior of reliability.

    Args:
        first: (N,) places of the first things.
        second: (N,) of the second ones.
        first_wins: (N,) 1 where first was chosen, 0 where second was; 1/2, a tie, half of each.
        annotator: (N,) who chose.
        items: how many things there are.
        annotators: how many annotators.
        ridge: times the squares of strengths and of reliability's log-odds less 2.
    """

    def negative(parameters: Floats) -> tuple[float, Floats]:
        scores, looks = np.split(parameters, [items])
        honest, r = expit(scores[first] - scores[second]), expit(looks[annotator])
        p = np.clip(r * honest + (1 - r) * (1 - honest), 1e-12, 1 - 1e-12)
        value = -(first_wins * np.log(p) + (1 - first_wins) * np.log1p(-p)).sum()
        slope = -(first_wins / p - (1 - first_wins) / (1 - p))
        of_score = slope * (2 * r - 1) * honest * (1 - honest)
        centred = parameters.copy()
        centred[items:] -= _LOOKS
        gradient = 2 * ridge * centred
        np.add.at(gradient, first, of_score)
        np.add.at(gradient, second, -of_score)
        np.add.at(gradient, items + annotator, slope * (2 * honest - 1) * r * (1 - r))
        return float(value + ridge * np.square(centred).sum()), gradient

    start = np.append(np.zeros(items), np.full(annotators, _LOOKS))
    found = minimize(negative, start, jac=True, method="L-BFGS-B", options=_PRECISE).x
    scores, looks = np.split(found, [items])
    return CrowdStrengths(scores - scores.mean(), expit(looks))


_LOOKS = 2.0
"""Log-odds, of looking or of meaning it, that the ridge pulls to: most people do."""


def plackett_luce(rankings: Sequence[Sequence[int]], *, items: int) -> Floats:
    """(items,) log-strengths, mean 0, of things that were ranked, wholly or in part.

        P(ranking) = prod_r e^{s_r} / sum_{q at r or behind} e^{s_q}

    Source: Luce 1959, Plackett 1975; by gradient, with a small ridge.

    Args:
        rankings: places of things, the best first; what is missing was not ranked.
        items: how many things there are.

    Raises:
        ValueError: a ranking names a thing twice.
    """
    for ranking in rankings:
        if len(set(ranking)) < len(ranking):
            raise ValueError(f"a ranking names a thing twice: {list(ranking)}")
    orders = [np.array(ranking) for ranking in rankings if len(ranking) > 1]

    def negative(scores: Floats) -> tuple[float, Floats]:
        value, gradient = _RIDGE * float((scores**2).sum()), 2 * _RIDGE * scores
        for order in orders:
            s = scores[order]
            behind = np.logaddexp.accumulate(s[::-1])[::-1]
            value -= float((s - behind).sum())
            # Thing q stands in the sums of all places up to its own.
            shares = np.exp(s) * np.cumsum(np.exp(-behind))
            np.add.at(gradient, order, shares - 1)
        return value, gradient

    found = minimize(negative, np.zeros(items), jac=True, method="L-BFGS-B", options=_PRECISE).x
    centred: Floats = found - found.mean()
    return centred
