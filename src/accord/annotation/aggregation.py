"""From several votes on a task to the probability of each label: counting, or weighing voters.

Majority believes everybody alike. The others learn from the votes themselves whom to believe, by
expectation and maximisation, starting from the majority: an annotator is good who says what other
good ones say.
"""

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np

from accord.annotation.tables import Floats, Ints, Votes

_TINY = 1e-10


class Labels(NamedTuple):
    """Posterior of the labels, and what was learned of the annotators.

    `quality` is (annotators,): the probability that an annotator's vote is right, over the labels
    as they are; NaN for whoever has none. `steps` is how many rounds were taken.
    """

    probabilities: Floats
    quality: Floats
    steps: int


def p_chosen(votes: Votes, found: Labels, *, chosen: Hashable, rejected: Hashable) -> Floats:
    """(tasks,) that `chosen` is the better: its probability, and half of what is neither's.

    A tie, or "both bad", prefers neither.
    """
    first, second = votes.categories.index(chosen), votes.categories.index(rejected)
    probabilities = found.probabilities
    either: Floats = (1 + probabilities[:, first] - probabilities[:, second]) / 2
    return either


def majority(votes: Votes) -> Labels:
    """(tasks, labels) shares of the votes; quality is how often one votes with the majority.

    Tied labels share the majority.
    """
    shares = _shares(votes)
    top = shares == shares.max(1, keepdims=True)
    agreed = (top / top.sum(1, keepdims=True))[votes.task, votes.label]
    return Labels(shares, votes.mean_by_annotator(agreed), 0)


def dawid_skene(
    votes: Votes,
    *,
    flipped: Ints | None = None,
    swap: tuple[int, ...] | None = None,
    max_steps: int = 1000,
    tolerance: float = 1e-9,
) -> Labels:
    """A confusion matrix for every annotator: what is said, where which label is true.

        P(t = k | votes)  ~  prior_k  prod_n  confusion_{a(n)} [k, label_n]

    When sides are shown in random order, confusions can be those of the sides as they were seen:
    what an annotator does who prefers the left is then part of the matrix, and is undone.

    Source: Dawid and Skene 1979.

    Args:
        votes: labels in the task's own terms (a, b), not in the display's.
        flipped: (N,) 1 where a vote's display had the task's sides exchanged.
        swap: the label that each label is, when sides are exchanged; needed with `flipped`.
        max_steps: of expectation and maximisation.
        tolerance: largest change of a probability that ends it.

    Raises:
        ValueError: `flipped` without `swap`, or not one entry a vote.
    """
    seen_as = _permutations(votes, flipped, swap)
    truth, said = seen_as, np.take_along_axis(seen_as, votes.label[:, None], 1)[:, 0]
    count, size = len(votes.annotators), len(votes.categories)
    probabilities, step = _shares(votes), 0
    while step < max_steps:
        step += 1
        confusion = np.zeros((count, size, size))
        weight = probabilities[votes.task]
        for k in range(size):
            np.add.at(confusion, (votes.annotator, truth[:, k], said), weight[:, k])
        confusion = np.maximum(confusion, _TINY)
        confusion /= confusion.sum(2, keepdims=True)
        likelihood = confusion[votes.annotator[:, None], truth, said[:, None]]
        before, probabilities = probabilities, _posterior(votes, probabilities, np.log(likelihood))
        if np.abs(probabilities - before).max() < tolerance:
            break
    right = np.take_along_axis(probabilities[votes.task], votes.label[:, None], 1)[:, 0]
    return Labels(probabilities, votes.mean_by_annotator(right), step)


def one_coin(votes: Votes, *, max_steps: int = 1000, tolerance: float = 1e-9) -> Labels:
    """One number for every annotator: how often the vote is right; errors go to all other labels.

    Fewer numbers than Dawid and Skene's matrices, so better where annotators have few votes.

    Source: Zhang et al. 2014, arXiv:1406.3824, the one-coin model.
    """
    size = len(votes.categories)
    if size < 2:
        raise ValueError("one label alone cannot be wrong; name all categories")
    probabilities, step = _shares(votes), 0
    while step < max_steps:
        step += 1
        right = probabilities[votes.task, votes.label]
        skill = np.clip(votes.mean_by_annotator(right), _TINY, 1 - _TINY)[votes.annotator]
        likelihood = np.repeat(((1 - skill) / (size - 1))[:, None], size, 1)
        likelihood[np.arange(len(skill)), votes.label] = skill
        before, probabilities = probabilities, _posterior(votes, probabilities, np.log(likelihood))
        if np.abs(probabilities - before).max() < tolerance:
            break
    right = probabilities[votes.task, votes.label]
    return Labels(probabilities, votes.mean_by_annotator(right), step)


def mace(
    votes: Votes,
    *,
    seed: int,
    restarts: int = 10,
    max_steps: int = 200,
    smoothing: float = 0.01,
    tolerance: float = 1e-6,
) -> Labels:
    """An annotator either knows, or guesses by a habit: which, is learned.

        P(label | t) = trust [label = t] + (1 - trust) habit_label

    Quality is the trust. Source: Hovy et al. 2013, "Learning whom to trust with MACE", by
    expectation and maximisation with smoothing, the likeliest of some random starts.

    Args:
        votes: of any labels.
        seed: of the starts.
        restarts: how many.
        max_steps: of each.
        smoothing: added to every count, times the annotators' mean number of votes.
        tolerance: largest change of a probability that ends a start; the smoothed likelihood
            need not rise with every step.
    """
    rng = np.random.default_rng(seed)
    found = [_mace_from(votes, rng, max_steps, smoothing, tolerance) for _ in range(restarts)]
    return max(found, key=lambda pair: pair[0])[1]


def _mace_from(
    votes: Votes, rng: np.random.Generator, max_steps: int, smoothing: float, tolerance: float
) -> tuple[float, Labels]:
    count, size = len(votes.annotators), len(votes.categories)
    trust = rng.uniform(0.3, 0.9, count)
    habit = rng.dirichlet(np.ones(size), count)
    added = smoothing * len(votes.task) / count
    before, step = _shares(votes), 0
    while True:
        step += 1
        guess = (1 - trust)[votes.annotator] * habit[votes.annotator, votes.label]
        likelihood = np.repeat(guess[:, None], size, 1)
        likelihood[np.arange(len(guess)), votes.label] += trust[votes.annotator]
        logs = np.zeros((len(votes.tasks), size))
        np.add.at(logs, votes.task, np.log(likelihood + _TINY))
        top = logs.max(1, keepdims=True)
        total = float((top[:, 0] + np.log(np.exp(logs - top).mean(1))).sum())
        probabilities = np.exp(logs - top)
        probabilities /= probabilities.sum(1, keepdims=True)
        if step >= max_steps or np.abs(probabilities - before).max() < tolerance:
            return total, Labels(probabilities, trust, step)
        before = probabilities
        is_true = probabilities[votes.task, votes.label]
        knew = is_true * trust[votes.annotator] / (trust[votes.annotator] + guess + _TINY)
        known = np.bincount(votes.annotator, knew, count) + added
        guessed = np.zeros((count, size))
        np.add.at(guessed, (votes.annotator, votes.label), 1 - knew)
        guessed += added / size
        trust = known / (known + guessed.sum(1))
        habit = guessed / guessed.sum(1, keepdims=True)


def _shares(votes: Votes) -> Floats:
    counts = votes.counts()
    total = counts.sum(1, keepdims=True)
    uniform = np.full_like(counts, 1 / counts.shape[1])
    found: Floats = np.where(total > 0, counts / np.maximum(total, 1), uniform)
    return found


def _posterior(votes: Votes, before: Floats, log_likelihood: Floats) -> Floats:
    """(tasks, labels), with the mean of the last posterior for a prior."""
    logs = np.tile(np.log(np.maximum(before.mean(0), _TINY)), (len(before), 1))
    np.add.at(logs, votes.task, log_likelihood)
    found: Floats = np.exp(logs - logs.max(1, keepdims=True))
    found /= found.sum(1, keepdims=True)
    return found


def _permutations(votes: Votes, flipped: Ints | None, swap: tuple[int, ...] | None) -> Ints:
    """(N, labels) what each of the task's labels was called on the vote's display."""
    straight = np.arange(len(votes.categories))
    if flipped is None:
        return np.tile(straight, (len(votes.task), 1))
    if swap is None or sorted(swap) != straight.tolist():
        raise ValueError("flipped displays need swap: the label that each label becomes")
    if len(flipped) != len(votes.task):
        raise ValueError(f"expected one entry a vote, got {len(flipped)} for {len(votes.task)}")
    return np.where(flipped[:, None].astype(bool), np.array(swap), straight)
