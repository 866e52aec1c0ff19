"""Answers to clients who may leave before they end, or stop reading."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine, Mapping
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from accord.serving.chat import event
from accord.serving.refusals import body_of

STALLED_S = 120.0
"""A client who takes nothing for so long has left."""

_T = TypeVar("_T")


async def until_left(receive: Receive, work: Coroutine[Any, Any, _T]) -> _T:
    """What the work gives, while the client waits for it.

    Raises:
        ClientDisconnect: he left first; the work was cancelled.
    """
    task, leaving = asyncio.create_task(work), asyncio.create_task(_left(receive))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        await _cancel(task, leaving)


class EventStream(Response):
    """Server-sent events, up to `[DONE]`; an error after the first one is an event, too.

    Args:
        events: closed when the client leaves or stalls.
        headers: beside the usual.
    """

    def __init__(
        self, events: AsyncGenerator[dict[str, Any], None], *, headers: Mapping[str, str]
    ) -> None:
        super().__init__(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
                "X-Accel-Buffering": "no",  # a proxy would hold events back
                **headers,
            }
        )
        del self.headers["content-length"]
        self.events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send them."""
        writing = asyncio.create_task(self._write(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(writing, leaving)
            await self.events.aclose()

    async def _write(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        try:
            async for body in self.events:
                await self._send(send, event(body))
        except TimeoutError:
            return
        except Exception as error:
            await self._send(send, event(body_of(error)[1]))
        await self._send(send, b"data: [DONE]\n\n")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    @staticmethod
    async def _send(send: Send, body: bytes) -> None:
        message = {"type": "http.response.body", "body": body, "more_body": True}
        # Not `wait_for`: before Python 3.12 it swallows a cancellation as `send` returns, and the
        # stream of a client who has left would go on to its end.
        async with asyncio.timeout(STALLED_S):
            await send(message)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
