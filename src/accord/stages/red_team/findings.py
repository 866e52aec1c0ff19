"""What a red team leaves behind: figures, changes, and the files that training reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from accord.core import files
from accord.core.errors import DataError
from accord.core.run_dir import RunDir
from accord.corpora.readers import read_rows
from accord.red_team.attacker_turns import plain_task
from accord.red_team.behaviours import Behaviour
from accord.red_team.campaign import Attempt, Models, read_attempt, score_all
from accord.red_team.failures import (
    better_replies,
    comparison_rows,
    distinct,
    is_held_out,
    prompt_rows,
    regression_rows,
    replay,
)
from accord.red_team.figures import KEYS, as_json, by_key, change, worst
from accord.red_team.over_refusal import change_of_refusals
from accord.red_team.scorers import Scorer
from accord.stages.red_team.config import Config
from accord.stages.red_team.parties import scorers_of
from accord.suites.base import SuiteResult

MOST_WORST = 20


@dataclass(frozen=True)
class Failures:
    """Of one campaign: how many successes, what of them is distinct, and rows that train."""

    successes: int
    distinct: list[Attempt]
    prompts: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]


def success(attempts: Sequence[Attempt], config: Config) -> dict[str, dict[str, Any]]:
    """Figures at 1 and at the budget, by everything that a report is read for."""
    ks = sorted({1, config.attempts})
    found = {name: as_json(by_key(attempts, key, ks)) for name, key in KEYS.items()}
    return {**found, "split": as_json(by_key(attempts, lambda a: split(a, config), ks))}


def split(attempt: Attempt, config: Config) -> str:
    """Whether an attack's failures may train."""
    return "held_out" if is_held_out(attempt.family, config.held_out_family) else "train"


def scored(bare: Sequence[Attempt], scorers: Sequence[Scorer]) -> list[Attempt]:
    """Attempts made elsewhere, judged by our scorers."""
    scores = score_all(scorers, [a.behaviour for a in bare], [a.response for a in bare])
    return [replace(a, scores=found) for a, found in zip(bare, scores, strict=True)]


def failures_of(
    attempts: Sequence[Attempt], scorers: Sequence[Scorer], models: Models, config: Config
) -> Failures:
    """Successes without repetitions; those of train families with what should be said instead."""
    successes = [attempt for attempt in attempts if attempt.is_success]
    kept = distinct(successes)
    train = [attempt for attempt in kept if split(attempt, config) == "train"]
    if not config.better_draws:
        return Failures(len(successes), kept, prompt_rows(train), [])
    better = better_replies(train, models, scorers, draws=config.better_draws, seed=config.seed)
    return Failures(len(successes), kept, prompt_rows(train), comparison_rows(train, better))


def write_findings(
    run_dir: RunDir,
    config: Config,
    behaviours: Sequence[Behaviour],
    attempts: Sequence[Attempt],
    failures: Sequence[Failures],
    refusals: SuiteResult | None,
) -> dict[str, Path]:
    """The folder of findings; its paths by the names of the result's fields."""
    folder = run_dir.path / "findings"
    kept = [attempt for one in failures for attempt in one.distinct]
    rows: dict[str, Sequence[Mapping[str, Any]]] = {
        "attempts": [attempt.as_row() for attempt in attempts],
        "worst": [attempt.as_row() for attempt in worst(kept, MOST_WORST)],
        "safe": refusals.rows if refusals else [],
        "prompts": [row for one in failures for row in one.prompts],
        "comparisons": [row for one in failures for row in one.comparisons],
        "regression": regression_rows(kept, config.held_out_family),
        "attacker_prompts": [attacker_row(behaviour, config) for behaviour in behaviours],
        "attacker_demonstrations": attacker_demonstrations(kept),
    }
    for name, found in rows.items():
        files.write_jsonl(folder / f"{name}.jsonl", found)
    return {
        "findings": folder,
        "attempts": folder / "attempts.jsonl",
        "prompts": folder / "prompts.jsonl",
        "comparisons": folder / "comparisons.jsonl",
        "regression_set": folder / "regression.jsonl",
        "attacker_prompts": folder / "attacker_prompts.jsonl",
        "attacker_demonstrations": folder / "attacker_demonstrations.jsonl",
    }


def attacker_row(behaviour: Behaviour, config: Config) -> dict[str, Any]:
    """A prompt on which an attacker policy is trained, with what its reward needs to know."""
    return {
        "prompt": list(plain_task(behaviour.text)),
        "behaviour": behaviour.as_row(),
        "target": config.model_name_or_path,
        "scored_by": scorers_of(config).as_row(),
    }


def attacker_demonstrations(kept: Sequence[Attempt]) -> list[dict[str, Any]]:
    """What got through in one turn, for an attacker policy to imitate before it is rewarded: from
    nothing it would hardly ever succeed.
    """
    return [
        {"prompt": list(plain_task(a.behaviour.text)), "completion": a.conversation[0]["content"]}
        for a in kept
        if len(a.conversation) == 1
    ]


def read_frozen(path: str) -> list[dict[str, Any]]:
    """A frozen set, checked before anything is asked.

    Raises:
        DataError: a row is none of `regression_rows`.
    """
    rows = read_rows(path)
    for number, row in enumerate(rows, start=1):
        try:
            read_attempt(row)
            row["split"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{path}, row {number}: no frozen failure ({type(error).__name__}: {error}); "
                "expected a regression.jsonl that a red team left"
            ) from None
    return rows


def regression_figures(
    rows: Sequence[Mapping[str, Any]],
    scorers: Sequence[Sequence[Scorer]],
    models: Models,
    config: Config,
) -> dict[str, Any]:
    """How much of the frozen set still gets through, by split and by family.

    A row is judged by those scorers that judged it when it was frozen.

    Raises:
        DataError: this run has not these scorers.
    """
    attempts: list[Attempt] = []
    names = [[scorer.name for scorer in group] for group in scorers]
    for number, row in enumerate(rows, start=1):
        if sorted(row["scores"]) not in [sorted(group) for group in names]:
            raise DataError(
                f"{config.regression}, row {number}: was judged by {', '.join(row['scores'])}; "
                "name the same scorers and probes"
            )
    for group, own in zip(scorers, names, strict=True):
        mine = [row for row in rows if sorted(row["scores"]) == sorted(own)]
        if mine:
            attempts += replay(mine, models, group, draws=config.attempts, seed=config.seed)
    splits = {_key(row): row["split"] for row in rows}
    ks = sorted({1, config.attempts})
    return {
        "rows": len(rows),
        "split": as_json(by_key(attempts, lambda a: splits[_key(a.as_row())], ks)),
        "family": as_json(by_key(attempts, KEYS["family"], ks)),
    }


def _key(row: Mapping[str, Any]) -> str:
    said = row["conversation"]
    return files.hash_json([row["behaviour"]["id"], row["attack"], said])


class Earlier(NamedTuple):
    """What an earlier run found: its attempts, and its rows of harmless prompts."""

    attempts: list[Attempt]
    safe: list[dict[str, Any]]


def read_earlier(path: str) -> Earlier:
    """The findings of an earlier run.

    Raises:
        DataError: the folder holds none.
    """
    folder = Path(path)
    if not (folder / "attempts.jsonl").is_file():
        raise DataError(f"{folder}: no attempts.jsonl; expected the findings of a red team")
    safe = folder / "safe.jsonl"
    return Earlier(
        [read_attempt(row) for row in read_rows(str(folder / "attempts.jsonl"))],
        read_rows(str(safe)) if safe.is_file() and safe.stat().st_size else [],
    )


def change_since(
    earlier: Earlier | None,
    config: Config,
    attempts: Sequence[Attempt],
    refusals: SuiteResult | None,
) -> dict[str, Any] | None:
    """Differences to the earlier run, now less then; None where there was none."""
    if earlier is None:
        return None
    # More attempts get more through: as many of both runs count.
    tried = [a.number for a in earlier.attempts if not _is_foreign(a)]
    budget = min(config.attempts, max(tried, default=config.attempts))
    now, before = (
        [a for a in each if a.number <= budget or _is_foreign(a)]
        for each in (attempts, earlier.attempts)
    )
    parts: dict[str, Callable[[Attempt], bool]] = {
        "all": lambda _: True,
        "train": lambda a: split(a, config) == "train",
        "held_out": lambda a: split(a, config) == "held_out",
    }
    parts |= {f"family/{a.family}": partial(_is_of, a.family) for a in attempts}
    moved = {
        name: change(list(filter(belongs, now)), list(filter(belongs, before)), seed=config.seed)
        for name, belongs in parts.items()
    }
    if refusals is not None:
        moved["over_refusal"] = change_of_refusals(refusals.rows, earlier.safe, seed=config.seed)
    return {name: found._asdict() for name, found in moved.items() if found is not None}


def _is_foreign(attempt: Attempt) -> bool:
    """Made elsewhere: numbered by what there was, and not by our budget."""
    return attempt.family == "people" or attempt.family.startswith("garak/")


def _is_of(family: str, attempt: Attempt) -> bool:
    return attempt.family == family
