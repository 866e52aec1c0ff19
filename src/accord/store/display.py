"""The order in which somebody sees a task's responses: drawn by a seed, the same every time."""

import hashlib

import numpy as np

from accord.core.types import Lease, Task


def lease_of(lease: str, task: Task, annotator: str, until: float) -> Lease:
    """A lease with the order that this annotator sees."""
    seed = display_seed(task.id, annotator)
    return Lease(lease, task, annotator, shown_order(task, seed), seed, until)


def display_seed(task_id: str, annotator: str) -> int:
    """Of the order in which an annotator sees a task's responses: the same whenever he comes."""
    digest = hashlib.sha256(f"{task_id}\0{annotator}".encode()).digest()
    return int.from_bytes(digest[:6], "big")


def shown_order(task: Task, seed: int) -> tuple[int, ...]:
    """A permutation of the task's responses, drawn by the seed."""
    drawn = np.random.default_rng(seed).permutation(len(task.responses))
    return tuple(int(place) for place in drawn)
