"""What models' opinions do to a project's votes: suggestions that anchor, critiques that move."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accord.annotation.anchoring import Anchoring, anchoring
from accord.annotation.monitoring import Share, share
from accord.annotation.oversight import Movements, Revisions, movements, revisions
from accord.core.types import Row, TaskKind
from accord.store.answers import critique_of, suggestion_of
from accord.store.exporting import is_final
from accord.store.figures import plain
from accord.store.hints import Critique, follows
from accord.store.judgements import Standing
from accord.store.revising import FirstVote, phase_of

GOLD = "gold"
"""Column of a task with the answer that is known to be right."""
_WORTH = {"a": 0.0, "b": 1.0}
_LABELS = ("a", "b", "tie", "both_bad", False, True)
_UNSURE = len(_LABELS)


@dataclass(frozen=True)
class Follower:
    """How often somebody says what the model suggests."""

    name: str
    shown: Share
    hidden: Share


@dataclass(frozen=True)
class Suggestions:
    """Of all votes on tasks with a suggestion; `wrong` are those on which another answer is known
    to be right, None where there is none.
    """

    anchoring: Anchoring
    wrong: Anchoring | None
    people: list[Follower]


@dataclass(frozen=True)
class Reviser:
    """How a critique moves somebody."""

    name: str
    moves: Movements


@dataclass(frozen=True)
class Oversight:
    """Of votes before and after a critique, and of those on tasks that showed none.

    `gold` is of tasks whose answer is known (a column `gold`, or a reviewer's decision) and whose
    critique takes a side; None where there is none.
    """

    waiting: int
    moves: Movements
    agreement_before: Share
    agreement_after: Share
    agreement_control: Share
    gold: Revisions | None
    accuracy_control: Share
    people: list[Reviser]


@dataclass(frozen=True)
class AssistanceReport:
    """Each is None where nothing of it was shown."""

    suggestions: Suggestions | None
    oversight: Oversight | None

    def as_json(self) -> dict[str, Any]:
        """For a file: no NaN, and shares with their value."""
        found: dict[str, Any] = plain(self)
        return found


def assistance_report(
    standing: Sequence[Standing], first_votes: Sequence[FirstVote], *, seed: int = 0
) -> AssistanceReport:
    """The figures of a project.

    Args:
        standing: its standing judgements.
        first_votes: votes before a critique, as `SqlRevisions.first_votes` has them.
        seed: of intervals.
    """
    # What was suggested was beside the first vote.
    votes = [*standing, *(v.first for v in first_votes if v.after is not None)]
    suggested = [s for s in votes if s.action == "judge" and (s.answer or {}).get("suggestion")]
    control = [s for s in standing if phase_of(s) == "control"]
    truths, is_overseen = _truths(standing), bool(first_votes or control)
    return AssistanceReport(
        _suggestions(suggested, truths) if suggested else None,
        _oversight(first_votes, control, truths, seed) if is_overseen else None,
    )


def _suggestions(votes: Sequence[Standing], truths: dict[str, int]) -> Suggestions:
    wrong = [s for s in votes if _is_misled(s, truths)]
    people = []
    for name in sorted({s.annotator for s in votes}):
        found = _anchoring([s for s in votes if s.annotator == name])
        people.append(Follower(name, found.shown, found.hidden))
    return Suggestions(_anchoring(votes), _anchoring(wrong) if wrong else None, people)


def _is_misled(standing: Standing, truths: dict[str, int]) -> bool:
    """Whether what is suggested is known to be wrong."""
    found = suggestion_of(standing.task)
    label = None if found is None else _label_of(found.answer)
    return label is not None and truths.get(standing.task.id, label) != label


def _anchoring(votes: Sequence[Standing]) -> Anchoring:
    records = [(s.answer or {})["suggestion"] for s in votes]
    same, shown = (
        np.array([bool(r.get(name)) for r in records], dtype=np.int64)
        for name in ("is_followed", "is_shown")
    )
    return anchoring(same, shown, [s.task.id for s in votes])


def _oversight(
    first_votes: Sequence[FirstVote],
    control: Sequence[Standing],
    truths: dict[str, int],
    seed: int,
) -> Oversight:
    pairs = [
        (v.first, v.after)
        for v in first_votes
        if v.after is not None and v.first.answer is not None and v.after.answer is not None
    ]
    control = [s for s in control if s.answer is not None]
    known = [s for s in control if s.task.id in truths]
    rights = sum(_label(s) == truths[s.task.id] for s in known)
    return Oversight(
        waiting=sum(v.after is None for v in first_votes),
        moves=_moves(pairs),
        agreement_before=_agreement([first for first, _ in pairs]),
        agreement_after=_agreement([after for _, after in pairs]),
        agreement_control=_agreement(control),
        gold=_gold(pairs, truths, seed),
        accuracy_control=share(rights, len(known)),
        people=[
            Reviser(name, _moves([pair for pair in pairs if pair[0].annotator == name]))
            for name in sorted({first.annotator for first, _ in pairs})
        ],
    )


def _moves(pairs: Sequence[tuple[Standing, Standing]]) -> Movements:
    return movements(
        np.array([_changed(first, after) for first, after in pairs], dtype=np.int64),
        np.array([_distance(first) for first, _ in pairs], dtype=np.float64),
        np.array([_distance(after) for _, after in pairs], dtype=np.float64),
    )


def _changed(first: Standing, after: Standing) -> bool:
    is_same = follows(first.task.kind, first.answer or {}, after.answer or {})
    return after.action != "judge" or not is_same


def _side(standing: Standing) -> tuple[TaskKind, Row] | None:
    """The kind of task, and what its critique argues for, if anything."""
    critique: Critique | None = critique_of(standing.task)
    if critique is None or critique.answer is None:
        return None
    return standing.task.kind, critique.answer


def _distance(standing: Standing) -> float:
    """From what the critique argues for: 0 of the same, 1 of another; ties stand between sides."""
    side = _side(standing)
    if side is None:
        return float("nan")
    kind, proposal = side
    answer = standing.answer or {}
    if standing.action == "judge" and follows(kind, answer, proposal):
        return 0.0
    if kind != "pairwise":
        return 1.0
    said, argued = (_WORTH.get(str(a.get("verdict")), 0.5) for a in (answer, proposal))
    return abs(said - argued)


def _agreement(votes: Sequence[Standing]) -> Share:
    distances = [d for d in map(_distance, votes) if not math.isnan(d)]
    return share(distances.count(0.0), len(distances))


def _truths(standing: Sequence[Standing]) -> dict[str, int]:
    """Labels of tasks that are known: by the answer key, or by what a reviewer decided."""
    truths = {s.task.id: _label(s) for s in standing if is_final(s)}
    for s in standing:
        gold = s.task.columns.get(GOLD)
        if isinstance(gold, dict) and _label_of(gold) is not None:
            truths[s.task.id] = _label_of(gold)
    return {name: label for name, label in truths.items() if label is not None}


def _label(standing: Standing) -> int | None:
    """A number for what was said of a pair or an attempt; other kinds have no labels."""
    return _label_of(standing.answer or {}) if standing.action == "judge" else _UNSURE


def _label_of(answer: Row) -> int | None:
    for name in ("verdict", "success"):
        if answer.get(name) in _LABELS:
            return _LABELS.index(answer[name])
    return None


def _gold(
    pairs: Sequence[tuple[Standing, Standing]], truths: dict[str, int], seed: int
) -> Revisions | None:
    rows = []
    for first, after in pairs:
        side = _side(first)
        argued = None if side is None else _label_of(side[1])
        if argued is not None and first.task.id in truths:
            labels = (_label(first), _label(after), argued, truths[first.task.id])
            rows.append((*labels, first.task.id))
    if not rows:
        return None
    names = {name: n for n, name in enumerate(dict.fromkeys(row[-1] for row in rows))}
    columns = np.array([(*row[:-1], names[row[-1]]) for row in rows], dtype=np.int64).T
    return revisions(*columns, seed=seed)
