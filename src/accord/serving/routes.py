"""OpenAI's routes, and `/v1/score`."""

import asyncio
import base64
import contextlib
import functools
import json
import struct
import time
import uuid
from collections.abc import AsyncGenerator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from accord.core.errors import AccordError
from accord.core.types import Message
from accord.serving.apps import AppChat
from accord.serving.chat import Chat
from accord.serving.completions import Completion, prompt_ids
from accord.serving.policies import Chosen, Policies
from accord.serving.protocol import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    Sampling,
    ScoreRequest,
)
from accord.serving.records import LOG, Record, remember, text_of
from accord.serving.refusals import ApiError, body_of
from accord.serving.streams import EventStream, until_left

ARM = "X-Accord-Arm"
"""The header that names the model that answered."""

_STREAMED: Any = {
    200: {
        "description": "Whole, or with `stream` as server-sent events",
        "content": {"application/json": {}, "text/event-stream": {}},
    }
}

router = APIRouter(prefix="/v1")


async def _services(request: Request) -> Any:
    return request.app.state.services


Given = Annotated[Any, Depends(_services)]


@router.get("/models")
async def models(services: Given) -> dict[str, Any]:
    """What can be asked for."""
    policies = services.policies
    names = [*policies.names, *policies.rewards]
    return {"object": "list", "data": [_model(policies, name) for name in names]}


@router.get("/models/{name:path}")
async def model(name: str, services: Given) -> dict[str, Any]:
    """One of them."""
    return _model(services.policies, name)


def _model(policies: Policies, name: str) -> dict[str, Any]:
    """`kind` tells what answers in a chat: a policy, an alias for some, or an app on either."""
    if name in policies.rewards:
        kind, created = "reward", policies.rewards[name].created
    else:
        kind = "policy" if name in policies.models else "app"
        kind = "alias" if name in policies.aliases else kind
        created = policies.choose(name, "").served.created
    known = {"id": name, "object": "model", "created": created, "owned_by": "accord"}
    return {**known, "kind": kind}


@router.post("/chat/completions", response_model=None, responses=_STREAMED)
async def chat_completions(asked: ChatRequest, request: Request, services: Given) -> Response:
    """The next turn of a conversation."""
    return await _generate(asked, request, services, Chat, "chatcmpl")


@router.post("/completions", response_model=None, responses=_STREAMED)
async def completions(asked: CompletionRequest, request: Request, services: Given) -> Response:
    """How a text goes on."""
    return await _generate(asked, request, services, Completion, "cmpl")


@router.post("/embeddings", response_model=None)
async def embeddings(asked: EmbeddingRequest, request: Request, services: Given) -> Response:
    """The mean of a text's last hidden states, of length 1."""
    with _record(request, asked, services, "embd") as record:
        chosen = _alone(services.policies.choose(asked.model, asked.user or _someone(request)))
        served = chosen.served
        record.arm, record.version = chosen.arm, served.version
        inputs = prompt_ids(served, asked.input or [""])
        for ids in inputs:
            if served.context is not None and len(ids) > served.context:
                raise ApiError(
                    400,
                    f"an input has {len(ids)} tokens; this model reads {served.context}",
                    code="context_length_exceeded",
                    param="input",
                )
        with served.places(1):  # its inputs are read one after another
            found = [await until_left(request.receive, served.embed(ids)) for ids in inputs]
        if asked.dimensions not in (None, len(found[0])):
            raise ApiError(400, f"this model's dimension is {len(found[0])}", param="dimensions")
        record.prompt_tokens = total = sum(map(len, inputs))
        record.end(200)
        body = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": i, "embedding": _encoded(vector, asked)}
                for i, vector in enumerate(found)
            ],
            "model": asked.model,
            "usage": {"prompt_tokens": total, "total_tokens": total},
        }
        return JSONResponse(body, headers=_told_of(record.arm))


def _encoded(vector: list[float], asked: EmbeddingRequest) -> Any:
    if asked.encoding_format == "float":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


@router.post("/score", response_model=None)
async def score(asked: ScoreRequest, request: Request, services: Given) -> Response:
    """A reward model's scores of the last turns of conversations, higher is better."""
    with _record(request, asked, services, "score") as record:
        served = services.policies.reward(asked.model)
        record.arm, record.version = served.name, served.version
        for place, turns in enumerate(asked.conversations):
            if len(turns) < 2 or turns[-1].role != "assistant":
                where = f"conversations.{place}"
                raise ApiError(
                    422, f"{where}: expected turns that end with an assistant's", param=where
                )
        prompts = [
            [Message(role=turn.role, content=turn.text) for turn in turns[:-1]]
            for turns in asked.conversations
        ]
        responses = [turns[-1].text for turns in asked.conversations]
        found = await until_left(request.receive, served.score(prompts, responses))
        record.end(200)
        data = [
            {
                "object": "score",
                "index": i,
                "score": value,
                "spread": None if found.spread is None else found.spread[i],
                "parts": {name: values[i] for name, values in found.parts.items()},
            }
            for i, value in enumerate(found.values)
        ]
        body = {"object": "list", "data": data, "model": asked.model}
        return JSONResponse(body, headers=_told_of(record.arm))


async def _generate(
    asked: Sampling, request: Request, services: Any, kind: Any, prefix: str
) -> Response:
    # A stream's rows are in the engine before `held` is closed, which ends them first.
    with _record(request, asked, services, prefix) as record, contextlib.ExitStack() as held:
        # By user if the client names one, else by key: always the same arm.
        chosen = services.policies.choose(asked.model, asked.user or _someone(request))
        held.enter_context(services.policies.kept(chosen.served))
        record.arm, record.version = chosen.arm, chosen.served.version
        if kind is Chat and chosen.app is not None:
            kind = functools.partial(AppChat, app=chosen.app)
        else:
            _alone(chosen)
        job = kind(asked, chosen.served, name=record.name, created=int(record.began))
        record.job = job
        await services.guards.refuse(job.inputs())
        job.guards = services.guards
        headers = _told_of(chosen.arm)
        if asked.stream:
            events = _recorded(job.chunks(), record)
            # An error before the first token is an answer with its status.
            first = await until_left(request.receive, _first(events))
            _shadow(services, chosen, kind, asked, record.name)
            return EventStream(_joined(first, events), headers=headers)
        body = await until_left(request.receive, job.whole())
        record.end(200)
        remember(services, record, [text_of(choice) for choice in body["choices"]])
        _shadow(services, chosen, kind, asked, record.name)
        return JSONResponse(body, headers=headers)


def _record(request: Request, asked: Any, services: Any, prefix: str) -> Record:
    return Record(request, asked, f"{prefix}-{uuid.uuid4().hex}", services)


def _told_of(arm: str) -> dict[str, str]:
    return {ARM: quote(arm, safe="+.-_:@/ ")}


def _alone(chosen: Chosen) -> Chosen:
    """What is asked of a model itself.

    Raises:
        ApiError: an app is named.
    """
    if chosen.app is not None:
        raise ApiError(
            400, f"{chosen.arm} answers conversations alone: /v1/chat/completions", param="model"
        )
    return chosen


def _someone(request: Request) -> str:
    """Without a user's name the caller's; with no keys either, his address."""
    caller = request.state.caller
    if caller.name != "local":
        return str(caller.name)
    return request.client.host if request.client else ""


async def _first(events: AsyncGenerator[Any, None]) -> Any:
    return await anext(events)


async def _joined(first: Any, rest: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    try:
        yield first
        async for body in rest:
            yield body
    finally:
        await rest.aclose()


async def _recorded(events: AsyncGenerator[Any, None], record: Record) -> AsyncGenerator[Any, None]:
    status = 499  # until the last event is out, the client may leave
    texts: dict[int, str] = {}
    try:
        async for body in events:
            for choice in body["choices"]:
                index = choice["index"]
                texts[index] = texts.get(index, "") + text_of(choice)
            yield body
        status = 200
        remember(record.services, record, [texts[index] for index in sorted(texts)])
    except Exception as error:
        status = body_of(error)[0]
        raise
    finally:
        record.end(status)
        await events.aclose()


def _shadow(services: Any, chosen: Chosen, kind: Any, asked: Sampling, name: str) -> None:
    """Let the shadow answer the same, for the log alone."""
    if chosen.shadow is None:
        return
    shadow = chosen.shadow
    alone = asked.model_copy(update={"stream": False, "n": 1})

    async def answer() -> None:
        began = time.perf_counter()
        try:
            job = kind(alone, shadow, name=name, created=0)
            body = await job.whole()
            said = {"finish": body["choices"][0]["finish_reason"], **job.usage.shown()}
        except AccordError as error:
            said = {"error": type(error).__name__}
        seconds = round(time.perf_counter() - began, 4)
        LOG.info(json.dumps({"id": name, "shadow": shadow.name, "seconds": seconds, **said}))

    task = asyncio.create_task(answer())
    services.shadows.add(task)
    task.add_done_callback(services.shadows.discard)
