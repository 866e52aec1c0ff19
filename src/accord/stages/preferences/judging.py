"""Pairs of candidates, and the annotators' verdicts on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accord.core.errors import ConfigError, DataError, Interrupted
from accord.core.interfaces import Annotator
from accord.core.progress import progress_bar
from accord.core.types import Judgement, PromptRow
from accord.judges.named import named_annotators
from accord.stages.preferences.config import Config
from accord.stages.preferences.events import JudgementLog, judgement_id
from accord.stages.preferences.sampling import Candidates

BATCH_PAIRS = 256
"""Pairs whose judgements reach the disk together."""


@dataclass(frozen=True)
class Pair:
    """Two different responses to one prompt; which of them is a was drawn by the seed."""

    task_id: str
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
            pairs.append(Pair(f"sampled-{len(pairs)}", row, a, b))
    return Pairs(pairs, identical, empty, skipped, pool=len(pairs))


def load_annotators(config: Config) -> Sequence[Annotator]:
    """The annotators that the config names.

    Raises:
        ConfigError: the name leads to something else, two have one name, or they are too few.
    """
    assert config.annotators
    annotators = named_annotators(config.annotators, seed=config.seed)
    if len(annotators) < config.annotators_per_pair:
        raise ConfigError(
            f"preferences: annotators_per_pair is {config.annotators_per_pair}, but "
            f"{config.annotators} has {len(annotators)}"
        )
    return annotators


def judge_pairs(
    pairs: Sequence[Pair],
    annotators: Sequence[Annotator],
    log: JudgementLog,
    config: Config,
    stop: object,
) -> None:
    """Ask `annotators_per_pair` annotators a pair, drawn by seed; what the log has is not asked.

    Raises:
        Interrupted: it was asked to stop; judgements so far are in the log.
        DataError: an annotator lacks a column, or said something that is no verdict.
    """
    with progress_bar("judging pairs", len(pairs)) as bar:
        for start in range(0, len(pairs), BATCH_PAIRS):
            if stop:
                raise Interrupted(f"{log.path}: stopped after {start} pairs; run again to resume")
            made = []
            for number in range(start, min(start + BATCH_PAIRS, len(pairs))):
                rng = np.random.default_rng([config.seed, 3, number])
                chosen = rng.choice(len(annotators), config.annotators_per_pair, replace=False)
                for index in sorted(int(i) for i in chosen):
                    pair, annotator = pairs[number], annotators[index]
                    if _id(pair, annotator) not in log:
                        made.append(_judge(pair, annotator))
            log.append(made)
            bar.update(start + BATCH_PAIRS)


def _id(pair: Pair, annotator: Annotator) -> str:
    return judgement_id(
        pair.task_id, annotator.name, pair.row.prompt, pair.response_a, pair.response_b
    )


def _judge(pair: Pair, annotator: Annotator) -> Judgement:
    row = {**pair.row.columns, "prompt": list(pair.row.prompt)}
    try:
        verdict = annotator.judge(row, pair.response_a, pair.response_b)
    except KeyError as error:
        raise DataError(
            f"annotator {annotator.name!r} needs the column {error} that the prompts do not have; "
            f"found {', '.join(row)}"
        ) from error
    if verdict not in ("a", "b", "tie"):
        raise DataError(f"annotator {annotator.name!r} said {verdict!r}; expected a, b or tie")
    return Judgement(
        task_id=pair.task_id,
        annotator=annotator.name,
        annotator_kind=annotator.kind,
        prompt=pair.row.prompt,
        response_a=pair.response_a,
        response_b=pair.response_b,
        verdict=verdict,
        columns=pair.row.columns,
    )
