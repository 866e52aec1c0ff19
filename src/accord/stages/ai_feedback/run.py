"""AI feedback: what a judge says of responses, as judgements like people's, and what follows."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from accord.annotation.tables import Floats
from accord.core import files
from accord.core.device import seed_everything
from accord.core.errors import DataError, Waiting
from accord.core.interfaces import EngineFactory, JudgedStore, JudgedStoreFactory
from accord.core.run_dir import RunDir
from accord.core.types import ExportedComparisons, Task
from accord.corpora.judgements import read_judgements
from accord.corpora.splitting import split
from accord.judges.configured import Judge, judge_of
from accord.stages.ai_feedback.config import Config
from accord.stages.ai_feedback.judging import (
    Opinions,
    judge_pairs,
    judge_rankings,
    judgements_of,
    ratings_of,
)
from accord.stages.ai_feedback.people import ROUTED, agreement, calibrated, described, routed_pairs
from accord.stages.ai_feedback.sources import Found, find_tasks
from accord.training.interrupt import stop_on_signal

OWN_STORE = "judgements.db"
"""The store of a step that names no project."""
ANSWERS = "answers.jsonl"
"""What the judge has said, by content: nothing in it is asked, or paid for, again."""


@dataclass(frozen=True)
class Result:
    """What the stage leaves. No prompt is in both files of comparisons.

    `judgements` has a row each of what went into the export; `judged` a row a pair with the judge's
    probabilities in both orders. `opinions` counts pairs, abstentions, bare verdicts that changed
    with the order ("inconsistent", a tie), the share of pairs with one verdict in both orders, and
    of verdicts for what was shown first (1/2 is no bias). `calibration` has the reliability of
    the likelier side before and after, over pairs that people judged, each read by a map that was
    fitted on others; `agreement` how often judge and people chose the same side. `routed` counts
    pairs that were left to people, by reason; `spent` has tokens and their price.
    """

    comparisons: Path
    heldout_comparisons: Path
    judgements: Path
    judged: Path
    judge: str
    opinions: dict[str, Any]
    counts: dict[str, int]
    spent: dict[str, float]
    calibration: dict[str, Any] | None
    agreement: dict[str, Any]
    routed: dict[str, int]
    judgement_count: int
    judgements_by_kind: dict[str, int]
    comparison_count: int
    heldout_count: int
    cut_prompts: int
    skipped_prompts: int
    dropped_identical_candidates: int
    dropped_empty_candidates: int
    comparisons_sha256: str
    export_sha256: str
    store: str


def run(
    config: Config,
    run_dir: RunDir,
    *,
    engine_factory: EngineFactory,
    store_factory: JudgedStoreFactory,
) -> Result:
    """Judge, store, wait for people where some pairs are left to them, export."""
    seed_everything(config.seed)
    people_elsewhere = [said for name in config.human_judgements for said in read_judgements(name)]
    store = store_factory(run_dir.path / OWN_STORE)
    with stop_on_signal() as stop:
        judge = judge_of(
            config,
            run_dir.path / ANSWERS,
            max_length=config.max_length,
            engine_factory=engine_factory,
            stop=stop,
        )
        assert judge is not None  # the config has one
        found = find_tasks(config, run_dir, engine_factory, store, stop)
        store.put_up(found.tasks)  # with their columns, before anybody else names them
        store.take(people_elsewhere)
        if config.compare == "ranking":
            told = _ranked(found, judge, store, stop)
        else:
            told = _compared(found, config, run_dir, judge, store, stop)
    exported = store.export(
        aggregation=config.aggregation,
        rule=config.value_rule(),
        seed=config.seed,
        run=str(run_dir.path.resolve()),
        only=frozenset(task.id for task in found.tasks),
        calibrated=told.calibrated,
    )
    return _result(config, run_dir, judge, store, found, told, exported)


@dataclass(frozen=True)
class _Told:
    """What there is to report of the judging; `calibrated` is by task."""

    judge: str
    opinions: dict[str, Any]
    rows: list[dict[str, Any]]
    calibrated: dict[str, float] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    agreement: dict[str, Any] = field(default_factory=dict)
    routed: dict[str, int] = field(default_factory=dict)


def _ranked(found: Found, judge: Judge, store: JudgedStore, stop: object) -> _Told:
    assert judge.ranks is not None  # the config says so
    answers = judge_rankings(judge.ranks, found.tasks, stop)
    store.take_answers(answers)
    opinions = {"rankings": len(found.tasks), "abstained": len(found.tasks) - len(answers)}
    rows = [{"prompt": list(a.prompt), "responses": list(a.responses), **a.answer} for a in answers]
    return _Told(judge.ranks.name, opinions, rows)


def _compared(
    found: Found,
    config: Config,
    run_dir: RunDir,
    judge: Judge,
    store: JudgedStore,
    stop: object,
) -> _Told:
    """Opinions of pairs, of which the doubtful ones wait for people.

    Raises:
        Waiting: people have not judged them all.
    """
    tasks = found.tasks
    opinions = judge_pairs(judge, tasks, stop)
    # What people are asked because the judge is in doubt is no fair sample of how good it is.
    before: Mapping[str, Any] = run_dir.read_json(ROUTED) or {}
    people = {name: p for name, p in store.by_people().items() if name not in before}
    mapped = calibrated(tasks, opinions.p, people, config)
    p = opinions.p if mapped is None else mapped.p
    routed = routed_pairs(tasks, p, people, config, run_dir)
    _keep(judge, [t for t in tasks if t.id not in routed], tasks, opinions, store)
    _ask_people([t for t in tasks if t.id in routed], config, store)
    _keep(judge, tasks, tasks, opinions, store)
    by_task = {t.id: float(x) for t, x in zip(tasks, p, strict=True) if not math.isnan(x)}
    return _Told(
        judge.name,
        opinions.figures(tasks),
        _rows(judge, tasks, opinions, p, routed),
        {} if mapped is None else by_task,
        described(mapped, config.calibration),
        agreement(tasks, opinions.p, people),
        dict(Counter(why["reason"] for why in routed.values())),
    )


def _keep(
    judge: Judge,
    wanted: Sequence[Task],
    tasks: Sequence[Task],
    opinions: Opinions,
    store: JudgedStore,
) -> None:
    """The judge's opinions of some tasks, in the store; those that are there stay."""
    said = judgements_of(tasks, opinions, judge)
    known = {name for name, annotator in store.said() if annotator == judge.name}
    store.take([said[t.id] for t in wanted if t.id in said and t.id not in known])
    ids = {task.id for task in wanted}
    if opinions.grades:
        kept = [n for n, task in enumerate(tasks) if task.id in ids]
        few = replace(opinions, grades=[opinions.grades[n] for n in kept])
        store.take_answers(ratings_of([tasks[n] for n in kept], few, judge.name))


def _ask_people(tasks: Sequence[Task], config: Config, store: JudgedStore) -> None:
    """Put the doubtful pairs up.

    Raises:
        Waiting: they are not all judged.
    """
    store.ask_people([replace(task, overlap=config.people_per_pair) for task in tasks])
    unfilled = store.unfilled({task.id for task in tasks})
    if unfilled:
        raise Waiting(
            f"{store.location}: project {store.project!r} waits for {unfilled} judgements of "
            f"{len(tasks)} pairs of which the judge is in doubt; people give them in `accord label "
            f"--project {store.project}`, and the same command goes on from here"
        )


def _rows(
    judge: Judge,
    tasks: Sequence[Task],
    opinions: Opinions,
    p: Floats,
    routed: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    def number(value: float) -> float | None:
        return None if math.isnan(value) else float(value)

    inconsistent = opinions.orders.is_inconsistent()
    return [
        {
            "task_id": task.id,
            "prompt": list(task.prompt),
            "responses": list(task.responses),
            "p_first": number(opinions.p[n]),
            "p_first_calibrated": number(p[n]),
            "p_shown_first": number(opinions.orders.forth[n]),
            "p_shown_second": number(1 - opinions.orders.back[n]),
            "inconsistent": bool(inconsistent[n]),
            "routed": routed.get(task.id),
            **judge.record(task.prompt, *task.responses),
            **({"grades": opinions.grades[n]} if opinions.grades else {}),
        }
        for n, task in enumerate(tasks)
    ]


def _result(
    config: Config,
    run_dir: RunDir,
    judge: Judge,
    store: JudgedStore,
    found: Found,
    told: _Told,
    exported: ExportedComparisons,
) -> Result:
    parts = split(exported.rows, heldout=config.heldout_fraction, judge=0.0, seed=config.seed)
    if not parts["comparisons"]:
        raise DataError(
            f"{run_dir.path}: none of {len(exported.rows)} comparisons is left to train on; judge "
            "more, or lower heldout_fraction"
        )
    del parts["judge_comparisons"]  # nobody else judges
    paths = {name: run_dir.path / f"{name}.jsonl" for name in parts}
    for name, path in paths.items():
        files.write_jsonl(path, parts[name])
    judgements, judged = run_dir.path / "judgements.jsonl", run_dir.path / "judged.jsonl"
    files.write_jsonl(judgements, exported.judgements)
    files.write_jsonl(judged, told.rows)
    counts = dict(judge.counts())
    result = Result(
        **paths,
        judgements=judgements,
        judged=judged,
        judge=told.judge,
        opinions=told.opinions,
        counts=counts,
        spent=config.spent(counts),
        calibration=told.calibration,
        agreement=told.agreement,
        routed=told.routed,
        judgement_count=len(exported.judgements),
        judgements_by_kind=dict(Counter(row["annotator_kind"] for row in exported.judgements)),
        comparison_count=len(parts["comparisons"]),
        heldout_count=len(parts["heldout_comparisons"]),
        cut_prompts=found.cut_prompts,
        skipped_prompts=found.skipped_prompts,
        dropped_identical_candidates=found.dropped_identical,
        dropped_empty_candidates=found.dropped_empty,
        comparisons_sha256=files.hash_path(paths["comparisons"]),
        export_sha256=exported.sha256,
        store=store.location if config.project else OWN_STORE,
    )
    _log_metrics(run_dir, result)
    return result


def _log_metrics(run_dir: RunDir, result: Result) -> None:
    run_dir.rewind_metrics(0)
    values = {f"opinions/{k}": v for k, v in result.opinions.items() if v is not None}
    values |= {f"spent/{name}": value for name, value in result.spent.items()}
    run_dir.log(1, {**values, "comparisons": result.comparison_count})
