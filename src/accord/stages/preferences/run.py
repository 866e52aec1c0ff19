"""Preferences: what annotators said of pairs, as append-only judgements, and what follows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from accord.annotation.votes import percent_agreement
from accord.core import files
from accord.core.errors import DataError, Waiting
from accord.core.interfaces import (
    Annotator,
    EngineFactory,
    PreferenceStore,
    PreferenceStoreFactory,
)
from accord.core.run_dir import RunDir
from accord.core.types import ExportedComparisons
from accord.corpora.judgements import imported_comparisons, read_judgements
from accord.corpora.splitting import split
from accord.engine.candidates import prompts_of, sample_candidates
from accord.judges.pairing import Pairs, pair_candidates, tasks_of
from accord.stages.preferences.choosing import choose_pairs
from accord.stages.preferences.config import Config
from accord.stages.preferences.judging import judge_tasks, load_annotators
from accord.training.interrupt import stop_on_signal

OWN_STORE = "judgements.db"
"""The store of a step that names no project."""
PROMPTS = "prompts.jsonl"


@dataclass(frozen=True)
class Result:
    """What the stage leaves. No prompt is in two of the three files of comparisons.

    `labels` (of single responses: thumbs, successes) and `demonstrations` (responses that somebody
    has rewritten) have no prompt that is held out. Each file is empty where there is nothing of its
    kind.

    `prompts` are those that were responded to, where it sampled. `judgements` has a row each of
    what went in, as `accord data export --what judgements` writes;
    `export_sha256` is the name under which the store remembers them, and `store` where it is: a
    database, or a file beside this result.

    `agreement` is the share of equal verdicts among pairs of annotators of one pair, None when no
    pair has two; `ties` counts comparisons whose p_chosen is exactly 1/2.
    """

    prompts: Path
    judgements: Path
    comparisons: Path
    heldout_comparisons: Path
    judge_comparisons: Path
    labels: Path
    demonstrations: Path
    sampled_pairs: int
    judged_pairs: int
    cut_prompts: int
    skipped_prompts: int
    skipped_rows: int
    dropped_identical_candidates: int
    dropped_empty_candidates: int
    judgement_count: int
    judgements_by_kind: dict[str, int]
    comparison_count: int
    heldout_count: int
    judge_count: int
    label_count: int
    demonstration_count: int
    ties: int
    agreement: float | None
    comparisons_sha256: str
    export_sha256: str
    store: str


def run(
    config: Config,
    run_dir: RunDir,
    *,
    engine_factory: EngineFactory,
    store_factory: PreferenceStoreFactory,
) -> Result:
    """Fill the store from every source, wait for people where they judge, export what they said."""
    store = store_factory(run_dir.path / OWN_STORE)
    filled = _fill(config, run_dir, engine_factory, store)
    exported = store.export(
        aggregation=config.aggregation,
        rule=config.value_rule(),
        seed=config.seed,
        run=str(run_dir.path.resolve()),
        only=filled.task_ids,
    )
    parts = _parts(exported, config, run_dir)
    paths = {name: run_dir.path / f"{name}.jsonl" for name in parts}
    for name, part in parts.items():
        files.write_jsonl(paths[name], part)
    judgements = run_dir.path / "judgements.jsonl"
    files.write_jsonl(judgements, exported.judgements)
    result = Result(
        prompts=run_dir.path / PROMPTS,
        judgements=judgements,
        **paths,
        sampled_pairs=filled.pairs.pool,
        judged_pairs=len(filled.pairs.pairs),
        cut_prompts=filled.cut_prompts,
        skipped_prompts=filled.pairs.skipped_prompts,
        skipped_rows=filled.bad_rows,
        dropped_identical_candidates=filled.pairs.dropped_identical,
        dropped_empty_candidates=filled.pairs.dropped_empty,
        judgement_count=len(exported.judgements),
        judgements_by_kind=dict(Counter(row["annotator_kind"] for row in exported.judgements)),
        comparison_count=len(parts["comparisons"]),
        heldout_count=len(parts["heldout_comparisons"]),
        judge_count=len(parts["judge_comparisons"]),
        label_count=len(parts["labels"]),
        demonstration_count=len(parts["demonstrations"]),
        ties=sum(row.get("p_chosen") == 0.5 for row in exported.rows),
        agreement=percent_agreement(exported.verdicts),
        comparisons_sha256=files.hash_path(paths["comparisons"]),
        export_sha256=exported.sha256,
        store=store.location if config.project else OWN_STORE,
    )
    _log_metrics(run_dir, result)
    return result


def _parts(
    exported: ExportedComparisons, config: Config, run_dir: RunDir
) -> dict[str, list[dict[str, Any]]]:
    """By the name of its file in the result.

    Raises:
        DataError: nothing is left to train on.
    """
    heldout, seed = config.heldout_fraction, config.seed
    parts = split(exported.rows, heldout=heldout, judge=config.judge_fraction, seed=seed)
    # No judge learns from these, so none is kept for one.
    for name, rows in (("labels", exported.labels), ("demonstrations", exported.demonstrations)):
        parts[name] = split(rows, heldout=heldout, judge=0.0, seed=seed)["comparisons"]
    if not (parts["comparisons"] or parts["labels"] or parts["demonstrations"]):
        raise DataError(
            f"{run_dir.path}: none of {len(exported.rows)} comparisons, {len(exported.labels)} "
            f"labels and {len(exported.demonstrations)} demonstrations is left to train on; sample "
            "more prompts, or lower heldout_fraction and judge_fraction"
        )
    return parts


@dataclass(frozen=True)
class _Filled:
    """What the step put into the store; `task_ids` is None where everything there is meant."""

    pairs: Pairs = field(default_factory=lambda: Pairs([], 0, 0, 0))
    task_ids: frozenset[str] | None = None
    cut_prompts: int = 0
    bad_rows: int = 0


def _fill(
    config: Config, run_dir: RunDir, engine_factory: EngineFactory, store: PreferenceStore
) -> _Filled:
    # What can be refused is refused before anything is sampled.
    imported = [event for name in config.judgements for event in read_judgements(name)]
    pairs_elsewhere, bad_rows = imported_comparisons(
        config.dataset_name, max_bad_rows=config.max_bad_rows
    )
    annotators = load_annotators(config)
    filled = _Filled(bad_rows=bad_rows)
    if elsewhere := [*imported, *pairs_elsewhere]:
        store.take(elsewhere)  # first: nobody is asked again what he has said of a pair
    if config.model_name_or_path:
        filled = _sample(config, run_dir, engine_factory, store, annotators, filled)
    return filled


def _sample(
    config: Config,
    run_dir: RunDir,
    engine_factory: EngineFactory,
    store: PreferenceStore,
    annotators: Sequence[Annotator],
    filled: _Filled,
) -> _Filled:
    """Pairs of the policy's responses, judged: by annotators made of code, or by people.

    Raises:
        Waiting: people have not judged them all.
    """
    rows = prompts_of(config)
    files.write_jsonl(
        run_dir.path / PROMPTS, [{**r.columns, "prompt": list(r.prompt)} for r in rows]
    )
    with stop_on_signal() as stop:
        candidates = sample_candidates(rows, config, run_dir, engine_factory, stop)
        pool = pair_candidates(rows, candidates, seed=config.seed)
        pairs = replace(pool, pairs=choose_pairs(pool.pairs, config), pool=len(pool.pairs))
        tasks = tasks_of(
            pairs.pairs,
            store.project,
            policy=config.model_name_or_path,
            overlap=config.annotators_per_pair,
        )
        ids = frozenset(task.id for task in tasks)
        store.put_up(tasks)
        judge_tasks(tasks, annotators, store, config, stop)
    if not annotators and (unfilled := store.unfilled(ids)):
        raise Waiting(
            f"{store.location}: project {store.project!r} waits for {unfilled} judgements of "
            f"{len(ids)} pairs; people give them in `accord label --project {store.project}`, and "
            "the same command goes on from here"
        )
    # A store of the step's own has nothing else in it.
    only = ids if config.project else None
    cut = sum(found.was_cut for found in candidates)
    return replace(filled, pairs=pairs, task_ids=only, cut_prompts=cut)


def _log_metrics(run_dir: RunDir, result: Result) -> None:
    run_dir.rewind_metrics(0)
    counts = {
        "judgements": result.judgement_count,
        "comparisons": result.comparison_count,
        "comparisons/heldout": result.heldout_count,
        "comparisons/judge": result.judge_count,
        "ties": result.ties,
    }
    agreement = {} if result.agreement is None else {"agreement": result.agreement}
    run_dir.log(1, {**counts, **agreement})
