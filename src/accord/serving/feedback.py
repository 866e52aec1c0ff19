"""Feedback on responses, by their ids: thumbs, edits and votes that become judgements in the store.

What is told "stored" is on the disk. A response is remembered in memory only, for a while: words of
a conversation reach the disk when somebody says something of it and consents to that, and can be
erased there by the name of who said it, or when they are as old as the retention allows.
"""

import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from accord.core.errors import ConflictError, DataError
from accord.core.files import hash_json
from accord.core.types import Answered, Judgement, Message
from accord.serving.refusals import ApiError
from accord.store.conversations import SERVED
from accord.store.replacing import Replaces
from accord.store.text import check_name

LOG = logging.getLogger("accord.serving")
MOST_RESPONSES = 20_000
"""Remembered at once; the oldest is forgotten first."""
MOST_CHARACTERS = 2**27
"""In all of them."""


class Store(Protocol):
    """The part of `StoredPreferences` that takes what was said, and erases it."""

    def take(self, judgements: Sequence[Judgement], *, replaces: Replaces) -> None:
        """See `StoredPreferences`."""

    def take_answers(self, answers: Sequence[Answered], *, replaces: Replaces) -> None:
        """See `StoredPreferences`."""

    def erase(self, annotator: str) -> list[str]:
        """See `StoredPreferences`."""

    def forget(self, *, before: float) -> tuple[int, list[str]]:
        """See `StoredPreferences`."""


@dataclass(frozen=True)
class Response:
    """What was answered: the conversation, the words of each choice, and who wrote them."""

    prompt: tuple[Message, ...]
    choices: tuple[str, ...]
    arm: str
    version: str
    caller: str
    at: float

    @property
    def policy(self) -> str:
        """Who wrote it, as a task names that."""
        return f"{self.arm}@{self.version}"

    @property
    def characters(self) -> int:
        """Of the conversation and its answers."""
        return sum(len(m["content"]) for m in self.prompt) + sum(map(len, self.choices))


class Feedback:
    """Remembers responses, and keeps what is said of them.

    Args:
        store: where; None takes no feedback and remembers nothing.
        keep_s: how long responses are remembered.
        retention_days: what was said longer ago is erased, see `retention`; None keeps it.
        now: the clock, in seconds since 1970.
    """

    def __init__(
        self,
        store: Store | None,
        *,
        keep_s: float = 24 * 3600.0,
        retention_days: float | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.keep_s = keep_s
        self.retention_days = retention_days
        self.now = now
        self._responses: OrderedDict[str, Response] = OrderedDict()
        self._characters = 0

    def remember(self, name: str, response: Response) -> None:
        """So that something can be said of it."""
        if self.store is None:
            return
        self._responses[name] = response
        self._characters += response.characters
        while self._responses and self._has_too_much():
            self._forget(next(iter(self._responses)))

    def _has_too_much(self) -> bool:
        is_old = self.now() - next(iter(self._responses.values())).at > self.keep_s
        many = len(self._responses) > MOST_RESPONSES
        return is_old or many or self._characters > MOST_CHARACTERS

    def _forget(self, name: str) -> None:
        self._characters -= self._responses.pop(name).characters

    def recall(self, name: str, choice: int, caller: str) -> tuple[Response, str]:
        """A response of this caller's, and the words of one of its choices.

        Raises:
            ApiError: 404, there is none, or it was forgotten.
        """
        found = self._responses.get(name)
        if found is None or found.caller != caller or self.now() - found.at > self.keep_s:
            if found and found.caller == caller:
                self._forget(name)
            raise ApiError(404, f"no response {name!r} is remembered", param="response_id")
        if not 0 <= choice < len(found.choices):
            raise ApiError(404, f"response {name!r} has no choice {choice}", param="choice")
        return found, found.choices[choice]


class Given(BaseModel):
    """`POST /v1/feedback`: what somebody says of a response.

    `consent` is his, to keep the conversation and what he says, and to train on it; with `replaces`
    this takes the place of what he said before of the same.
    """

    model_config = ConfigDict(extra="forbid")

    response_id: str
    choice: int = 0
    kind: Literal["thumb", "edit", "vote"]
    up: bool | None = None
    text: str | None = Field(default=None, max_length=100_000)
    other_id: str | None = None
    other_choice: int = 0
    verdict: Literal["this", "other", "tie"] | None = None
    reason: str | None = Field(default=None, max_length=10_000)
    user: str = Field(min_length=1, max_length=200)
    consent: bool
    replaces: bool = False


class Taken(BaseModel):
    """`POST /v1/feedback/erase`: whose feedback is to go."""

    model_config = ConfigDict(extra="forbid")

    user: str = Field(min_length=1, max_length=200)


router = APIRouter(prefix="/v1")


async def _feedback(request: Request) -> Feedback:
    found: Feedback = request.app.state.services.feedback
    return found


@router.post("/feedback")
async def give(
    asked: Given, request: Request, feedback: Annotated[Feedback, Depends(_feedback)]
) -> dict[str, Any]:
    """Keep a thumb, an edit or a vote; the same again changes nothing."""
    store = _store(feedback)
    if not asked.consent:
        raise ApiError(422, "nothing is kept without consent", param="consent")
    caller = request.state.caller.name
    annotator = _annotator(caller, asked.user)
    said = _said(asked, feedback, caller, annotator)
    replaces: Replaces = "all" if asked.replaces else "erased"
    try:
        if isinstance(said, Judgement):
            await run_in_threadpool(store.take, [said], replaces=replaces)
        else:
            await run_in_threadpool(store.take_answers, [said], replaces=replaces)
    except (DataError, ConflictError) as error:
        raise ApiError(409, str(error)) from error
    name = hash_json([asked.response_id, asked.choice, asked.kind, annotator])[:24]
    found = {"object": "feedback", "id": name, "response_id": asked.response_id, "stored": True}
    return {**found, "annotator": annotator}


@router.post("/feedback/erase")
async def erase(
    asked: Taken, request: Request, feedback: Annotated[Feedback, Depends(_feedback)]
) -> dict[str, Any]:
    """Erase what a user gave; `exports` hold some of it, and so may models that were trained."""
    annotator = _annotator(request.state.caller.name, asked.user)
    try:
        exports = await run_in_threadpool(_store(feedback).erase, annotator)
    except DataError as error:
        raise ApiError(404, str(error), param="user") from error
    LOG.info(json.dumps({"erased_on_request": True, "exports": exports}))
    return {"object": "feedback.erased", "annotator": annotator, "exports": exports}


def _store(feedback: Feedback) -> Store:
    if feedback.store is None:
        raise ApiError(404, "this server takes no feedback (accord serve --feedback DATABASE)")
    return feedback.store


def _annotator(caller: str, user: str) -> str:
    """Of several programs' users, two may have one name."""
    return check_name(f"{caller}:{user}", "caller and user")


def _said(asked: Given, feedback: Feedback, caller: str, annotator: str) -> Answered | Judgement:
    response, words = feedback.recall(asked.response_id, asked.choice, caller)
    columns = {"arm": response.arm, "version": response.version, SERVED: True}
    where = f"response {asked.response_id}"
    reason = {} if asked.reason is None else {"reason": asked.reason}
    if asked.kind == "vote":
        if asked.other_id is None or asked.verdict is None:
            raise ApiError(422, "a vote names other_id and verdict", param="other_id")
        other, other_words = feedback.recall(asked.other_id, asked.other_choice, caller)
        if other.prompt != response.prompt:
            raise ApiError(422, "the two responses answer different prompts", param="other_id")
        if words == other_words or not (words.strip() and other_words.strip()):
            raise ApiError(422, "a vote is on two different responses with words", param="other_id")
        verdict: Any = {"this": "a", "other": "b", "tie": "tie"}[asked.verdict]
        return Judgement(
            annotator,
            "person",
            response.prompt,
            words,
            other_words,
            verdict,
            columns={SERVED: True},
            reason=asked.reason,
            policies=(response.policy, other.policy),
            where=where,
        )
    if asked.kind == "thumb":
        if asked.up is None:
            raise ApiError(422, "a thumb is up or not", param="up")
        kind, answer = "success", {"success": asked.up, **reason}
    else:
        if asked.text is None or not asked.text.strip():
            raise ApiError(422, "an edit has a text", param="text")
        kind, answer = "rewrite", {"text": asked.text, **reason}
    return Answered(
        annotator,
        "person",
        kind,  # type: ignore[arg-type]
        response.prompt,
        (words,),
        answer,
        columns=columns,
        policies=(response.policy,),
        where=where,
    )
