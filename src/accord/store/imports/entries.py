"""What every format is read into: a task, and what was said of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from accord.core.errors import DataError
from accord.core.files import hash_json
from accord.core.types import Action, Message, Submission, Task, TaskKind
from accord.store.answers import check_answer, check_task
from accord.store.hints import swapped_hints
from accord.store.replacing import Replaces

AnnotatorKind = Literal["person", "model", "simulated"]


@dataclass(frozen=True)
class Options:
    """What a file does not say itself.

    Args:
        annotator: who judged rows that name nobody.
        annotator_kind: what is behind that name.
        is_judged: whether a row's order (chosen before rejected, ranks) is a judgement; else only
            the tasks are put up, to be judged anew.
        overlap: how many annotators a task is for; raised where more have judged it already.
        prompt_field: which field is the prompt, where its name does not tell.
        response_fields: which are the responses, in order.
        with_suggestions: take a model's suggestions as its judgements, too.
        is_ranked_by_order: a ranking without ranks is a list from the best to the worst.
        bucket: which of a ranker's buckets is the ranking.
        replaces: whether what an annotator says takes the place of what he said of the same task;
            else another answer is a contradiction, and what was erased stays so.
    """

    annotator: str = "imported"
    annotator_kind: AnnotatorKind = "person"
    is_judged: bool = True
    overlap: int = 1
    prompt_field: str | None = None
    response_fields: tuple[str, ...] = ()
    with_suggestions: bool = False
    is_ranked_by_order: bool = False
    bucket: str | None = None
    replaces: Replaces = "nothing"


@dataclass(frozen=True)
class Said:
    """What an annotator said of a task; `order` is how it was shown, None where that is unknown."""

    annotator: str
    answer: Mapping[str, Any]
    annotator_kind: AnnotatorKind = "person"
    action: Action = "judge"
    time_on_task_s: float | None = None
    created_at: float | None = None
    guideline_version: int | None = None
    order: tuple[int, ...] | None = None
    seed: int = 0
    is_surplus: bool = False


@dataclass(frozen=True)
class Entry:
    """A task as a row has it; `known_as` is an id that it had in another store."""

    where: str
    kind: TaskKind
    prompt: tuple[Message, ...]
    responses: tuple[str, ...]
    said: tuple[Said, ...] = ()
    policies: tuple[str | None, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)
    known_as: str | None = None
    overlap: int = 1

    def task(self, project: str, overlap: int) -> Task:
        """The task, whose id is a hash of what it asks: the same row again is the same task."""
        return Task(
            task_id(project, self.kind, self.prompt, self.responses),
            project,
            self.kind,
            self.prompt,
            self.responses,
            self.policies or (None,) * len(self.responses),
            dict(self.columns),
            max(overlap, self.overlap),
        )

    def check(self, project: str) -> None:
        """Refuse what nobody could have been asked or have said.

        Raises:
            DataError: it names the row.
        """
        task = self.task(project, 1)
        try:
            check_task(task)
            for said in self.said:
                check_answer(task, Submission("", said.answer, said.action))
                if not said.annotator.strip():
                    raise DataError("an annotator has no name")
                places = range(len(task.responses))
                if said.order is not None and sorted(said.order) != list(places):
                    raise DataError(f"display_order {list(said.order)} orders no such responses")
        except DataError as error:
            reason = str(error).removeprefix(f"task {task.id!r}").lstrip(":, ")
            raise DataError(f"{self.where}: {reason}") from None


def task_id(
    project: str, kind: TaskKind, prompt: Sequence[Message], responses: Sequence[str]
) -> str:
    """A hash of what a task asks: the same question in a project is one task."""
    return hash_json([project, kind, [dict(m) for m in prompt], list(responses)])[:32]


def without_order(
    responses: Sequence[str],
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Responses in an order that says nothing of which is better, and where each one came from.

    Rows have the better one first; a task must not.
    """
    places = sorted(
        range(len(responses)), key=lambda i: hashlib.sha256(responses[i].encode()).digest()
    )
    return tuple(responses[i] for i in places), tuple(places)


def in_task_order(columns: Mapping[str, Any], *, is_swapped: bool) -> dict[str, Any]:
    """Columns of a pair whose responses may have changed places: its `margin` is a's over b, and a
    model's opinion names one of them.
    """
    if not is_swapped:
        return dict(columns)
    margin = columns.get("margin")
    return {**swapped_hints(columns), "margin": -margin} if margin else swapped_hints(columns)


def dense_ranks(ranks: Sequence[Any], where: str) -> list[int | None]:
    """Ranks as a judgement has them: whole numbers from 1; others by their order, ties kept.

    Raises:
        DataError: one is no number.
    """
    if all(rank is None or (isinstance(rank, int) and rank >= 1) for rank in ranks):
        return list(ranks)
    try:
        values = [None if rank is None else float(rank) for rank in ranks]
    except (TypeError, ValueError):
        raise DataError(f"{where}: expected numbers or nulls as ranks, got {ranks!r:.80}") from None
    places = {value: n for n, value in enumerate(sorted({v for v in values if v is not None}), 1)}
    return [None if value is None else places[value] for value in values]


def by(options: Options, answer: Mapping[str, Any], name: Any = None) -> tuple[Said, ...]:
    """The one judgement of a row that may name its annotator; none where rows are unjudged."""
    if not options.is_judged:
        return ()
    who = options.annotator if name is None else str(name)
    return (Said(who, answer, options.annotator_kind),)
