"""What a request may bring, and how slowly."""

import asyncio
from typing import Any

import pytest
from fastapi import HTTPException

from accord.web import limits
from accord.web.limits import limited


def receiving(*messages: dict[str, Any]) -> Any:
    """Gives these, and then nothing more."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        return left.pop(0) if left else await asyncio.Event().wait()  # type: ignore[return-value]

    return receive


def piece(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_that_does_not_go_on_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STALLED_S", 0.01)

    async def read() -> None:
        receive = limited(receiving(piece(b"ab", more=True)), 10)
        assert (await receive())["body"] == b"ab"
        await receive()

    with pytest.raises(HTTPException) as caught:
        asyncio.run(read())
    assert caught.value.status_code == 408


def test_once_it_is_whole_the_client_may_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STALLED_S", 0.01)

    async def read() -> None:
        receive = limited(receiving(piece(b"ab", more=True), piece(b"c", more=False)), 10)
        assert [(await receive())["body"] for _ in range(2)] == [b"ab", b"c"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.1)

    asyncio.run(read())


def test_a_body_has_a_bound() -> None:
    async def read() -> None:
        receive = limited(receiving(piece(b"ab", more=True), piece(b"c", more=True)), 2)
        await receive()
        await receive()

    with pytest.raises(HTTPException) as caught:
        asyncio.run(read())
    assert caught.value.status_code == 413
