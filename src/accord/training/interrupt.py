"""Ctrl-C as a request: the loop finishes its step, writes a checkpoint and says so."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """True in a boolean context once Ctrl-C (or SIGTERM) arrived."""

    def __init__(self) -> None:
        self.is_requested = False

    def __bool__(self) -> bool:
        return self.is_requested


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Catch the first SIGINT or SIGTERM; a second one acts as usual."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # signals belong to the main thread; a notebook's worker goes without
        return
    previous = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def catch(_signal: int, _frame: FrameType | None) -> None:
        request.is_requested = True
        for number, handler in previous.items():
            signal.signal(number, handler)

    for number in previous:
        signal.signal(number, catch)
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
