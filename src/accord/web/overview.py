"""A project as its lead sees it: pace, agreement, gold questions, taste for a side, disputes."""

import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accord.annotation.agreement import (
    Coefficient,
    agreement_interval,
    gwet_ac1,
    krippendorff_alpha,
    percent,
)
from accord.annotation.monitoring import (
    DriftAlarm,
    Pace,
    Share,
    cost_per_usable_pair,
    drift_alarm,
    one_sided,
    pace,
    share,
    suspicious,
)
from accord.annotation.tables import Floats, Votes
from accord.core.files import hash_json
from accord.core.types import Task
from accord.store.exporting import counts, is_final, verdict_of
from accord.store.judgements import Standing
from accord.store.revising import FirstVote
from accord.web.services import Services

GOLD = "gold"
"""Column of a task with the answer that is known to be right; annotators never see columns."""
_RESAMPLES = 200
_SHOWN = 20
_LABELS = ("a", "b", "tie")


@dataclass(frozen=True)
class Person:
    """One annotator's work in the project."""

    name: str
    kind: str
    actions: Mapping[str, int]
    pace: Pace
    gold: Share
    left: Share
    is_one_sided: bool
    is_suspicious: bool
    has_drifted: bool


@dataclass(frozen=True)
class Measure:
    """A coefficient with its interval; NaN where nothing was judged twice."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Dispute:
    """A task on which annotators differ."""

    task: Task
    votes: Mapping[str, int]


@dataclass(frozen=True)
class Overview:
    """All of it, of one moment."""

    people: list[Person]
    agreement: list[Measure]
    disputes: list[Dispute]
    flagged: list[Standing]
    pairs: int
    hours: float
    cost: float | None
    """of a judged pair, in the currency of the project's `hourly_rate`; None without one"""


def project_overview(services: Services, name: str, votes: Sequence[FirstVote]) -> Overview:
    """A project's figures as they stand.

    Args:
        services: the store.
        name: of the project.
        votes: its votes before a critique.

    Raises:
        NotFoundError: there is no such project.
    """
    rate = services.projects.get(name).settings.get("hourly_rate")
    return overview(
        services.judgements.current(name),
        revised=[vote.first for vote in votes if vote.after is not None],
        hourly_rate=float(rate) if isinstance(rate, int | float) else None,
        qualified=services.qualification.accuracies(name),
    )


def overview(
    standing: Sequence[Standing],
    *,
    hourly_rate: float | None,
    revised: Sequence[Standing] = (),
    qualified: Mapping[str, float] | None = None,
) -> Overview:
    """The figures of a project's standing judgements, oldest first.

    `revised` has votes that others followed after a critique: their time was spent, too.
    `qualified` has the accuracy in the qualification round of who took one: what is usual of them.
    """
    pairs = [s for s in standing if counts(s, "pairwise")]
    # Tasks whose answer is known tell of annotators, and not of the pairs.
    asked = [s for s in pairs if GOLD not in s.task.columns]
    hours = sum(s.time_on_task_s or 0.0 for s in (*standing, *revised)) / 3600
    usable = len({s.task.id for s in asked})
    return Overview(
        people=_people(standing, pairs, qualified or {}),
        agreement=_agreement(asked),
        disputes=_disputes(asked, {s.task.id for s in standing if is_final(s)}),
        flagged=[s for s in standing if s.action == "flag"][::-1][:_SHOWN],
        pairs=usable,
        hours=hours,
        cost=None
        if hourly_rate is None
        else cost_per_usable_pair(hours, hourly_rate=hourly_rate, usable=usable),
    )


def _people(
    standing: Sequence[Standing], pairs: Sequence[Standing], qualified: Mapping[str, float]
) -> list[Person]:
    by_name: dict[str, list[Standing]] = {}
    for s in standing:
        by_name.setdefault(s.annotator, []).append(s)
    names = sorted(by_name)
    left = [_left(by_name[name]) for name in names]
    odd = _suspicious(pairs)
    gold = [s for s in standing if _is_gold(s)]
    return [
        Person(
            name=name,
            kind=by_name[name][0].annotator_kind,
            actions=Counter(s.action for s in by_name[name]),
            pace=pace(np.array([s.time_on_task_s for s in by_name[name] if s.time_on_task_s])),
            gold=_gold(by_name[name]),
            left=shown,
            is_one_sided=leans,
            is_suspicious=name in odd,
            has_drifted=_has_drifted(by_name[name], gold, qualified.get(name)),
        )
        for name, shown, leans in zip(names, left, one_sided(left), strict=True)
    ]


def _left(said: Sequence[Standing]) -> Share:
    """How often the response on the left was chosen, of the times that a side was."""
    chosen = [
        s.order.index("ab".index(s.answer["verdict"]))
        for s in said
        if counts(s, "pairwise") and s.answer and s.answer["verdict"] in ("a", "b")
    ]
    return share(chosen.count(0), len(chosen))


def _is_gold(s: Standing) -> bool:
    return (
        s.action == "judge" and s.answer is not None and isinstance(s.task.columns.get(GOLD), dict)
    )


def _rights(said: Sequence[Standing]) -> Any:
    """(N,) 1 where the answer to a gold question has all that the key asks for."""
    found = []
    for s in said:
        if _is_gold(s):
            key, answer = s.task.columns[GOLD], dict(s.answer or {})
            found.append(all(answer.get(name) == value for name, value in key.items()))
    return np.array(found, dtype=np.int64)


def _gold(said: Sequence[Standing]) -> Share:
    rights = _rights(said)
    return share(int(rights.sum()), len(rights))


def _has_drifted(
    said: Sequence[Standing], gold: Sequence[Standing], qualified: float | None
) -> bool:
    """Whether somebody fell a quarter below what is usual of him, or else in the project."""
    if not gold:
        return False
    usual = float(_rights(gold).mean()) if qualified is None else qualified
    asked = max(Counter(s.annotator for s in gold).values())
    alarm = _alarm_of(min(0.95, max(0.55, round(usual * 20) / 20)), 10 * math.ceil(asked / 10))
    return alarm.rings_at(_rights(said)) is not None


@functools.lru_cache(maxsize=64)
def _alarm_of(usual: float, questions: int) -> DriftAlarm:
    return drift_alarm(usual=usual, fallen=usual - 0.25, questions=questions)


def _votes(pairs: Sequence[Standing]) -> Votes:
    rows = [(s.task.id, s.annotator, verdict_of(s)) for s in pairs]
    return Votes.of(rows, categories=_LABELS)


def _suspicious(pairs: Sequence[Standing]) -> set[str]:
    if not pairs or max(Counter(s.task.id for s in pairs).values()) < 2:
        return set()
    votes = _votes(pairs)
    found = suspicious(votes, seed=0, shuffles=_RESAMPLES).is_suspicious
    return {str(name) for name, odd in zip(votes.annotators, found, strict=True) if odd}


def _agreement(pairs: Sequence[Standing]) -> list[Measure]:
    """Never one number: with and without ties, beyond chance in two ways."""
    if not pairs:
        return []
    votes = _votes(pairs)
    prompts = {s.task.id: hash_json([list(s.task.prompt)]) for s in pairs}
    clusters = [prompts[str(name)] for name in votes.tasks]
    table = votes.counts()
    ways: list[tuple[str, Coefficient | Callable[..., float], Floats]] = [
        ("equal votes", percent, table),
        ("equal votes, ties left out", percent, table[:, :2]),
        ("Krippendorff's alpha", krippendorff_alpha, table),
        ("Gwet's AC1", gwet_ac1, table),
    ]
    return [
        Measure(
            name,
            way(cells, None),
            *agreement_interval(way, cells, clusters, seed=0, resamples=_RESAMPLES),
        )
        for name, way, cells in ways
    ]


def _disputes(pairs: Sequence[Standing], decided: set[str]) -> list[Dispute]:
    """Tasks with more than one opinion and no decision, the least agreed on first."""
    by_task: dict[str, list[Standing]] = {}
    for s in pairs:
        by_task.setdefault(s.task.id, []).append(s)
    found = [
        Dispute(said[0].task, Counter(str((s.answer or {})["verdict"]) for s in said))
        for said in by_task.values()
    ]
    split = [d for d in found if len(d.votes) > 1 and d.task.id not in decided]
    split.sort(key=lambda d: max(d.votes.values()) / sum(d.votes.values()))
    return split[:_SHOWN]
