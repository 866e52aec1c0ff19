"""A project's qualification round: taken by annotators, set up and watched by leads."""

import dataclasses
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import Field

from accord.core.types import Action, Submission, TaskKind
from accord.store.attempts import Attempt
from accord.store.qualification import Asked
from accord.store.questions import Question
from accord.web.api.bodies import Body, may
from accord.web.identity import ROLES, Identity
from accord.web.services import Given

router = APIRouter(prefix="/projects", tags=["qualification"])

Anyone = Annotated[Identity, Depends(may("read", *ROLES))]
Worker = Annotated[Identity, Depends(may("annotate", *ROLES))]
Reader = Annotated[Identity, Depends(may("read", "lead", "reviewer"))]
Lead = Annotated[Identity, Depends(may("manage", "lead"))]


class QualificationChange(Body):
    """What is to change; without questions a round starts with those that ship."""

    is_required: bool | None = None
    pass_share: float | None = Field(None, gt=0, le=1)


class NewQuestions(Body):
    """Rows as of gold questions, each with a reason; null is the set that ships."""

    rows: list[dict[str, Any]] | None
    kind: TaskKind = "pairwise"


class Decision(Body):
    """Let somebody pass, or try again."""

    annotator: str
    decision: Literal["pass", "again"]


class QuestionAnswer(Body):
    """What was said of a question, in the order of its task."""

    question_id: str
    action: Action = "judge"
    answer: dict[str, Any] = Field(default_factory=dict)


@router.get("/{name}/qualify")
def next_question(name: str, who: Anyone, services: Given) -> dict[str, Any]:
    """How far one is, and the next question; null when nothing is left to ask."""
    services.membership.check(who.name, name)
    attempt, asked = services.qualification.next(who.name, name)
    required = services.qualification.get(name).is_required
    question = None if asked is None else _shown(asked)
    return {"is_required": required, **_attempt(attempt), "question": question}


@router.post("/{name}/qualify")
def answer_question(
    name: str, body: QuestionAnswer, who: Worker, services: Given
) -> dict[str, Any]:
    """Answer a question; gives what was expected, and why."""
    services.membership.check(who.name, name)
    said = Submission("", body.answer, action=body.action)
    told = services.qualification.answer(who.name, name, body.question_id, said)
    question = told.asked.question
    return {"is_right": told.is_right, "expected": question.expected, "reason": question.reason}


@router.get("/{name}/qualification")
def qualification(name: str, _: Reader, services: Given) -> dict[str, Any]:
    """What is asked of annotators, and how far everybody is."""
    services.projects.get(name)
    found = dataclasses.asdict(services.qualification.get(name))
    return {**found, "people": [_attempt(one) for one in services.qualification.people(name)]}


@router.patch("/{name}/qualification")
def change_qualification(
    name: str, body: QualificationChange, _: Lead, services: Given
) -> dict[str, Any]:
    """Switch it on or off, or change the share that passes."""
    return dataclasses.asdict(services.qualification.change(name, **body.model_dump()))


@router.get("/{name}/qualification/questions")
def list_questions(name: str, _: Reader, services: Given) -> list[dict[str, Any]]:
    """What is asked, with the answers."""
    services.projects.get(name)
    return [_known(question) for question in services.qualification.questions(name)]


@router.put("/{name}/qualification/questions")
def ask(name: str, body: NewQuestions, _: Lead, services: Given) -> list[dict[str, Any]]:
    """Ask these from now on, in place of what was asked; all are taken or none."""
    return [_known(q) for q in services.qualification.ask(name, body.rows, kind=body.kind)]


@router.post("/{name}/qualification/decisions", status_code=204)
def decide(name: str, body: Decision, who: Lead, services: Given) -> None:
    """Let somebody pass by hand; or let somebody who failed try again."""
    if body.decision == "pass":
        services.qualification.let_pass(name, body.annotator, by=who.name)
    else:
        services.qualification.let_try_again(name, body.annotator)


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {**dataclasses.asdict(attempt), "accuracy": attempt.accuracy}


def _shown(asked: Asked) -> dict[str, Any]:
    """Without the answer, or a column that might tell of it."""
    task = asked.question.task
    return {
        "id": task.id,
        "kind": task.kind,
        "prompt": list(task.prompt),
        "responses": list(task.responses),
        "order": list(asked.order),
    }


def _known(question: Question) -> dict[str, Any]:
    task = question.task
    return {
        "id": task.id,
        "kind": task.kind,
        "prompt": list(task.prompt),
        "responses": list(task.responses),
        **task.columns,
        "gold": question.expected,
        "reason": question.reason,
    }
