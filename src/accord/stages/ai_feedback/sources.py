"""What is to be judged: from files, from a project's tasks, or sampled; all of it as tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

from accord.core import files
from accord.core.errors import DataError
from accord.core.interfaces import EngineFactory, JudgedStore
from accord.core.run_dir import RunDir
from accord.core.types import PromptRow, Task
from accord.corpora.formats import to_responses
from accord.corpora.readers import read_rows
from accord.engine.candidates import Candidates, prompts_of, sample_candidates
from accord.judges.pairing import pair_candidates, tasks_of
from accord.stages.ai_feedback.config import Config
from accord.store.imports.entries import task_id, without_order

PROMPTS = "prompts.jsonl"
TASKS = "tasks.json"
"""Ids of the project's tasks that are judged."""


@dataclass(frozen=True)
class Found:
    """Tasks, and what gave none."""

    tasks: list[Task]
    cut_prompts: int = 0
    skipped_prompts: int = 0
    """with fewer than two different responses"""
    dropped_identical: int = 0
    dropped_empty: int = 0


def find_tasks(
    config: Config,
    run_dir: RunDir,
    engine_factory: EngineFactory,
    store: JudgedStore,
    stop: object,
) -> Found:
    """Everything that the config names, each task once.

    Raises:
        DataError: a row cannot be used, or there is nothing to judge.
        Interrupted: it was asked to stop; what was sampled is on disk.
    """
    parts = [_from_files(config, store.project)]
    if config.tasks != "none":
        parts.append(Found(_from_project(config, run_dir, store)))
    if config.model_name_or_path:
        rows = prompts_of(config)
        told = [{**row.columns, "prompt": list(row.prompt)} for row in rows]
        files.write_jsonl(run_dir.path / PROMPTS, told)
        candidates = sample_candidates(rows, config, run_dir, engine_factory, stop)
        parts.append(_made(rows, candidates, config, store.project, config.model_name_or_path))
    tasks = {task.id: task for part in parts for task in part.tasks}
    taken = list(tasks.values())
    if config.max_judged >= 0:
        taken = taken[: config.max_judged]
    if not taken:
        raise DataError(f"{run_dir.path}: nothing to judge: no prompt has two different responses")
    return Found(
        taken,
        sum(part.cut_prompts for part in parts),
        sum(part.skipped_prompts for part in parts),
        sum(part.dropped_identical for part in parts),
        sum(part.dropped_empty for part in parts),
    )


def _from_files(config: Config, project: str) -> Found:
    rows, candidates = [], []
    for name in config.dataset_name:
        for number, row in enumerate(read_rows(name), start=1):
            prompt, texts = to_responses(row, f"{name}, row {number}")
            rows.append(prompt)
            candidates.append(Candidates(texts, was_cut=False))
    return _made(rows, candidates, config, project, None)


def _from_project(config: Config, run_dir: RunDir, store: JudgedStore) -> list[Task]:
    """Tasks that are there when the step starts: its own judgements do not change them later."""
    kind = "pairwise" if config.compare == "pairs" else "ranking"
    every = {task.id: task for task in store.tasks() if task.kind == kind}
    listed = run_dir.read_json(TASKS)
    if listed is None:
        judged = {name for name, _ in store.said()} if config.tasks == "unjudged" else set()
        listed = {"ids": [name for name in every if name not in judged]}
        run_dir.write_json(TASKS, listed)
    return [every[name] for name in listed["ids"]]


def _made(
    rows: Sequence[PromptRow],
    candidates: Sequence[Candidates],
    config: Config,
    project: str,
    policy: str | None,
) -> Found:
    cut = sum(found.was_cut for found in candidates)
    pairs = pair_candidates(rows, candidates, seed=config.seed)
    if config.compare == "pairs":
        tasks = tasks_of(pairs.pairs, project, policy=policy, overlap=1)
    else:
        tasks = _rankings(rows, candidates, project, policy)
    return Found(tasks, cut, pairs.skipped_prompts, pairs.dropped_identical, pairs.dropped_empty)


def _rankings(
    rows: Sequence[PromptRow], candidates: Sequence[Candidates], project: str, policy: str | None
) -> list[Task]:
    """All different responses to each prompt, in an order that tells nothing."""
    version = None if policy is None else files.versioned(policy)
    tasks = []
    for row, found in zip(rows, candidates, strict=True):
        distinct = dict.fromkeys(text for text in found.texts if text.strip())
        if len(distinct) < 2:
            continue
        responses, _ = without_order(list(distinct))
        name = task_id(project, "ranking", row.prompt, responses)
        policies = (version,) * len(responses)
        tasks.append(Task(name, project, "ranking", row.prompt, responses, policies, row.columns))
    return tasks
