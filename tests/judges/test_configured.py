"""The judge of a config, by a constitution: local or behind an endpoint, asked once."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from accord.core.errors import ConfigError
from accord.core.judge_config import JudgeConfig
from accord.core.types import Message
from accord.judges.both_orders import ask_both_orders
from accord.judges.configured import Judge, http_client, judge_of
from judges.fake_endpoint import FakeEndpoint, completion

PRINCIPLE = """
[[principle]]
id = "{name}"
part = "harmless"
critique_request = "c"
revision_request = "r"
comparison = "{name}?"
"""
PROMPTS: list[list[Message]] = [[{"role": "user", "content": f"Hi {n}"}] for n in range(20)]
A, B = [f"yes {n}" for n in range(20)], [f"no {n}" for n in range(20)]


@pytest.fixture
def constitution(tmp_path: Path) -> str:
    path = tmp_path / "constitution.toml"
    path.write_text('name = "t"\n' + "".join(PRINCIPLE.format(name=n) for n in ("one", "two")))
    return str(path)


def judge(tmp_path: Path, **values: Any) -> Judge:
    config = JudgeConfig.parse(values, where="here")
    found = judge_of(config, tmp_path / "remembered.jsonl", max_length=512)
    assert found is not None
    return found


@pytest.mark.parametrize(("principles", "each"), [("sampled", 1), ("average", 2)])
def test_a_local_judge_by_a_constitution_asks_once(
    tiny_model_dir: Path, tmp_path: Path, constitution: str, principles: str, each: int
) -> None:
    knobs = {"judge": str(tiny_model_dir), "constitution": constitution, "principles": principles}
    first = judge(tmp_path, **knobs)
    said = ask_both_orders(first.pairs, PROMPTS, A, B)
    assert first.counts()["judged"] == 40 * each
    again = judge(tmp_path, **knobs)
    assert ask_both_orders(again.pairs, PROMPTS, A, B).mean().tolist() == said.mean().tolist()
    assert again.counts().get("judged", 0) == 0 and again.name == first.name
    ids = {first.record(p, a, b)["principle"] for p, a, b in zip(PROMPTS, A, B, strict=True)}
    assert ids == ({"one", "two"} if principles == "sampled" else {"average"})
    assert "t v1" in first.name and str(tiny_model_dir) in first.name


def test_an_endpoint_by_a_constitution(tmp_path: Path, constitution: str) -> None:
    with FakeEndpoint(lambda body, number: completion("A")) as endpoint:
        knobs = {"judge_url": endpoint.url, "judge_name": "m", "constitution": constitution}
        found = judge(tmp_path, **knobs)
        assert ask_both_orders(found.pairs, PROMPTS, A, B).mean().tolist() == [0.5] * 20
        asked = [body["messages"][-1]["content"] for body in endpoint.requests]
        assert {("one?" in text, "two?" in text) for text in asked} == {
            (True, False),
            (False, True),
        }
        assert found.counts()["requests"] == 40
        found = judge(tmp_path, **knobs)
        ask_both_orders(found.pairs, PROMPTS, A, B)
        assert len(endpoint.requests) == 40
        assert found.grades is None and found.client is None


def test_without_a_constitution_nothing_is_recorded(tiny_model_dir: Path, tmp_path: Path) -> None:
    found = judge(tmp_path, judge=str(tiny_model_dir))
    assert found.record(PROMPTS[0], "a", "b") == {} and found.grades is not None


def test_what_cannot_be_is_refused(tmp_path: Path, constitution: str, tiny_model_dir: Path) -> None:
    with pytest.raises(ConfigError, match="give judge or judge_url"):
        judge(tmp_path, constitution=constitution)
    with pytest.raises(ConfigError, match="give one"):
        judge(tmp_path, judge=str(tiny_model_dir), principles="average")
    empty = tmp_path / "empty.toml"
    empty.write_text('name = "t"')
    with pytest.raises(ConfigError, match="no \\[\\[principle\\]\\]"):
        judge(tmp_path, judge=str(tiny_model_dir), constitution=str(empty))


def test_a_reward_model_reads_no_constitution(
    tiny_model_dir: Path, tmp_path: Path, constitution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Scorer:
        architectures = ("LlamaForSequenceClassification",)

    monkeypatch.setattr("accord.judges.configured.AutoConfig.from_pretrained", lambda *_: Scorer())
    with pytest.raises(ConfigError, match="reads no constitution"):
        judge(tmp_path, judge=str(tiny_model_dir), constitution=constitution)


def test_a_slow_endpoint_is_given_time() -> None:
    values = {"judge_url": "http://127.0.0.1:1/v1", "judge_name": "m", "judge_timeout_s": 300}
    assert http_client(JudgeConfig.parse(values, where="here")).timeout_s == 300


@pytest.mark.parametrize(("least", "abstained"), [(0.0, 0), (1.0, 40)])
def test_a_local_judge_abstains_where_it_would_say_something_else(
    tiny_model_dir: Path, tmp_path: Path, least: float, abstained: int
) -> None:
    wide = shutil.copytree(tiny_model_dir, tmp_path / "wide")  # has room for the question
    described = json.loads((wide / "config.json").read_text())
    (wide / "config.json").write_text(json.dumps({**described, "max_position_embeddings": 4096}))
    found = judge(tmp_path, judge=str(wide), judge_least_mass=least)
    ask_both_orders(found.pairs, PROMPTS, A, B)
    assert found.counts().get("abstained", 0) == abstained
