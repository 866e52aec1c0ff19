"""Work in a thread that ends with it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


def in_passing_thread(work: Callable[[], _T]) -> _T:
    """What the work gives, or raises.

    For what computes once beside what computes all the time. OpenMP keeps a thread's helpers while
    the thread lives, and where the helpers of all threads outnumber the processors, each sleeps at
    every barrier instead of looking out for the next: a decoding step takes twice as long.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()
