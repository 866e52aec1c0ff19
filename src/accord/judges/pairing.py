"""Pairs of candidates, and the tasks they become."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accord.core.files import versioned
from accord.core.types import PromptRow, Task
from accord.engine.candidates import Candidates
from accord.store.imports.entries import task_id, without_order


@dataclass(frozen=True)
class Pair:
    """Two different responses to one prompt; which of them is a was drawn by the seed."""

    row: PromptRow
    response_a: str
    response_b: str


@dataclass(frozen=True)
class Pairs:
    """All pairs, and what gave none."""

    pairs: list[Pair]
    dropped_identical: int  # candidates that repeat another one of their prompt
    dropped_empty: int  # candidates without a visible character
    skipped_prompts: int  # prompts with fewer than two candidates left
    pool: int = 0  # pairs that there were before some were chosen


def pair_candidates(
    rows: Sequence[PromptRow], candidates: Sequence[Candidates], *, seed: int
) -> Pairs:
    """Random disjoint pairs of each prompt's distinct candidates: each is in one pair at most."""
    pairs: list[Pair] = []
    identical, empty, skipped = 0, 0, 0
    rng = np.random.default_rng([seed, 2])
    for row, found in zip(rows, candidates, strict=True):
        visible = [text for text in found.texts if text.strip()]
        distinct = list(dict.fromkeys(visible))
        empty += len(found.texts) - len(visible)
        identical += len(visible) - len(distinct)
        skipped += len(distinct) < 2
        order = rng.permutation(len(distinct))
        for i in range(0, len(order) - 1, 2):
            a, b = distinct[order[i]], distinct[order[i + 1]]
            pairs.append(Pair(row, a, b))
    return Pairs(pairs, identical, empty, skipped, pool=len(pairs))


def tasks_of(
    pairs: Sequence[Pair], project: str, *, policy: str | None, overlap: int
) -> list[Task]:
    """The pairs as tasks; the same two responses to the same prompt are one.

    Args:
        pairs: to be judged.
        project: whose tasks they become.
        policy: directory or hub name of what wrote the responses; None where that is not known.
        overlap: how many annotators judge each.
    """
    version = None if policy is None else versioned(policy)
    tasks: dict[str, Task] = {}
    for pair in pairs:
        responses, _ = without_order([pair.response_a, pair.response_b])
        name = task_id(project, "pairwise", pair.row.prompt, responses)
        tasks[name] = Task(
            name,
            project,
            "pairwise",
            pair.row.prompt,
            responses,
            (version, version),
            pair.row.columns,
            overlap,
        )
    return list(tasks.values())
