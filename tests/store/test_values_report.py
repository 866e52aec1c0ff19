"""Two groups that want the opposite of each other, and one rule's winner is the other's loser."""

import json
from pathlib import Path
from typing import Any

import pytest

from accord import cli
from accord.core.errors import ConfigError, DataError
from accord.core.types import Message, Submission, Task, ValueRule
from accord.store.accounts import SqlAccounts
from accord.store.database import Database
from accord.store.judgements import SqlJudgements, Standing
from accord.store.queue import SqlTaskQueue
from accord.store.ruling import ruled
from accord.store.source import StoredPreferences
from accord.store.values_report import values_report

NORTH, SOUTH = 8, 4


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Everybody likes a on the first three prompts; on the others the south likes b."""
    opened = Database.open(path=tmp_path / "store.db")
    queue, accounts = SqlTaskQueue(opened), SqlAccounts(opened)
    queue.add(
        [
            Task(
                f"t{n}", "p", "pairwise", (Message(role="user", content=f"q{n}"),), ("x", "y"),
                overlap=NORTH + SOUTH + 1,
            )
            for n in range(6)
        ]
    )  # fmt: skip
    people = [("north", NORTH), ("south", SOUTH), ("west", 1)]
    for group, count in people:
        for number in range(count):
            name = f"{group}{number}"
            accounts.create(name, "annotator")
            accounts.declare(name, {"region": group})
            while (lease := queue.lease(name, project="p")) is not None:
                likes_b = group == "south" and lease.task.id in ("t3", "t4", "t5")
                answer = {"verdict": "b" if likes_b else "a"}
                queue.submit(lease, Submission(f"{name}-{lease.task.id}", answer))
    return opened


def standing(database: Database) -> list[Standing]:
    return SqlJudgements(database).current("p")


def test_the_minority_loses_by_the_mean_and_not_by_the_worst_off(database: Database) -> None:
    declared = {a.name: (a.groups or {}).get("region") for a in SqlAccounts(database).all()}
    report = values_report(standing(database), declared, k=4)
    assert (report.groups, report.people) == (["north", "south"], [8, 4])  # one person is no group
    assert report.findings == {"agreed": 3, "plural": 3}
    assert {task["task_id"] for task in report.plural_tasks} == {"t3", "t4", "t5"}
    assert report.plural_tasks[0]["preference"] == [1.0, 0.0]
    assert report.p_no_difference < 0.05
    assert report.losses["utilitarian"] == pytest.approx([0.0, 0.5])
    assert report.losses["max_min"] == pytest.approx([0.25, 0.25])
    assert report.agreement[0][1] < 0.1


@pytest.mark.parametrize(
    ("rule", "quotas", "agreed", "split"),
    [
        # Smoothed shares: 8.5/9 and 0.5/9 of eight, 4.5/5 and 0.5/5 of four.
        ("utilitarian", {}, (8 * 8.5 / 9 + 4 * 4.5 / 5) / 12, (8 * 8.5 / 9 + 4 * 0.5 / 5) / 12),
        ("quota", {"north": 1.0, "south": 3.0}, (8.5 / 9 + 2.7) / 4, (8.5 / 9 + 0.3) / 4),
        ("borda", {}, 1.0, 1.0),
        ("copeland", {}, 1.0, 1.0),
        ("maximal_lottery", {}, 1.0, 1.0),
        ("max_min", {}, 1.0, 0.5),
    ],
)
def test_the_rule_decides(
    database: Database, rule: Any, quotas: dict[str, float], agreed: float, split: float
) -> None:
    """Eight who always want a, and four who want b on half of the pairs."""
    source = StoredPreferences("p", str(database.engine.url.database))
    chosen = ValueRule(rule, "region", quotas, k=4)
    found = source.export(aggregation="majority", rule=chosen, seed=0, run="r")
    p_x = {
        row["prompt"][0]["content"]: row["p_chosen"]
        if row["chosen"][0]["content"] == "x"
        else 1 - row["p_chosen"]
        for row in found.rows
    }
    assert [p_x[f"q{n}"] for n in range(6)] == pytest.approx([agreed] * 3 + [split] * 3, abs=1e-3)


def test_quotas_are_of_the_groups_that_there_are(database: Database) -> None:
    declared = {s.annotator: s.annotator[:5] for s in standing(database)}
    with pytest.raises(ConfigError, match="each of north, south"):
        ruled(standing(database), declared, ValueRule("quota", "region", {"north": 1.0}, k=4))


def test_nothing_is_shown_of_few(database: Database) -> None:
    with pytest.raises(DataError, match="nothing can be shown"):
        values_report(standing(database), {"north0": "north", "north1": "north"}, k=5)


def test_the_command(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database.close()
    out = tmp_path / "values.json"
    arguments = ["data", "values", "--database", str(tmp_path / "store.db"), "--project", "p"]
    assert cli.main([*arguments, "--group_by", "region", "--k", "4", "--output", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "max_min" in shown and "3 plural" in shown and "west" not in shown
    assert json.loads(out.read_text())["people"] == [8, 4]
