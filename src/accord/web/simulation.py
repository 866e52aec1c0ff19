"""Simulated annotators who work as people do: over HTTP, with an account, task after task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from accord.annotation.simulation import Crowd, p_says_left
from accord.annotation.tables import Floats
from accord.core.interfaces import Annotator
from accord.core.types import Task, Verdict
from accord.web.client import Client
from accord.web.client_sending import Json

_MEDIAN_S, _SPREAD = 8.0, 0.6
"""Of the time on task that is told, lognormal."""


@dataclass
class SimulatedWorker:
    """One of a crowd at the app's door.

    The opinion is an annotator's, who is shown the task's columns as the scorer needs them; what
    comes of it is the crowd's: errors, a taste for the left, fatigue.
    """

    client: Client
    opinion: Annotator
    crowd: Crowd
    place: int
    rng: np.random.Generator
    done: int = 0

    def judge_next(self, project: str, tasks: Mapping[str, Task]) -> bool:
        """Judge one pair; False where nothing is left."""
        lease = self.client.lease(project)
        if lease is None:
            return False
        seconds = float(self.rng.lognormal(np.log(_MEDIAN_S), _SPREAD))
        verdict = self._verdict(lease, tasks[lease["task"]["id"]])
        self.client.submit(lease, {"verdict": verdict}, time_on_task_s=seconds)
        self.done += 1
        return True

    def _verdict(self, lease: Json, task: Task) -> Verdict:
        """In the task's own order, whatever was on the left."""
        left, right = (task.responses[place] for place in lease["order"])
        row = {**task.columns, "prompt": list(task.prompt)}
        thought = self.opinion.judge(row, left, right)
        p_left: Floats = np.array([{"a": 1.0, "b": 0.0, "tie": 0.5}[thought]])
        who, done = np.array([self.place]), np.array([self.done])
        says_left = self.rng.random() < float(p_says_left(self.crowd, who, p_left, done)[0])
        if thought == "tie" and self.rng.random() >= self.crowd.left_bias[self.place]:
            return "tie"
        return "a" if lease["order"][0 if says_left else 1] == 0 else "b"


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
