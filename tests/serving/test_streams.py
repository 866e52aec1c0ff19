"""A client who leaves a stream, at whatever moment: it ends, and what is under way for it."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from accord.core.types import GeneratedToken, GenerationRequest, SamplingParams
from accord.engine.scripted import ScriptedEngine
from accord.serving import streams
from accord.serving.generating import Usage, pieces
from accord.serving.metrics import server_metrics
from accord.serving.scheduler import Scheduler
from accord.serving.streams import EventStream
from accord.web import limits
from serving.served_parts import client_of, scripted


@pytest.mark.parametrize("moment", range(12))
def test_who_leaves_while_something_is_sent_ends_the_stream(moment: int) -> None:
    """A cancellation is not lost in the moment in which a piece has just been sent."""
    sent = 0
    is_closed = False

    async def events() -> AsyncGenerator[dict[str, Any], None]:
        nonlocal is_closed
        try:
            while True:
                yield {}
        finally:
            is_closed = True

    async def leave() -> None:
        begun = asyncio.Event()

        async def send(_: Any) -> None:
            nonlocal sent
            sent += 1
            begun.set()
            await asyncio.sleep(0)
            if sent > 1000:
                raise AssertionError("nobody is there, and the stream goes on")

        async def receive() -> dict[str, str]:
            await begun.wait()
            for _ in range(moment):
                await asyncio.sleep(0)
            return {"type": "http.disconnect"}

        await EventStream(events(), headers={})({}, receive, send)  # type: ignore[arg-type]

    asyncio.run(leave())
    assert is_closed and sent < 100


class Slow(ScriptedEngine):
    """Takes minutes for what a client asks for here."""

    def _token(self, token_id: int, request: GenerationRequest) -> GeneratedToken:
        time.sleep(0.005)
        return super()._token(token_id, request)


def test_who_takes_nothing_for_long_has_left(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STALLED_S", 0.01)
    metrics, sent = server_metrics(), 0

    async def stall() -> None:
        served = scripted("said", tiny_model_dir, str, metrics, context=2**15)
        served.scheduler = Scheduler(Slow(lambda _: [40] * 2**15, end_of_turn_id=2))
        asked = [GenerationRequest((5, 6), SamplingParams(2**14), 0)]

        async def events() -> AsyncGenerator[dict[str, Any], None]:
            async with contextlib.aclosing(pieces(served, asked, (), Usage())) as found:
                async for piece in found:
                    yield {"text": piece.text}

        async def send(_: Any) -> None:
            nonlocal sent
            sent += 1
            if sent > 2:  # the head and an event went out
                await asyncio.Event().wait()

        async def receive() -> Any:
            await asyncio.Event().wait()

        await EventStream(events(), headers={})({}, receive, send)  # type: ignore[arg-type]
        await served.scheduler.stop()

    asyncio.run(asyncio.wait_for(stall(), 60))
    assert sent == 3
    assert 'accord_generations_total{finish="cancelled",model="said"} 1' in metrics.render()


def test_who_stops_sending_is_told_so(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the status and in the shape that OpenAI's clients read."""
    monkeypatch.setattr(limits, "STALLED_S", 0.01)
    told: list[Any] = []
    with client_of({"said": scripted("said", tiny_model_dir, str, server_metrics())}) as client:
        app = client.app
        headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"),
                   (b"content-length", b"100")]  # fmt: skip
        scope = {
            "type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers,
            "query_string": b"", "scheme": "http", "server": ("127.0.0.1", 80), "root_path": "",
            "http_version": "1.1", "raw_path": b"/v1/chat/completions",
        }  # fmt: skip
        begun = [{"type": "http.request", "body": b"{", "more_body": True}]

        async def receive() -> Any:
            return begun.pop() if begun else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            told.append(message)

        asyncio.run(asyncio.wait_for(app(scope, receive, send), 60))  # type: ignore[arg-type]
    assert told[0]["status"] == 408
    error = json.loads(told[1]["body"])["error"]
    assert "nothing of the body came" in error["message"]
    assert error["type"] == "invalid_request_error"
