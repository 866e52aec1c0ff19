"""Preferences: what annotators said of pairs, as append-only judgements, and what follows."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from accord.annotation.votes import percent_agreement
from accord.core import files
from accord.core.errors import DataError
from accord.core.interfaces import EngineFactory, PreferenceSource
from accord.core.run_dir import RunDir
from accord.core.types import Verdict
from accord.corpora.prompts import load_prompts
from accord.stages.preferences.aggregation import aggregate, group_by_pair, split, verdicts_of
from accord.stages.preferences.choosing import choose_pairs
from accord.stages.preferences.config import Config
from accord.stages.preferences.events import JudgementLog, imported_comparisons, read_judgements
from accord.stages.preferences.judging import Pairs, judge_pairs, load_annotators, pair_candidates
from accord.stages.preferences.sampling import sample_candidates
from accord.training.interrupt import stop_on_signal


@dataclass(frozen=True)
class Result:
    """What the stage leaves. No prompt is in two of the three files of comparisons.

    From a store come `export_sha256`, under which it remembers the export, and `store`, where it
    is; `judgements` then has rows of any kind, as `accord data export --what judgements` writes.

    `agreement` is the share of equal verdicts among pairs of annotators of one pair, None when no
    pair has two; `ties` counts comparisons whose p_chosen is exactly 1/2.
    """

    judgements: Path
    comparisons: Path
    heldout_comparisons: Path
    judge_comparisons: Path
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
    ties: int
    agreement: float | None
    comparisons_sha256: str
    export_sha256: str | None = None
    store: str | None = None


@dataclass(frozen=True)
class _Gathered:
    """Comparisons before they are split, the judgements behind them, and what was left out."""

    rows: list[dict[str, Any]]
    judgements: Path
    kinds: list[str]
    verdicts: list[list[Verdict]]
    pairs: Pairs = field(default_factory=lambda: Pairs([], 0, 0, 0))
    cut_prompts: int = 0
    bad_rows: int = 0
    export_sha256: str | None = None
    store: str | None = None


def run(
    config: Config,
    run_dir: RunDir,
    *,
    engine_factory: EngineFactory,
    source: PreferenceSource | None = None,
) -> Result:
    """Gather judgements from every source, or from the store alone, and export comparisons."""
    if source is not None:
        gathered = _from_store(config, run_dir, source)
    else:
        gathered = _from_sources(config, run_dir, engine_factory)
    rows = gathered.rows
    parts = split(
        rows, heldout=config.heldout_fraction, judge=config.judge_fraction, seed=config.seed
    )
    if not parts["comparisons"]:
        raise DataError(
            f"{run_dir.path}: none of {len(rows)} comparisons is left to train on; sample more "
            "prompts, or lower heldout_fraction and judge_fraction"
        )
    paths = {name: run_dir.path / f"{name}.jsonl" for name in parts}
    for name, part in parts.items():
        files.write_jsonl(paths[name], part)
    result = Result(
        judgements=gathered.judgements,
        **paths,
        sampled_pairs=gathered.pairs.pool,
        judged_pairs=len(gathered.pairs.pairs),
        cut_prompts=gathered.cut_prompts,
        skipped_prompts=gathered.pairs.skipped_prompts,
        skipped_rows=gathered.bad_rows,
        dropped_identical_candidates=gathered.pairs.dropped_identical,
        dropped_empty_candidates=gathered.pairs.dropped_empty,
        judgement_count=len(gathered.kinds),
        judgements_by_kind=dict(Counter(gathered.kinds)),
        comparison_count=len(parts["comparisons"]),
        heldout_count=len(parts["heldout_comparisons"]),
        judge_count=len(parts["judge_comparisons"]),
        ties=sum(row.get("p_chosen") == 0.5 for row in rows),
        agreement=percent_agreement(gathered.verdicts),
        comparisons_sha256=files.hash_path(paths["comparisons"]),
        export_sha256=gathered.export_sha256,
        store=gathered.store,
    )
    _log_metrics(run_dir, result)
    return result


def _from_sources(config: Config, run_dir: RunDir, engine_factory: EngineFactory) -> _Gathered:
    # What can be refused is refused before anything is sampled.
    imported = [event for name in config.judgements for event in read_judgements(name)]
    pairs_elsewhere, bad_rows = imported_comparisons(
        config.dataset_name, max_bad_rows=config.max_bad_rows
    )
    imported += pairs_elsewhere
    log = JudgementLog(run_dir.path / "judgements.jsonl")
    pairs, cut = Pairs([], 0, 0, 0), 0
    if config.model_name_or_path:
        pairs, cut = _sample_and_judge(config, run_dir, engine_factory, log)
    log.append(imported)
    events = log.events()
    groups = group_by_pair(events)
    return _Gathered(
        rows=[aggregate(group) for group in groups],
        judgements=log.path,
        kinds=[event.annotator_kind for event in events],
        verdicts=[verdicts_of(group) for group in groups],
        pairs=pairs,
        cut_prompts=cut,
        bad_rows=bad_rows,
    )


def _from_store(config: Config, run_dir: RunDir, source: PreferenceSource) -> _Gathered:
    exported = source.export(
        aggregation=config.aggregation,
        rule=config.value_rule(),
        seed=config.seed,
        run=str(run_dir.path.resolve()),
    )
    path = run_dir.path / "judgements.jsonl"
    files.write_jsonl(path, exported.judgements)
    return _Gathered(
        rows=exported.rows,
        judgements=path,
        kinds=[row["annotator_kind"] for row in exported.judgements],
        verdicts=exported.verdicts,
        export_sha256=exported.sha256,
        store=source.location,
    )


def _sample_and_judge(
    config: Config, run_dir: RunDir, engine_factory: EngineFactory, log: JudgementLog
) -> tuple[Pairs, int]:
    """The judged pairs, and how many prompts were cut; the verdicts are in the log."""
    assert config.prompts
    annotators = load_annotators(config)
    rows = load_prompts(config.prompts)
    rows = rows[: config.max_prompts] if config.max_prompts >= 0 else rows
    with stop_on_signal() as stop:
        candidates = sample_candidates(rows, config, run_dir, engine_factory, stop)
        pool = pair_candidates(rows, candidates, seed=config.seed)
        pairs = replace(pool, pairs=choose_pairs(pool.pairs, config), pool=len(pool.pairs))
        judge_pairs(pairs.pairs, annotators, log, config, stop)
    return pairs, sum(found.was_cut for found in candidates)


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
