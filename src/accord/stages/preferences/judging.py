"""Pairs of candidates, the tasks they become, and the verdicts of annotators made of code."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from accord.core.errors import ConfigError, DataError, Interrupted
from accord.core.files import hash_path
from accord.core.interfaces import Annotator, PreferenceStore
from accord.core.progress import progress_bar
from accord.core.types import Judgement, PromptRow, Task
from accord.judges.named import named_annotators
from accord.stages.preferences.config import Config
from accord.stages.preferences.sampling import Candidates
from accord.store.display import display_seed, shown_order
from accord.store.imports.entries import task_id, without_order

BATCH_PAIRS = 256
"""Pairs whose judgements reach the store together."""


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


def load_annotators(config: Config) -> Sequence[Annotator]:
    """The annotators that the config names; none where people judge.

    Raises:
        ConfigError: the name leads to something else, two have one name, or they are too few.
    """
    if not config.annotators:
        return ()
    annotators = named_annotators(config.annotators, seed=config.seed)
    if len(annotators) < config.annotators_per_pair:
        raise ConfigError(
            f"preferences: annotators_per_pair is {config.annotators_per_pair}, but "
            f"{config.annotators} has {len(annotators)}"
        )
    return annotators


def tasks_of(pairs: Sequence[Pair], project: str, config: Config) -> list[Task]:
    """The pairs as tasks; the same two responses to the same prompt are one."""
    policy = _version(str(config.model_name_or_path))
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
            (policy, policy),
            pair.row.columns,
            config.annotators_per_pair,
        )
    return list(tasks.values())


def _version(model: str) -> str:
    """Which policy wrote the responses: its directory, and a hash of what is in it."""
    path = Path(model)
    return f"{path.resolve()}@{hash_path(path)[:12]}" if path.exists() else model


def judge_tasks(
    tasks: Sequence[Task],
    annotators: Sequence[Annotator],
    store: PreferenceStore,
    config: Config,
    stop: object,
) -> None:
    """Ask `annotators_per_pair` annotators a task, drawn by seed; who has said it is not asked.

    Raises:
        Interrupted: it was asked to stop; judgements so far are in the store.
        DataError: an annotator lacks a column, or said something that is no verdict.
    """
    if not annotators:
        return
    said = store.said()
    with progress_bar("judging pairs", len(tasks)) as bar:
        for start in range(0, len(tasks), BATCH_PAIRS):
            if stop:
                raise Interrupted(
                    f"{store.location}: stopped after {start} pairs; run again to resume"
                )
            made = []
            for number in range(start, min(start + BATCH_PAIRS, len(tasks))):
                rng = np.random.default_rng([config.seed, 3, number])
                chosen = rng.choice(len(annotators), config.annotators_per_pair, replace=False)
                for index in sorted(int(i) for i in chosen):
                    task, annotator = tasks[number], annotators[index]
                    if (task.id, annotator.name) not in said:
                        made.append(_judge(task, annotator))
            store.take(made)
            bar.update(start + BATCH_PAIRS)


def _judge(task: Task, annotator: Annotator) -> Judgement:
    seed = display_seed(task.id, annotator.name)
    left, right = (task.responses[place] for place in shown_order(task, seed))
    row = {**task.columns, "prompt": list(task.prompt)}
    try:
        verdict = annotator.judge(row, left, right)
    except KeyError as error:
        raise DataError(
            f"annotator {annotator.name!r} needs the column {error} that the prompts do not have; "
            f"found {', '.join(row)}"
        ) from error
    if verdict not in ("a", "b", "tie"):
        raise DataError(f"annotator {annotator.name!r} said {verdict!r}; expected a, b or tie")
    return Judgement(
        annotator=annotator.name,
        annotator_kind=annotator.kind,
        prompt=task.prompt,
        response_a=left,
        response_b=right,
        verdict=verdict,
        columns=task.columns,
        display_seed=seed,
    )
