"""The verdicts of annotators made of code."""

from collections.abc import Sequence

import numpy as np

from accord.core.errors import ConfigError, Interrupted
from accord.core.interfaces import Annotator, PreferenceStore
from accord.core.progress import progress_bar
from accord.core.types import Task
from accord.judges.named import judgement_by, named_annotators
from accord.stages.preferences.config import Config

BATCH_PAIRS = 256
"""Pairs whose judgements reach the store together."""


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
                        made.append(judgement_by(annotator, task))
            store.take(made)
            bar.update(start + BATCH_PAIRS)
