"""Preferences: what annotators said of pairs, as append-only judgements, and what follows."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from accord.annotation.votes import percent_agreement
from accord.core import files
from accord.core.errors import DataError
from accord.core.interfaces import EngineFactory
from accord.core.run_dir import RunDir
from accord.corpora.prompts import load_prompts
from accord.stages.preferences.aggregation import aggregate, group_by_pair, split, verdicts_of
from accord.stages.preferences.config import Config
from accord.stages.preferences.events import JudgementLog, imported_comparisons, read_judgements
from accord.stages.preferences.judging import Pairs, judge_pairs, load_annotators, pair_candidates
from accord.stages.preferences.sampling import sample_candidates
from accord.training.interrupt import stop_on_signal


@dataclass(frozen=True)
class Result:
    """What the stage leaves. No prompt is in two of the three files of comparisons.

    `agreement` is the share of equal verdicts among pairs of annotators of one pair, None when no
    pair has two; `ties` counts comparisons whose p_chosen is exactly 1/2.
    """

    judgements: Path
    comparisons: Path
    heldout_comparisons: Path
    judge_comparisons: Path
    sampled_pairs: int
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


def run(config: Config, run_dir: RunDir, *, engine_factory: EngineFactory) -> Result:
    """Gather judgements from every source and export comparisons."""
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
    rows = [aggregate(group) for group in groups]
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
        judgements=log.path,
        **paths,
        sampled_pairs=len(pairs.pairs),
        cut_prompts=cut,
        skipped_prompts=pairs.skipped_prompts,
        skipped_rows=bad_rows,
        dropped_identical_candidates=pairs.dropped_identical,
        dropped_empty_candidates=pairs.dropped_empty,
        judgement_count=len(events),
        judgements_by_kind=dict(Counter(event.annotator_kind for event in events)),
        comparison_count=len(parts["comparisons"]),
        heldout_count=len(parts["heldout_comparisons"]),
        judge_count=len(parts["judge_comparisons"]),
        ties=sum(row["p_chosen"] == 0.5 for row in rows),
        agreement=percent_agreement([verdicts_of(group) for group in groups]),
        comparisons_sha256=files.hash_path(paths["comparisons"]),
    )
    _log_metrics(run_dir, result)
    return result


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
        pairs = pair_candidates(rows, candidates, seed=config.seed)
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
