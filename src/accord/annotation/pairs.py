"""Every way from votes on pairs of responses to the probability that the first is the better."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from accord.annotation import strengths
from accord.annotation.aggregation import Labels, dawid_skene, mace, one_coin, p_chosen
from accord.annotation.glad import glad
from accord.annotation.tables import Floats, Ints, Votes
from accord.core.types import Aggregation

CATEGORIES = ("a", "b", "tie")
_SWAP = (1, 0, 2)
_RIDGE = 0.25
"""Strengths of responses have a deviation of sqrt 2 before any vote: three votes of three give .85,
about what the smoothed share does."""


@dataclass(frozen=True)
class PairVotes:
    """Votes on pairs (a, b), T of them, by N votes."""

    votes: Votes
    """of the categories "a", "b" and "tie", in that order"""
    flipped: Ints
    """(N,) 1 where b was shown on the left"""
    responses: Ints
    """(T, 2) numbers of the pair's responses, a first; the same text on the same prompt has the
    same number in every pair, and pairs that share a response help each other"""

    def __post_init__(self) -> None:
        """Refuse tables that do not go together."""
        if tuple(self.votes.categories) != CATEGORIES:
            raise ValueError(f"expected the categories {CATEGORIES}, got {self.votes.categories}")
        if len(self.flipped) != len(self.votes.task):
            raise ValueError(f"{len(self.flipped)} displays of {len(self.votes.task)} votes")
        if self.responses.shape != (len(self.votes.tasks), 2):
            raise ValueError("expected two responses a pair")


def p_first(pairs: PairVotes, *, aggregation: Aggregation, seed: int = 0) -> Floats:
    """(T,) probability that a is the better; a tie is half.

    "majority" is the share of votes, smoothed; it and "bradley_terry" believe all annotators alike.
    The others learn whom to believe: "dawid_skene_by_side" and "noisy_bradley_terry" by the sides
    as they were shown, which undoes a taste for the left; "crowd_bradley_terry" reads backwards who
    votes against the others; "glad" knows that some pairs are hard. The ways of Bradley and Terry
    give each response a strength, so they gain where responses meet in several pairs.

    Args:
        pairs: votes, displays and responses.
        aggregation: of the above.
        seed: of "mace", which has random starts.
    """
    votes = pairs.votes
    by_label: Mapping[str, Callable[[], Labels]] = {
        "dawid_skene": lambda: dawid_skene(votes),
        "dawid_skene_by_side": lambda: dawid_skene(votes, flipped=pairs.flipped, swap=_SWAP),
        "one_coin": lambda: one_coin(votes),
        "mace": lambda: mace(votes, seed=seed),
        "glad": lambda: glad(votes).labels,
    }
    if aggregation == "majority":
        return _smoothed_shares(votes)
    if aggregation in by_label:
        return p_chosen(votes, by_label[aggregation](), chosen="a", rejected="b")
    return _by_strength(pairs, aggregation)


def _smoothed_shares(votes: Votes) -> Floats:
    """(wins + ties / 2 + 1/2) / (n + 1): the posterior mean under Jeffreys' prior."""
    counts = votes.counts()
    found: Floats = (counts[:, 0] + counts[:, 2] / 2 + 0.5) / (counts.sum(1) + 1)
    return found


def _by_strength(pairs: PairVotes, aggregation: Aggregation) -> Floats:
    votes, (a, b) = pairs.votes, pairs.responses.T
    items, annotators = int(pairs.responses.max()) + 1, len(votes.annotators)
    worth = np.array([1.0, 0.0, 0.5])[votes.label]
    first, second = a[votes.task], b[votes.task]
    if aggregation == "bradley_terry":
        plain = strengths.bradley_terry(first, second, worth, items=items, ridge=_RIDGE)
        return strengths.p_chosen(plain.scores, a, b, ties=plain.ties)
    if aggregation == "crowd_bradley_terry":
        crowd = strengths.crowd_bradley_terry(
            first, second, worth, votes.annotator, items=items, annotators=annotators, ridge=_RIDGE
        )
        return strengths.p_chosen(crowd.scores, a, b)
    is_flipped = pairs.flipped == 1
    noisy = strengths.noisy_bradley_terry(
        np.where(is_flipped, second, first),
        np.where(is_flipped, first, second),
        np.where(is_flipped, 1 - worth, worth),
        votes.annotator,
        items=items,
        annotators=annotators,
        ridge=_RIDGE,
    )
    return strengths.p_chosen(noisy.scores, a, b)
