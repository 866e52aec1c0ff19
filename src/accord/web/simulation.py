"""Simulated annotators who work as people do: over HTTP, with an account, task after task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from accord.annotation.simulation import Crowd, p_says_left
from accord.annotation.tables import Floats
from accord.core.errors import ConfigError
from accord.core.interfaces import Annotator
from accord.core.types import Row, Task, Verdict
from accord.store.code_annotators import verdict_by
from accord.web.client import Client
from accord.web.client_sending import Json

_MEDIAN_S, _SPREAD = 8.0, 0.6
"""Of the time on task that is told, lognormal."""


@dataclass(frozen=True)
class Influence:
    """How far a model's opinion moves somebody who is shown it: probabilities."""

    anchoring: float = 0.0
    """of giving the suggested answer unread"""
    heeds_right: float = 0.0
    """of going over to the side of a critique that is right"""
    heeds_wrong: float = 0.0
    """and of one that is wrong"""

    def __post_init__(self) -> None:
        """Refuse what is no probability.

        Raises:
            ConfigError: one is outside 0 to 1.
        """
        for field in fields(self):
            given = getattr(self, field.name)
            if not 0 <= given <= 1:
                raise ConfigError(f"{field.name} is a probability of 0 to 1, got {given}")


@dataclass
class SimulatedWorker:
    """One of a crowd at the app's door.

    The opinion is an annotator's, who is shown the task's columns as the scorer needs them; what
    comes of it is the crowd's: errors, a taste for the left, fatigue; and then the influence of
    what a model says of the task.
    """

    client: Client
    opinion: Annotator
    crowd: Crowd
    place: int
    rng: np.random.Generator
    influence: Influence = Influence()
    done: int = 0

    def judge_next(self, project: str, tasks: Mapping[str, Task]) -> bool:
        """Judge one pair, and again after its critique if there is one; False if nothing is left.

        The vote after a critique that an earlier run left unread comes first.
        """
        for waiting in self.client.unrevised(project) if not self.done else ():
            self._revise(waiting, tasks)
        lease = self.client.lease(project)
        if lease is None:
            return False
        seconds, suggested = self._seconds(), lease["suggestion"]
        is_anchored = suggested and self.rng.random() < self.influence.anchoring
        given = suggested if is_anchored else {"verdict": self._verdict(lease, tasks)}
        said = self.client.submit(
            lease, given, time_on_task_s=seconds, saw_suggestion=suggested is not None
        )
        self.done += 1
        if said["critique"]:
            self._revise({**lease, **said, "answer": given}, tasks)
        return True

    def _revise(self, waiting: Json, tasks: Mapping[str, Task]) -> None:
        """Confirm the first vote, or go over to what the critique argues for."""
        first, argued = waiting["answer"], waiting["critique"]["answer"]
        after = first
        if argued is not None and argued["verdict"] != first["verdict"]:
            is_right = argued["verdict"] == self._truth(waiting, tasks)
            p = self.influence.heeds_right if is_right else self.influence.heeds_wrong
            after = argued if self.rng.random() < p else first
        self.client.revise(
            waiting["judgement_id"],
            {"verdict": after["verdict"]},
            time_on_task_s=self._seconds(),
            guideline_version=waiting.get("guideline_version"),
        )

    def _seconds(self) -> float:
        return float(self.rng.lognormal(np.log(_MEDIAN_S), _SPREAD))

    def _truth(self, shown: Json, tasks: Mapping[str, Task]) -> Verdict:
        """The known answer; where there is none, what this annotator thinks, undisturbed."""
        task = tasks[shown["task"]["id"]]
        gold = task.columns.get("gold")
        if isinstance(gold, dict) and "verdict" in gold:
            known: Verdict = gold["verdict"]
            return known
        left, right = task.responses
        return verdict_by(self.opinion, _row(task), left, right)

    def _verdict(self, lease: Json, tasks: Mapping[str, Task]) -> Verdict:
        """In the task's own order, whatever was on the left."""
        task = tasks[lease["task"]["id"]]
        left, right = (task.responses[place] for place in lease["order"])
        thought = verdict_by(self.opinion, _row(task), left, right)
        p_left: Floats = np.array([{"a": 1.0, "b": 0.0, "tie": 0.5}[thought]])
        who, done = np.array([self.place]), np.array([self.done])
        says_left = self.rng.random() < float(p_says_left(self.crowd, who, p_left, done)[0])
        if thought == "tie" and self.rng.random() >= self.crowd.left_bias[self.place]:
            return "tie"
        return "a" if lease["order"][0 if says_left else 1] == 0 else "b"


def _row(task: Task) -> Row:
    return {**task.columns, "prompt": list(task.prompt)}


def work_in_turn(
    workers: Sequence[SimulatedWorker], project: str, tasks: Mapping[str, Task]
) -> int:
    """Everybody judges one task after another in turn, until nobody has any left; how many in all.

    In turn, so that the same seed gives the same judgements.
    """
    judged, waiting = 0, list(workers)
    while waiting:
        waiting = [worker for worker in waiting if worker.judge_next(project, tasks)]
        judged += len(waiting)
    return judged
