"""Published votes of a crowd and verdicts of two judges, through the judge adapters and the store.

Source: dustalov/llmfao; the figures are those that its authors' way gives (majority .629 and one
coin .678 against GPT-4 where it chose a side, of 2,073 pairs).
"""

import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from accord.core.types import Aggregation, Judgement, Message, Task
from accord.judges.configured import Judge
from accord.judges.recorded import RecordedJudge
from accord.stages.ai_feedback.judging import judge_pairs, judgements_of
from accord.stages.ai_feedback.people import agreement
from accord.store.source import StoredPreferences

NAMES: dict[str, Any] = {"left": "a", "right": "b", "tie": "tie"}
Pair = tuple[tuple[Message, ...], str, str]


def read_pairs(folder: Path) -> dict[str, Pair]:
    """By id. Some pairs are there twice and some responses are empty, so that each is told from
    the others by its number, and by who wrote it.
    """
    found = {}
    with gzip.open(folder / "pairs-crowd.jsonl.gz", "rt") as file:
        for row in map(json.loads, file):
            prompt = (Message(role="user", content=f"{row['id']}. {row['text']}"),)
            sides = [f"{row[f'model_{x}']}: {row[f'result_{x}']}" for x in "xy"]
            found[str(row["id"])] = (prompt, sides[0], sides[1])
    return found


def read_votes(
    path: Path, pairs: Mapping[str, Pair], kind: Literal["person", "model"], name: str = ""
) -> list[Judgement]:
    with path.open() as file:
        return [
            Judgement(
                row.get("worker", name),
                kind,
                *pairs[row["id"]],
                NAMES[row["winner"]],
                task_id=row["id"],
            )
            for row in csv.DictReader(file)
        ]


@pytest.mark.slow
def test_the_judges_agree_with_the_crowd_as_published(accord_data: Path, tmp_path: Path) -> None:
    folder = accord_data / "votes/llmfao"
    pairs = read_pairs(folder)
    store = StoredPreferences("llmfao", str(tmp_path / "s.db"), may_be_new=True)
    # in the file's order: the one-coin model has a prior for left and for right
    store.put_up([Task(i, "llmfao", "pairwise", p, (x, y)) for i, (p, x, y) in pairs.items()])
    store.take(read_votes(folder / "crowd-comparisons.csv", pairs, "person"))
    assert store.by_people().keys() == {task.id for task in store.tasks()}
    tasks = store.tasks()
    by_crowd = {
        aggregation: exported(store, aggregation) for aggregation in ("majority", "one_coin")
    }
    opinions = {}
    for name in ("gpt4", "gpt3"):
        said = read_votes(folder / f"{name}-crowd-comparisons.csv", pairs, "model", name)
        judge = Judge(name, RecordedJudge(name, said), None, None, None, dict)
        opinions[name] = judge_pairs(judge, tasks, None)
        taken = judgements_of(tasks, opinions[name], judge)
        store.take(list(taken.values()))
    assert len(store.said()) == 8931 + 2 * 2139
    chose = opinions["gpt4"].p != 0.5
    assert (len(tasks), int(chose.sum())) == (2139, 2073)
    truth = opinions["gpt4"].p[chose] > 0.5
    for aggregation, published in (("majority", 0.629), ("one_coin", 0.678)):
        p = np.array([by_crowd[aggregation][task.id] for task in tasks])[chose]
        right = np.where(np.abs(p - 0.5) < 1e-12, 0.5, (p > 0.5) == truth)
        assert right.mean() == pytest.approx(published, abs=1e-3), aggregation
    people = store.by_people()
    for name in opinions:
        assert agreement(tasks, opinions[name].p, people) == by_hand(folder, name)


def exported(store: StoredPreferences, aggregation: Aggregation) -> dict[str, float]:
    """By task, the probability that its first response is the better."""
    first = {task.id: task.responses[0] for task in store.tasks()}
    rows = store.export(aggregation=aggregation, rule=None, seed=0, run="r").rows
    return {
        row["task_id"]: row["p_chosen"]
        if row["chosen"][0]["content"] == first[row["task_id"]]
        else 1 - row["p_chosen"]
        for row in rows
    }


def by_hand(folder: Path, name: str) -> dict[str, Any]:
    """From the files alone: pairs on which the crowd's majority and the judge chose a side."""
    score: dict[str, int] = defaultdict(int)
    with (folder / "crowd-comparisons.csv").open() as file:
        for row in csv.DictReader(file):
            score[row["id"]] += {"left": 1, "right": -1, "tie": 0}[row["winner"]]
    with (folder / f"{name}-crowd-comparisons.csv").open() as file:
        judge = {row["id"]: row["winner"] for row in csv.DictReader(file)}
    same = [
        (score[i] > 0) == (winner == "left")
        for i, winner in judge.items()
        if winner != "tie" and score[i]
    ]
    return {"share": pytest.approx(sum(same) / len(same)), "pairs": len(same)}
