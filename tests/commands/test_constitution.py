"""accord constitution: shown, checked, and drafted together, up to a model that names the vote."""

import json
from pathlib import Path
from typing import Any

import pytest

from accord import cli
from accord.core.files import hash_path
from accord.core.types import Submission
from accord.judges.constitution import read_constitution
from accord.pipeline import execute
from accord.store.accounts import SqlAccounts
from accord.store.board import SqlTaskBoard
from accord.store.database import Database
from accord.store.queue import SqlTaskQueue
from accord.wiring import stage_config
from judges.fake_endpoint import FakeEndpoint, completion

RULES = {
    "honest": "The assistant should tell no lies.",
    "helpful": "The assistant helps at once.",
    "harmless": "The assistant must stay calm.",
}


def accord(capsys: pytest.CaptureFixture[str], *arguments: Any, status: int = 0) -> str:
    found = cli.main(["constitution", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert found == status, err
    assert "Traceback" not in err
    return out + err


def flat(text: str) -> str:
    return " ".join(text.split())


def test_the_shipped_one_is_shown_and_passes(capsys: pytest.CaptureFixture[str]) -> None:
    said = accord(capsys, "show")
    assert "accord v1" in said and "no-hand-in-violence" in said and "sha256" in said
    said = accord(capsys, "check")
    assert "0 repeats, no judge asked for contradictions, 13 of 13 harms covered" in flat(said)


def test_faults_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c.toml"
    one = """
[[principle]]
id = "{}"
part = "harmless"
critique_request = "Is it rude to anybody?"
revision_request = "{}"
comparison = "{}"
covers = ["{}"]
"""
    path.write_text(
        'name = "c"\n'
        + one.format("a", "Always agree.", "Which agrees more?", "cyber")
        + one.format("b", "Never agree.", "Which agrees less?", "cybre")
    )
    said = accord(capsys, "check", path, status=1)
    assert "repeat: a and b have the same critique_request" in said
    assert "unknown: b covers cybre" in said and "uncovered: no principle covers hate" in said
    behaviours = tmp_path / "behaviours.csv"
    behaviours.write_text(
        "Behavior,SemanticCategory\nx,cybercrime_intrusion\ny,copyright\nz,copyright\n"
    )
    said = accord(capsys, "check", path, "--harms", behaviours, status=1)
    assert "1 of 2 harms covered" in flat(said) and "no principle covers copyright" in said

    def answer(body: dict[str, Any], number: int) -> Any:
        text = body["messages"][-1]["content"]
        says_no_first = text.index("No: whoever") < text.index("Yes: a response")
        return completion("A" if says_no_first else "B")

    with FakeEndpoint(answer) as endpoint:
        for _ in range(2):  # the second time its answers are known
            said = accord(
                capsys, "check", path, "--judge_url", endpoint.url, "--judge_name", "m", status=1
            )
            assert "contradiction: a and b, says m" in flat(said) and "p = 1.00" in said
            assert "1 repeats, 1 contradictions" in flat(said)
        assert len(endpoint.requests) == 2


def vote(store: Path, who: str, ratings: dict[str, int]) -> None:
    """One person at the app: proposes where there is a proposal task, rates where rules are."""
    database = Database.open(path=store)
    SqlTaskBoard(database).register(who)
    queue = SqlTaskQueue(database)
    while lease := queue.lease(who, project="law"):
        task, answer = lease.task, {}
        if task.kind == "rewrite":
            answer = {"text": RULES[task.columns["part"]]}
        else:
            (part,) = task.columns["parts"]
            answer = {"ratings": {"agreement": [ratings[part]]}}
        queue.submit(lease, Submission(f"{who}{task.id}", answer, "judge"))
    database.close()


def test_drafted_voted_judged_by_and_named_in_the_lineage(
    tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, output = tmp_path / "s.db", tmp_path / "law.toml"
    where = ("--project", "law", "--database", store)
    assert "3 new tasks for 3 people" in accord(capsys, "propose", *where, "--people", 3)
    for who in ("ann", "bob", "eve"):
        vote(store, who, {})
    assert "3 proposals, 3 new tasks" in accord(capsys, "vote", *where, "--people", 3)
    assert "3 proposals, 0 new tasks" in accord(capsys, "vote", *where, "--people", 3)
    vote(store, "ann", {"honest": 7, "helpful": 6, "harmless": 1})
    vote(store, "bob", {"honest": 7, "helpful": 5, "harmless": 2})
    vote(store, "eve", {"honest": 2, "helpful": 3, "harmless": 7})
    said = accord(capsys, "draft", *where, "--rule", "borda", "--size", 2, "--output", output)
    assert "law v1" in said and "by borda, 3 voters, 3 rules" in flat(said)
    found = read_constitution(output)
    assert [p.part for p in found.principles] == ["honest", "helpful"]
    assert found.principles[0].id == "tell-no-lies"
    assert RULES["honest"] in found.principles[0].comparison
    assert found.decision is not None and found.decision.rule == "borda"
    assert [o.get("place") for o in found.decision.options] == [1, 2, None]
    assert [o["support"] for o in found.decision.options] == pytest.approx(
        [2 / 3, 0.5, 1 / 3], abs=1e-4
    )
    note = json.loads(output.with_name("law.toml.export.json").read_text())
    assert note["file_sha256"] == hash_path(output) and note["judgements"] == 18
    again = accord(capsys, "draft", *where, "--rule", "borda", "--size", 2, "--output", output)
    assert again == said  # the same votes and rule are the same version
    said = accord(capsys, "draft", *where, "--rule", "copeland", "--output", output)
    assert "law v2" in said and read_constitution(output).version == 2

    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("\n".join(json.dumps({"prompt": f"Say {n}"}) for n in range(6)))
    values = {"model_name_or_path": str(tiny_model_dir), "constitution": str(output),
              "prompts": str(prompts), "max_completion_length": 4, "max_critique_length": 4,
              "revision_temperature": 1.0}  # fmt: skip
    runs = tmp_path / "run"
    revised = execute("revise", stage_config("revise").parse(values, where="t"), runs / "revise")
    assert revised.result["constitution"] == read_constitution(output).label
    values = {"model_name_or_path": str(tiny_model_dir), "max_steps": 1, "eval_fraction": 0.3,
              "dataset_name": [str(runs / "revise" / "demonstrations.jsonl")]}  # fmt: skip
    execute("sft", stage_config("sft").parse(values, where="t"), runs / "sft", parents=["revise"])
    (named,) = json.loads((runs / "sft" / "manifest.json").read_text())["constitutions"]
    assert named == {"name": revised.result["constitution"], "file": str(output),
                     "sha256": hash_path(output)}  # fmt: skip
    assert cli.main(["lineage", str(runs / "sft" / "model")]) == 0
    said = capsys.readouterr().out
    export = json.loads(output.with_name("law.toml.export.json").read_text())["export_sha256"]
    assert "law.toml" in said and hash_path(output)[:12] in said
    assert f"export {export}" in said and "rule copeland" in said and "judgements: 18" in said


def test_groups_and_quotas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, output = tmp_path / "s.db", tmp_path / "law.toml"
    where = ("--project", "law", "--database", store)
    accord(capsys, "propose", *where, "--people", 3)
    database = Database.open(path=store)
    accounts = SqlAccounts(database)
    for who in ("ann", "bob", "eve"):
        accounts.create(who, "annotator")
        accounts.declare(who, {"language": "de" if who == "eve" else "en"})
    database.close()
    for who in ("ann", "bob", "eve"):
        vote(store, who, {})
    accord(capsys, "vote", *where, "--people", 3)
    for who in ("ann", "bob"):
        vote(store, who, {"honest": 7, "helpful": 6, "harmless": 1})
    vote(store, "eve", {"honest": 1, "helpful": 2, "harmless": 7})
    draft = ("draft", *where, "--output", output, "--size", 1)
    accord(capsys, *draft, "--rule", "utilitarian")
    assert read_constitution(output).principles[0].part == "honest"
    grouped = ("--group_by", "language", "--rule", "quota", "--quota", "en=0.1")
    said = accord(capsys, *draft, *grouped, status=2)
    assert "--quota: expected one for each of de, en" in said
    accord(capsys, *draft, *grouped, "--quota", "de=0.9")
    assert read_constitution(output).principles[0].part == "harmless"


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'draft'" in accord(capsys, "drat", status=2)
    store = tmp_path / "s.db"
    where = ("--project", "law", "--database", store)
    assert "no such database" in accord(capsys, "vote", *where, "--people", 2, status=2)
    accord(capsys, "propose", *where, "--people", 2)
    assert "0 proposals" in accord(capsys, "vote", *where, "--people", 2, status=2)
    draft = ("draft", *where, "--rule", "borda", "--output")
    assert "nobody has voted" in accord(capsys, *draft, tmp_path / "x.toml", status=2)
    assert "ends with .toml" in accord(capsys, *draft, tmp_path / "x.json", status=2)
    said = accord(capsys, "draft", *where, "--rule", "quota", "--output", "x.toml", status=2)
    assert "needs --group_by" in said
