"""Simulated annotators: they err, prefer the left, tire, and want what their group wants."""

from dataclasses import dataclass

import numpy as np

from accord.annotation.tables import Floats, Ints, Votes


@dataclass(frozen=True)
class Crowd:
    """Annotators, one entry each: (annotators,) arrays."""

    error: Floats
    """probability of saying the reverse of one's opinion; above 1/2 is against"""
    left_bias: Floats
    """probability of pressing left without looking"""
    fatigue: Floats
    """probability of tossing a coin that every judgement done adds, up to 1"""
    group: Ints
    """row of the groups' opinions"""

    def __post_init__(self) -> None:
        """Refuse what is no probability, and arrays of different lengths."""
        shares = (self.error, self.left_bias, self.fatigue)
        if len({len(x) for x in (*shares, self.group)}) != 1:
            raise ValueError("expected one entry an annotator in every array")
        if any(((x < 0) | (x > 1)).any() for x in shares):
            raise ValueError("errors, left-biases and fatigues are probabilities")

    def __len__(self) -> int:
        """How many annotators there are."""
        return len(self.error)


def crowd_with_bad_ones(
    annotators: int, *, bad_share: float, seed: int, groups: int = 1, fatigue: float = 0.0
) -> Crowd:
    """Most err in 5 to 20% of their judgements; a share of them are bad, each in one of three ways.

    They toss a coin, press left nine times of ten, or say the reverse nine times of ten: a third of
    the bad ones each, in turn. Who is bad, and of which group, is drawn.
    """
    rng = np.random.default_rng(seed)
    error, left = rng.uniform(0.05, 0.2, annotators), np.zeros(annotators)
    bad = rng.permutation(annotators)[: round(bad_share * annotators)]
    error[bad[0::3]] = 0.5
    left[bad[1::3]] = 0.9
    error[bad[2::3]] = 0.9
    group = rng.permutation(np.arange(annotators) % groups)
    return Crowd(error, left, np.full(annotators, fatigue), group)


def p_says_left(crowd: Crowd, annotator: Ints, p_left: Floats, done: Ints) -> Floats:
    """(N,) probability that annotators say that the left is the better.

        l + (1 - l) (t / 2 + (1 - t) (p (1 - e) + (1 - p) e)),  t = min(1, fatigue done)

    l is the left-bias, e the error.

    Args:
        crowd: who they are.
        annotator: (N,) places in the crowd.
        p_left: (N,) that the annotator's group thinks the left better.
        done: (N,) judgements that the annotator has done before.
    """
    e, left = crowd.error[annotator], crowd.left_bias[annotator]
    tired = np.minimum(1.0, crowd.fatigue[annotator] * done)
    opinion = p_left * (1 - e) + (1 - p_left) * e
    found: Floats = left + (1 - left) * (tired / 2 + (1 - tired) * opinion)
    return found


@dataclass(frozen=True)
class SimulatedVotes:
    """Votes of categories "a" and "b", and (N,) 1 where b was shown on the left."""

    votes: Votes
    flipped: Ints


def simulate_votes(crowd: Crowd, p_a: Floats, *, per_task: int, seed: int) -> SimulatedVotes:
    """Every task is judged by `per_task` of the crowd, drawn anew, sides in random order.

    Args:
        crowd: who judges.
        p_a: (groups, tasks) that a member of the group thinks a the better.
        per_task: different annotators a task.
        seed: of who judges what, the sides, and what is said.

    Raises:
        ValueError: more votes a task than annotators, or a group without opinions.
    """
    if not 0 < per_task <= len(crowd):
        raise ValueError(f"{per_task} votes a task need as many annotators, not {len(crowd)}")
    if crowd.group.max() >= len(p_a):
        raise ValueError(f"opinions of {len(p_a)} groups, but group {crowd.group.max()} judges")
    rng = np.random.default_rng(seed)
    tasks = p_a.shape[1]
    who = rng.permuted(np.tile(np.arange(len(crowd)), (tasks, 1)), axis=1)[:, :per_task].ravel()
    task = np.repeat(np.arange(tasks), per_task)
    flipped = rng.integers(2, size=len(task))
    opinion = p_a[crowd.group[who], task]
    p_left = np.where(flipped == 1, 1 - opinion, opinion)
    says_left = rng.random(len(task)) < p_says_left(crowd, who, p_left, _done_before(who))
    label = np.where(says_left == (flipped == 0), 0, 1)
    votes = Votes(task, who, label, list(range(tasks)), list(range(len(crowd))), ["a", "b"])
    return SimulatedVotes(votes, flipped)


def _done_before(who: Ints) -> Ints:
    """(N,) how often each entry's value came before it."""
    order = np.argsort(who, kind="stable")
    starts = np.flatnonzero(np.diff(who[order], prepend=-1))
    sizes = np.diff(np.append(starts, len(who)))
    found = np.empty(len(who), dtype=np.int64)
    found[order] = np.arange(len(who)) - np.repeat(starts, sizes)
    return found
