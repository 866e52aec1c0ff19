"""What computes once leaves no thread behind."""

import threading

import pytest

from accord.core.passing_thread import in_passing_thread


def test_its_thread_is_gone() -> None:
    thread = in_passing_thread(threading.current_thread)
    assert thread is not threading.current_thread()
    assert not thread.is_alive()


def test_what_it_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        in_passing_thread(lambda: 1 // 0)
