"""The judge is asked: pairs in both orders, rankings at once; opinions become judgements."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from accord.annotation.tables import Floats
from accord.annotation.win_rates import verdicts
from accord.core.errors import Interrupted
from accord.core.progress import progress_bar
from accord.core.types import Answered, Judgement, Task, Verdict
from accord.judges.both_orders import TwoOrders, ask_both_orders
from accord.judges.configured import Judge
from accord.judges.ranking import RankJudge

BATCH_TASKS = 256
"""Tasks that are asked about together: between them the stage can be stopped."""
INCONSISTENT = "inconsistent: the verdict changes with the order"
_LOWEST, _HIGHEST = 1, 7


@dataclass(frozen=True)
class Opinions:
    """What the judge said of pairs, place by place as the tasks stand."""

    orders: TwoOrders
    grades: list[dict[str, list[float]]] = field(default_factory=list)
    """by aspect, a grade for each of a pair's two responses; empty where it has no aspects"""

    @property
    def p(self) -> Floats:
        """(N,) that a task's first response is the better; NaN where it abstained."""
        return self.orders.judged()

    def figures(self, tasks: Sequence[Task]) -> dict[str, Any]:
        """Counts, and how much place and length decided."""
        forth, back = verdicts(self.orders.forth), verdicts(self.orders.back)
        known = ~np.isnan(forth + back)
        same = (forth == 1 - back)[known]
        first = ((forth + back) / 2)[known]
        gaps = np.array([float(len(t.responses[0]) - len(t.responses[1])) for t in tasks])
        is_first = ((forth + 1 - back) / 2)[known & (gaps != 0)]
        longer = np.where(gaps[known & (gaps != 0)] > 0, is_first, 1 - is_first)
        return {
            "pairs": len(forth),
            "abstained": int((~known).sum()),
            "inconsistent": int(self.orders.is_inconsistent().sum()),
            "consistency": float(same.mean()) if len(same) else None,
            "first_share": float(first.mean()) if len(first) else None,
            "longer_share": float(longer.mean()) if len(longer) else None,
        }


def judge_pairs(judge: Judge, tasks: Sequence[Task], stop: object) -> Opinions:
    """Every pair in both orders; what was answered before is not asked again.

    Raises:
        Interrupted: it was asked to stop; the answers so far are on disk.
    """
    forth: list[float] = []
    back: list[float] = []
    grades: list[dict[str, list[float]]] = []

    def ask(batch: Sequence[Task]) -> None:
        prompts = [task.prompt for task in batch]
        a, b = ([task.responses[place] for task in batch] for place in (0, 1))
        said = ask_both_orders(judge.pairs, prompts, a, b, [task.columns for task in batch])
        forth.extend(said.forth.tolist())
        back.extend(said.back.tolist())
        if judge.aspects is not None:
            sides = [judge.aspects.grade_each(prompts, texts) for texts in (a, b)]
            for place in range(len(batch)):
                grades.append({k: [side[k][place] for side in sides] for k in sides[0]})

    _in_batches(tasks, ask, stop)
    return Opinions(TwoOrders(np.array(forth), np.array(back)), grades)


def judge_rankings(ranks: RankJudge, tasks: Sequence[Task], stop: object) -> list[Answered]:
    """Ranks of each task's responses; a task on which the judge abstained has none.

    Raises:
        Interrupted: as of `judge_pairs`.
    """
    found: list[Answered] = []

    def ask(batch: Sequence[Task]) -> None:
        said = ranks.rank([t.prompt for t in batch], [list(t.responses) for t in batch])
        found.extend(
            _answered(task, "ranking", ranks.name, {"ranks": said_ranks})
            for task, said_ranks in zip(batch, said, strict=True)
            if said_ranks is not None
        )

    _in_batches(tasks, ask, stop)
    return found


def judgements_of(tasks: Sequence[Task], opinions: Opinions, judge: Judge) -> dict[str, Judgement]:
    """By task, what goes into the store; abstentions do not."""
    inconsistent = opinions.orders.is_inconsistent()
    found = {}
    for place, (task, p) in enumerate(zip(tasks, opinions.p.tolist(), strict=True)):
        if math.isnan(p):
            continue
        found[task.id] = Judgement(
            annotator=judge.name,
            annotator_kind="model",
            prompt=task.prompt,
            response_a=task.responses[0],
            response_b=task.responses[1],
            verdict=_verdict(p),
            columns=task.columns,
            p_a=p,
            task_id=task.id,
            reason=_reason(judge, task, is_inconsistent=bool(inconsistent[place])),
        )
    return found


def _reason(judge: Judge, task: Task, *, is_inconsistent: bool) -> str | None:
    """By which principle, where there are such, and whether the orders contradict each other."""
    said = [f"{k}: {v}" for k, v in judge.record(task.prompt, *task.responses).items()]
    return "; ".join([*said, INCONSISTENT] if is_inconsistent else said) or None


def ratings_of(tasks: Sequence[Task], opinions: Opinions, name: str) -> list[Answered]:
    """Grades by aspect, as whole ratings of people's scale; who abstained on all has none."""
    found = []
    for task, by_aspect in zip(tasks, opinions.grades, strict=False):
        ratings = {k: list(map(_whole, grades)) for k, grades in by_aspect.items()}
        if any(rating is not None for each in ratings.values() for rating in each):
            found.append(_answered(task, "likert", name, {"ratings": ratings}))
    return found


def _answered(task: Task, kind: Any, name: str, answer: Mapping[str, Any]) -> Answered:
    known = task.id if kind == task.kind else None
    where = f"task {task.id}"
    return Answered(
        name, "model", kind, task.prompt, task.responses, answer, task.columns, known, where
    )


def _whole(grade: float) -> int | None:
    return None if math.isnan(grade) else min(max(round(grade), _LOWEST), _HIGHEST)


def _verdict(p_a: float) -> Verdict:
    return "tie" if p_a == 0.5 else "a" if p_a > 0.5 else "b"


def _in_batches(tasks: Sequence[Task], ask: Callable[[Sequence[Task]], None], stop: object) -> None:
    with progress_bar("judging", len(tasks)) as bar:
        for start in range(0, len(tasks), BATCH_TASKS):
            if stop:
                raise Interrupted(f"stopped after {start} of {len(tasks)}; run again to resume")
            ask(tasks[start : start + BATCH_TASKS])
            bar.update(min(start + BATCH_TASKS, len(tasks)))
