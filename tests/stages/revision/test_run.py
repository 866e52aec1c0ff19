"""Revisions: conversations in their form, kept step by step, resumed and never paid twice."""

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accord.core.errors import ConfigError, Interrupted
from accord.core.files import hash_path, write_jsonl
from accord.core.run_dir import RunDir
from accord.core.types import Message
from accord.corpora.demonstrations import load_demonstrations
from accord.corpora.pairs import load_comparisons
from accord.engine.local import LocalEngine
from accord.judges import chat_client
from accord.judges.remembered import EndpointDown
from accord.pipeline import execute
from accord.stages.revision.config import Config
from accord.stages.revision.run import Result, run
from accord.store.database import Database
from accord.store.judgements import SqlJudgements
from accord.wiring import protocols_for
from judges.fake_endpoint import FakeEndpoint, Raw, completion

PRINCIPLE = """
[[principle]]
id = "{name}"
part = "harmless"
critique_request = "Critique {name}?"
revision_request = "Revision {name}!"
comparison = "{name}?"
"""
NAMES = ("one", "two", "three")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    constitution = tmp_path / "constitution.toml"
    constitution.write_text('name = "t"\n' + "".join(PRINCIPLE.format(name=n) for n in NAMES))
    for name, kind in (("harmful", "steal"), ("helpful", "clean")):
        rows = [{"prompt": f"{kind} {n}", "kind": kind} for n in range(12)]
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    return {
        "constitution": str(constitution),
        "prompts": str(tmp_path / "harmful.jsonl"),
        "helpful_prompts": str(tmp_path / "helpful.jsonl"),
    }


def reply(body: dict[str, Any], number: int) -> Raw:
    """A model that says what step it is at, and about what."""
    messages: list[Message] = body["messages"]
    last, first = messages[-1]["content"], messages[0]["content"]
    if last.startswith("Critique"):
        return completion(f"Fault of: {messages[-2]['content']}")
    if last.startswith("Revision"):
        return completion(f"{messages[-4]['content']} + {last.split()[1].strip('!')}")
    return completion(f"Sure, {first}")


def start(
    files: dict[str, str], folder: Path, endpoint: FakeEndpoint | None = None, **knobs: Any
) -> Result:
    where = {"url": endpoint.url, "name": "m"} if endpoint else {}
    config = Config.parse({**files, **where, **knobs}, where="here")
    return run(config, RunDir(folder / "run"), **protocols_for(config))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_step_is_in_the_files(files: dict[str, str], tmp_path: Path) -> None:
    with FakeEndpoint(reply) as endpoint:
        result = start(files, tmp_path, endpoint)
    assert (result.revised, result.unchanged, result.demonstration_count) == (12, 0, 24)
    steps = rows(result.revisions)
    assert len(steps) == 12
    for row in steps:
        (step,) = row["rounds"]
        said = row["prompt"][-1]["content"]
        assert row["response"] == f"Sure, {said}" and row["kind"] == "steal"
        assert step["critique"] == f"Fault of: Sure, {said}"
        assert step["revision"] == f"Sure, {said} + {step['principle']}"
    assert {row["rounds"][0]["principle"] for row in steps} == set(NAMES)
    assert result.principles == Counter(row["rounds"][0]["principle"] for row in steps)
    shown = [source.demonstration for source in load_demonstrations(str(result.demonstrations))]
    finals = {d.prompt[0]["content"]: d.completion for d in shown}
    assert all(finals[f"clean {n}"] == f"Sure, clean {n}" for n in range(12))
    assert all(finals[f"steal {n}"].startswith(f"Sure, steal {n} + ") for n in range(12))
    pairs = load_comparisons([str(result.comparisons)])
    assert len(pairs) == 12 and all(" + " in p.chosen and " + " not in p.rejected for p in pairs)


def test_the_next_round_starts_from_the_revision(files: dict[str, str], tmp_path: Path) -> None:
    with FakeEndpoint(reply) as endpoint:
        result = start(files, tmp_path, endpoint, rounds=3)
    steps = rows(result.revisions)
    for row in steps:
        names = [step["principle"] for step in row["rounds"]]
        said = row["prompt"][-1]["content"]
        assert row["rounds"][-1]["revision"] == " + ".join([f"Sure, {said}", *names])
    assert any(len({s["principle"] for s in row["rounds"]}) > 1 for row in steps)
    pairs = load_comparisons([str(result.comparisons)])
    assert all(pair.rejected.count(" + ") == 0 for pair in pairs)


def test_every_step_is_in_the_store(files: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / "prefs.db"
    with FakeEndpoint(reply) as endpoint:
        result = start(files, tmp_path, endpoint, project="p", database=str(place))
        start(files, tmp_path / "again", endpoint, project="p", database=str(place))
    database = Database.open(f"sqlite:///{place}")
    standing = SqlJudgements(database).current("p")
    database.close()
    assert Counter(s.task.kind for s in standing) == {"critique": 12, "rewrite": 12}
    assert {s.annotator_kind for s in standing} == {"model"}
    by_prompt = {row["prompt"][-1]["content"]: row for row in rows(result.revisions)}
    for s in standing:
        assert s.answer is not None
        row = by_prompt[s.task.prompt[-1]["content"]]
        step = row["rounds"][0]
        key = "critique" if s.task.kind == "critique" else "revision"
        assert (
            s.answer["text"] == step[key] and s.answer["reason"] == f"principle {step['principle']}"
        )
        assert s.task.responses == (row["response"],)
        assert step["principle"] in s.annotator and "t v1" in s.annotator
        assert s.task.columns["kind"] == "steal"


def test_an_endpoint_that_goes_down_stops_the_run_which_resumes_without_paying_twice(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_client, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(chat_client, "LONGEST_WAIT_S", 0.001)
    paid: list[str] = []
    is_down = [False]

    def answer(body: dict[str, Any], number: int) -> Raw:
        is_down[0] = is_down[0] or len(paid) == 24  # with the last response
        if is_down[0]:
            return Raw(503)
        paid.append(json.dumps(body["messages"]))
        return reply(body, number)

    with FakeEndpoint(answer) as endpoint:
        with pytest.raises(EndpointDown, match="12 questions in a row.*run again"):
            start(files, tmp_path, endpoint)
        assert len(paid) == 24
        paid.append("one that is not counted: 24 was the number at which it broke down")
        is_down[0] = False
        result = start(files, tmp_path, endpoint)
    del paid[24]
    assert len(paid) == len(set(paid)) == 48
    assert result.revised == 12 and result.blank_steps == 0


@pytest.mark.parametrize("step", ["steal 7", "Critique", "Revision"])
def test_what_never_has_an_answer_is_left_and_the_rest_goes_on(
    files: dict[str, str], tmp_path: Path, step: str
) -> None:
    def answer(body: dict[str, Any], number: int) -> Raw:
        is_deaf = body["messages"][0]["content"] == "steal 7"
        is_deaf = is_deaf and body["messages"][-1]["content"].startswith(step)
        return Raw(body=b"<html>") if is_deaf else reply(body, number)

    with FakeEndpoint(answer) as endpoint:
        result = start(files, tmp_path, endpoint)
    was_answered = step != "steal 7"
    assert result.unanswered == 1 - was_answered and result.blank_steps == was_answered
    assert result.revised == 11 and result.demonstration_count == 23 + was_answered


def test_an_interrupted_run_goes_on(files: dict[str, str], tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(body: dict[str, Any], number: int) -> Raw:
        asked.append(json.dumps(body["messages"]))
        if len(asked) == 16:
            signal.raise_signal(signal.SIGINT)
        return reply(body, number)

    with FakeEndpoint(answer) as endpoint:
        with pytest.raises(Interrupted):
            start(files, tmp_path, endpoint)
        assert 16 <= len(asked) < 48
        start(files, tmp_path, endpoint)
    assert len(asked) == len(set(asked)) == 48


def test_a_kill_loses_at_most_a_piece(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accord.judges.remembered import Memory

    paid: list[str] = []

    def answer(body: dict[str, Any], number: int) -> Raw:
        paid.append(json.dumps(body["messages"]))
        return reply(body, number)

    real, writes = Memory.add, [0]

    def dying(self: Memory, values: dict[str, Any]) -> None:
        writes[0] += 1
        if writes[0] == 3:
            raise SystemExit("killed")
        real(self, values)

    with FakeEndpoint(answer) as endpoint:
        monkeypatch.setattr(Memory, "add", dying)
        with pytest.raises(SystemExit):
            start(files, tmp_path, endpoint)
        before = len(paid)
        monkeypatch.setattr(Memory, "add", real)
        start(files, tmp_path, endpoint)
    assert before == 48 and len(paid) == 60  # the piece whose answers were not yet written
    assert max(Counter(paid).values()) == 2


def test_a_prompts_revision_does_not_depend_on_the_others(
    files: dict[str, str], tmp_path: Path
) -> None:
    few = rows(Path(files["prompts"]))[10:2:-3]
    write_jsonl(tmp_path / "few.jsonl", few)
    with FakeEndpoint(reply) as endpoint:
        whole = rows(start(files, tmp_path / "a", endpoint).revisions)
        part = rows(
            start(
                {**files, "prompts": str(tmp_path / "few.jsonl")}, tmp_path / "b", endpoint
            ).revisions
        )
        other = rows(start(files, tmp_path / "c", endpoint, seed=1).revisions)
    by_prompt = {row["prompt"][0]["content"]: row for row in whole}
    assert [by_prompt[row["prompt"][0]["content"]] for row in part] == part
    assert [row["rounds"][0]["principle"] for row in other] != [
        row["rounds"][0]["principle"] for row in whole
    ]


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        (lambda last: " " if last.startswith("steal 3") else None, {"unanswered": 1}),
        (lambda last: "" if last.startswith("Critique one") else None, {"blank": True}),
        (lambda last: "\n" if last.startswith("Revision one") else None, {"blank": True}),
    ],
)
def test_what_says_nothing_is_counted(
    files: dict[str, str],
    tmp_path: Path,
    says: Callable[[str], str | None],
    expected: dict[str, Any],
) -> None:
    def answer(body: dict[str, Any], number: int) -> Raw:
        said = says(body["messages"][-1]["content"])
        return reply(body, number) if said is None else completion(said)

    with FakeEndpoint(answer) as endpoint:
        result = start(files, tmp_path, endpoint)
    steps = rows(result.revisions)
    lost = expected.get("unanswered", 0)
    assert result.unanswered == lost and len(steps) == 12 - lost
    without = [row for row in steps if not row["rounds"]]
    assert bool(without) == bool(expected.get("blank"))
    assert result.blank_steps == len(without) == result.unchanged
    assert len(rows(result.comparisons)) == result.revised == 12 - lost - len(without)


def test_what_the_endpoint_refuses_is_left_out(files: dict[str, str], tmp_path: Path) -> None:
    def answer(body: dict[str, Any], number: int) -> Raw:
        is_bad = body["messages"][0]["content"] == "steal 7"
        return Raw(400, b"content policy") if is_bad else reply(body, number)

    with FakeEndpoint(answer) as endpoint:
        result = start(files, tmp_path, endpoint)
    assert result.unanswered == 1 and result.demonstration_count == 23


def test_a_local_model_is_asked_a_step_at_a_time(
    files: dict[str, str], tmp_path: Path, tiny_model_dir: Path
) -> None:
    calls: list[int] = []

    class Counted(LocalEngine):
        def submit(self, requests: Any) -> Any:
            calls.append(len(requests))
            return super().submit(requests)

    values = {**files, "model_name_or_path": str(tiny_model_dir), "max_completion_length": 4}
    knobs = {"max_critique_length": 4, "revision_temperature": 1.0}
    config = Config.parse({**values, **knobs}, where="here")
    wanted = {**protocols_for(config), "engine_factory": Counted}
    result = run(config, RunDir(tmp_path / "run"), **wanted)
    assert len(calls) == 3 and calls[0] == 24 and min(calls) > 4  # a call a step
    calls.clear()
    again = run(config, RunDir(tmp_path / "run"), **wanted)
    assert calls == [] and again.demonstration_count == result.demonstration_count


def test_the_manifest_has_the_constitutions_hash(
    files: dict[str, str], tmp_path: Path, tiny_model_dir: Path
) -> None:
    values = {**files, "model_name_or_path": str(tiny_model_dir), "max_completion_length": 2}
    config = Config.parse({**values, "max_critique_length": 2}, where="here")
    outcome = execute("revise", config, tmp_path / "step")
    manifest = json.loads((tmp_path / "step/manifest.json").read_text())
    (entry,) = manifest["inputs"]["constitution"]
    assert entry["sha256"] == hash_path(Path(files["constitution"]))
    assert outcome.result["constitution"].startswith("t v1 ")
    assert execute("revise", config, tmp_path / "step").was_skipped


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "model_name_or_path, or url"),
        ({"model_name_or_path": "x", "url": "http://h/v1", "name": "m"}, "not both"),
        ({"url": "http://h/v1"}, "belong together"),
        ({"model_name_or_path": "x", "database": "d"}, "project"),
    ],
)
def test_what_cannot_be_is_refused(
    files: dict[str, str], values: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.parse({**files, **values}, where="here")


def test_a_bad_constitution_is_refused_before_anything_is_asked(
    files: dict[str, str], tmp_path: Path
) -> None:
    Path(files["constitution"]).write_text('name = "t"')
    with FakeEndpoint(reply) as endpoint:
        with pytest.raises(ConfigError, match="no \\[\\[principle\\]\\]"):
            start(files, tmp_path, endpoint)
        assert endpoint.requests == []
