"""People as a judge: what is to be judged goes into the store as tasks, and comes back as numbers.

Tasks are named by their content, so publishing twice puts nothing up twice, and whoever collects
needs nothing but the texts. The annotation app shows the responses in an order that it draws.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from accord.core.types import Message, Row, Task, TaskKind
from accord.store.board import SqlTaskBoard, unfilled_slots
from accord.store.database import Database
from accord.store.exporting import counts, is_final, share_for_first
from accord.store.imports.entries import task_id
from accord.store.judgements import SqlJudgements, Standing


class PeopleJudge:
    """A `PairJudge` that waits for people: pairs nobody has judged yet are NaN.

    A pair is asked once, whichever of the two is called a. Identical responses are a tie without
    asking; a pair with an empty response cannot be asked, and stays NaN.
    """

    def __init__(self, database: Database, project: str, *, overlap: int = 1) -> None:
        """Take an annotation project.

        Args:
            database: of the store.
            project: whose annotators are asked.
            overlap: how many of them judge each pair.
        """
        self._store = _Store(database, project, overlap, "pairwise")

    @property
    def name(self) -> str:
        """The project's, as people."""
        return self._store.name

    def asked(self) -> int:
        """Tasks that this object put up or found there."""
        return len(self._store.asked)

    def unfilled(self) -> int:
        """Judgements that they still wait for."""
        return self._store.unfilled()

    def publish(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> int:
        """Put pairs up; gives how many are new."""
        rows: Sequence[Row] = [{} for _ in prompts] if columns is None else columns
        pairs = zip(prompts, a, b, rows, strict=True)
        return self._store.put_up([(p, sorted((x, y)), row) for p, x, y, row in pairs])

    def collect(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,  # noqa: ARG002 (as of `compare`)
    ) -> list[float]:
        """The share of the votes for a, a tie being half a vote each; NaN where there are none.

        A judgement that came with a probability counts as that; a reviewer's decision stands in
        place of the votes.
        """
        votes = self._store.said()
        found = []
        for prompt, x, y in zip(prompts, a, b, strict=True):
            p = share_for_first(votes.get(self._store.task_id(prompt, sorted((x, y))), []))
            found.append(0.5 if x == y else p if x < y else 1 - p)
        return found

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """Put up what is new, and give what is there."""
        self.publish(prompts, a, b, columns)
        return self.collect(prompts, a, b, columns)


class PeopleGrader:
    """A `RubricJudge` that waits for people: a mean rating, or the share who saw the task done.

    Likert tasks ask for all of the project's attributes; the grade is one of them, from 1 to 7.
    """

    def __init__(
        self,
        database: Database,
        project: str,
        *,
        kind: Literal["likert", "success"] = "likert",
        attribute: str = "helpful",
        overlap: int = 1,
    ) -> None:
        """Take an annotation project.

        Args:
            database: of the store.
            project: whose annotators are asked.
            kind: what they are asked.
            attribute: whose ratings are the grade, of a Likert task.
            overlap: how many of them grade each response.
        """
        self.attribute = attribute
        self.kind = kind
        self._store = _Store(database, project, overlap, kind)

    @property
    def name(self) -> str:
        """The project's, as people, and what they were asked."""
        asked = self.attribute if self.kind == "likert" else "task success"
        return f"{self._store.name} ({asked})"

    def asked(self) -> int:
        """Tasks that this object put up or found there."""
        return len(self._store.asked)

    def unfilled(self) -> int:
        """Judgements that they still wait for."""
        return self._store.unfilled()

    def publish(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> int:
        """Put responses up; gives how many are new."""
        rows: Sequence[Row] = [{} for _ in prompts] if columns is None else columns
        items = zip(prompts, responses, rows, strict=True)
        return self._store.put_up([(p, [response], row) for p, response, row in items])

    def collect(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        columns: Sequence[Row] | None = None,  # noqa: ARG002 (as of `grade`)
    ) -> list[float]:
        """Means over those who answered; NaN where nobody did."""
        said = self._store.said()
        return [
            _mean([self._grade(s) for s in said.get(self._store.task_id(prompt, [text]), [])])
            for prompt, text in zip(prompts, responses, strict=True)
        ]

    def grade(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """Put up what is new, and give what is there."""
        self.publish(prompts, responses, columns)
        return self.collect(prompts, responses, columns)

    def _grade(self, standing: Standing) -> float | None:
        assert standing.answer is not None
        if self.kind == "success":
            return float(standing.answer["success"])
        rated = standing.answer["ratings"].get(self.attribute)
        return None if rated is None or rated[0] is None else float(rated[0])


class _Store:
    """Tasks of one kind in one project, named by what they ask."""

    def __init__(self, database: Database, project: str, overlap: int, kind: TaskKind) -> None:
        self.database = database
        self.project = project
        self.overlap = overlap
        self.kind: TaskKind = kind
        self.asked: set[str] = set()

    @property
    def name(self) -> str:
        return f"people of {self.project}"

    def task_id(self, prompt: Sequence[Message], responses: Sequence[str]) -> str:
        return task_id(self.project, self.kind, prompt, responses)

    def put_up(self, items: Sequence[tuple[Sequence[Message], list[str], Row]]) -> int:
        tasks: dict[str, Task] = {}
        for prompt, responses, columns in items:
            can_be_asked = all(text.strip() for text in responses)
            if not can_be_asked or len(set(responses)) < len(responses):
                continue
            name = self.task_id(prompt, responses)
            tasks[name] = Task(
                id=name,
                project=self.project,
                kind=self.kind,
                prompt=tuple(prompt),
                responses=tuple(responses),
                columns=dict(columns),
                overlap=self.overlap,
            )
        self.asked |= tasks.keys()
        return SqlTaskBoard(self.database).put_up(list(tasks.values()))

    def unfilled(self) -> int:
        return unfilled_slots(self.database, self.project, self.asked)

    def said(self) -> Mapping[str, list[Standing]]:
        """Standing answers by task, and of those that a reviewer decided only his."""
        found: dict[str, list[Standing]] = defaultdict(list)
        decided: dict[str, list[Standing]] = {}
        for standing in SqlJudgements(self.database).current(self.project):
            if standing.task.kind != self.kind:
                continue
            if is_final(standing):
                decided[standing.task.id] = [standing]
            elif counts(standing, self.kind):
                found[standing.task.id].append(standing)
        return {**found, **decided}


def _mean(values: Sequence[float | None]) -> float:
    given = [value for value in values if value is not None]
    return sum(given) / len(given) if given else math.nan
