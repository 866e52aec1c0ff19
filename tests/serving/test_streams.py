"""A client who leaves a stream, at whatever moment: it ends, and what is under way for it."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from accord.serving.streams import EventStream


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
