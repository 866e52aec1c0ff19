"""A request's line in the log, and what is remembered of its answer."""

import hashlib
import json
import logging
import time
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from accord.core.errors import AccordError
from accord.serving.chat import ChatAnswer
from accord.serving.feedback import Response
from accord.serving.protocol import EmbeddingRequest, Sampling, ScoreRequest
from accord.serving.refusals import body_of

LOG = logging.getLogger("accord.serving")


def text_of(choice: dict[str, Any]) -> str:
    """What a choice, or a piece of one, says."""
    said = choice.get("message") or choice.get("delta") or choice
    return said.get("content") or said.get("text") or ""


def remember(services: Any, record: "Record", texts: list[str]) -> None:
    """A whole answer to a conversation, of which its user may say something."""
    if isinstance(record.job, ChatAnswer):
        answer = Response(
            tuple(record.job.messages),
            tuple(texts),
            record.arm,
            record.version,
            record.caller,
            services.feedback.now(),
        )
        services.feedback.remember(record.name, answer)


class Record:
    """One request's line in the log; no text of anybody's is in it.

    A context that writes the line where its block fails; else `end` does. `arm` and `version` are
    of who answers, `job` has its tokens, or else `prompt_tokens` were read.
    """

    def __init__(
        self,
        request: Request,
        asked: Sampling | EmbeddingRequest | ScoreRequest,
        name: str,
        services: Any,
    ) -> None:
        self.name, self.services = name, services
        self.began, self.since = time.time(), time.perf_counter()
        self.route, self.asked = request.url.path, asked
        self.caller = request.state.caller.name
        self.arm = self.version = ""
        self.job: Any = None
        self.prompt_tokens = 0
        self._is_ended = False

    def __enter__(self) -> "Record":
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, ClientDisconnect):
            self.end(499)
        elif isinstance(error, Exception):
            self.end(body_of(error)[0] if isinstance(error, AccordError) else 500)

    def end(self, status: int) -> None:
        """Write it, once."""
        if self._is_ended:
            return
        self._is_ended = True
        self.services.metrics.add(
            "accord_requests_total", route=self.route, model=self.arm or "-", status=str(status)
        )
        line = {
            "id": self.name,
            "route": self.route,
            "model": self.asked.model,
            "arm": self.arm,
            "version": self.version,
            "caller": self.caller,
            "user": _hashed(getattr(self.asked, "user", None)),
            "status": status,
            "prompt_tokens": self.job.usage.prompt if self.job else self.prompt_tokens,
            "completion_tokens": self.job.usage.generated if self.job else 0,
            "seconds": round(time.perf_counter() - self.since, 4),
        }
        LOG.info(json.dumps(line))


def _hashed(user: str | None) -> str | None:
    """So that a user's requests can be told to be one's, and not whose."""
    return (
        None if user is None else hashlib.sha256(user.encode("utf-8", "replace")).hexdigest()[:16]
    )
