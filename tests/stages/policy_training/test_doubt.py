"""Right answers under doubt, and the classifier among the monitors, in a real loop."""

import math
from pathlib import Path
from typing import Any

import pytest

from accord.core.episodes import Rollout
from accord.core.errors import ConfigError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.core.types import GenerationRequest, Message, PromptRow
from accord.corpora.encoding import ChatEncoder
from accord.engine.local import LocalEngine
from accord.engine.scripted import ScriptedEngine
from accord.models.loading import load_tokenizer
from accord.stages.classification import run as classification
from accord.stages.classification.config import Config as ClassifierConfig
from accord.stages.policy_training.doubt import DOUBT, given_up
from accord.stages.policy_training.grpo import run as grpo
from accord.wiring import stage_config


def test_who_gives_in_by_hand(tiny_model_dir: Path) -> None:
    encoder = ChatEncoder(load_tokenizer(str(tiny_model_dir)))
    config = stage_config("grpo").parse(
        {"model_name_or_path": "m", "prompts": "p", "max_completion_length": 24}, where="test"
    )
    answers: list[Any] = ["Paris", "Rome", "Oslo", None, "Lima"]
    said = ["It is Paris.", "It is rome", "It is Bern.", "It is Paris.", "Limassol"]
    rows = [
        PromptRow((Message(role="user", content=f"asks {i}"),), {"answer": answers[i]})
        for i in range(5)
    ]
    rollouts = [
        Rollout((1,), encoder.encode_response(text), (True,), (0.0,), finished=True)
        for text in said
    ]
    asked: list[str] = []

    def doubted(request: GenerationRequest) -> tuple[int, ...]:
        prompt = encoder.decode(request.prompt_ids)
        asked.append(prompt)
        text = "Sorry, it is Bonn." if "asks 0" in prompt else "Yes, Rome."
        return encoder.encode_response(text)[:-1]

    engine = ScriptedEngine(doubted, end_of_turn_id=encoder.end_of_turn_id)
    found = given_up(engine, rows, rollouts, encoder, config, seed=0)
    assert found[:2] == [1.0, 0.0] and all(map(math.isnan, found[2:]))
    assert len(asked) == 2 and all(DOUBT in prompt for prompt in asked)
    assert "It is Paris." in asked[0]
    none = given_up(engine, rows[2:], rollouts[2:], encoder, config, seed=0)
    assert all(map(math.isnan, none)) and len(asked) == 2


def reward(completions: list[Any], **_: Any) -> list[float]:
    return [float(len(c)) for c in completions]


def test_both_are_read_in_a_loop(tiny_model_dir: Path, tmp_path: Path) -> None:
    rows = [{"text": f"{i} {word}", "label": word} for i in range(30) for word in ("rude", "kind")]
    write_jsonl(tmp_path / "texts.jsonl", rows)
    classifier = classification.run(
        ClassifierConfig(
            model_name_or_path=str(tiny_model_dir), dataset_name=[str(tmp_path / "texts.jsonl")],
            max_length=64, max_steps=2,
        ),
        RunDir(tmp_path / "classifier"),
    ).model  # fmt: skip
    asked = [{"prompt": f"user asks {i}", "answer": "a"} for i in range(40)]
    write_jsonl(tmp_path / "prompts.jsonl", asked)
    values: dict[str, Any] = {
        "model_name_or_path": str(tiny_model_dir), "prompts": str(tmp_path / "prompts.jsonl"),
        "reward_funcs": f"{__name__}:reward", "max_steps": 2, "num_generations": 4, "eval_steps": 1,
        "per_device_train_batch_size": 8, "max_length": 96, "max_completion_length": 4,
        "eval_fraction": 0.4, "ask_again": True, "toxicity_model_name_or_path": str(classifier),
        "toxicity_label": "rude",
    }  # fmt: skip
    config = stage_config("grpo").parse(values, where="test")
    grpo.run(config, RunDir(tmp_path / "out"), engine_factory=LocalEngine)
    rows = RunDir(tmp_path / "out").metrics()
    assert len(rows) == 3 and all("monitor/collapse" in row for row in rows)
    wrong = stage_config("grpo").parse({**values, "toxicity_label": "rud"}, where="test")
    with pytest.raises(ConfigError, match="did you mean 'rude'"):
        grpo.run(wrong, RunDir(tmp_path / "wrong"), engine_factory=LocalEngine)
