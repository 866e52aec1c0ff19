"""How often somebody may come, how much he may bring, and how slowly."""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from fastapi import HTTPException
from starlette.types import Message, Receive

_MOST_KEYS = 100_000
"""Remembered at once; the one that came longest ago is forgotten first."""
STALLED_S = 60.0
"""Who sends nothing of his body for so long is not waited for."""


class RateLimiter:
    """Lets each key in `most` times at once, and then as often as the tokens come back.

    A token bucket: `most` tokens, refilled evenly within `per_s` seconds.

    Args:
        most: tokens of a full bucket.
        per_s: seconds in which an empty one is full again.
        now: the clock, in seconds; one that jumps back refills nothing.
    """

    def __init__(
        self, most: int, per_s: float, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.most = most
        self.per_s = per_s
        self.now = now
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, key: Hashable) -> float:
        """Take a token of the key's. 0 lets it in; else there was none, and will be in so long."""
        with self._lock:
            now = self.now()
            tokens, at = self._buckets.pop(key, (float(self.most), now))
            tokens = min(self.most, tokens + max(0.0, now - at) * self.most / self.per_s)
            is_in = tokens >= 1
            self._buckets[key] = (tokens - is_in, now)
            if len(self._buckets) > _MOST_KEYS:
                self._buckets.popitem(last=False)
            return 0.0 if is_in else (1 - tokens) * self.per_s / self.most

    def forget(self, key: Hashable) -> None:
        """Fill a key's bucket."""
        with self._lock:
            self._buckets.pop(key, None)


def limited(receive: Receive, most_bytes: int) -> Receive:
    """A request's body as it comes, up to so many bytes, and without long pauses.

    Raises:
        HTTPException: 413, on the first piece that is too much; 408, where the next one does not
            come.
    """
    seen, is_whole = 0, False

    async def receive_some() -> Message:
        nonlocal seen, is_whole
        if is_whole:  # what comes now is that the client leaves, whenever that is
            return await receive()
        try:
            async with asyncio.timeout(STALLED_S):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"nothing of the body came for {STALLED_S:g} s") from None
        is_whole = not message.get("more_body", False)
        seen += len(message.get("body", b""))
        if seen > most_bytes:
            raise HTTPException(413, f"at most {most_bytes} bytes, please; nothing was stored")
        return message

    return receive_some
