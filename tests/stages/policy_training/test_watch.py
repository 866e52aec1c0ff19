"""The brake in real loops: it stops, goes back to the best policy by gold, and says why."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from accord.core.errors import ConfigError, TrainingError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.engine.local import LocalEngine
from accord.monitors.brake import Brake
from accord.wiring import stage_config

METHODS = ["ppo", "grpo", "online_dpo"]


def prefer_short(completions: list[Any], **_: Any) -> list[float]:
    """Minus the length: the best response is empty."""
    return [-float(len(text(c))) for c in completions]


def prefer_long(completions: list[Any], **_: Any) -> list[float]:
    return [float(len(text(c))) for c in completions]


def prefer_praise(completions: list[Any], **_: Any) -> list[float]:
    return [float("great question" in text(c)) + 0.1 * (len(text(c)) % 2) for c in completions]


def text(completion: Any) -> str:
    return completion if isinstance(completion, str) else completion[0]["content"]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    write_jsonl(path, [{"prompt": f"user asks {i}"} for i in range(64)])
    return path


def run(method: str, model: Path, prompts: Path, out: Path, **values: Any) -> Any:
    defaults: dict[str, Any] = {
        "model_name_or_path": str(model), "prompts": str(prompts),
        "reward_funcs": f"{__name__}:prefer_short", "gold_funcs": f"{__name__}:prefer_long",
        "monitors": "stop", "learning_rate": 1e-2, "warmup_steps": 1, "max_steps": 40,
        "per_device_train_batch_size": 32, "max_length": 64, "max_completion_length": 8,
        "eval_steps": 1, "eval_fraction": 0.5,
    }  # fmt: skip
    defaults |= {"kl_coef": 0.0} if method == "ppo" else {"num_generations": 4}
    config = stage_config(method).parse({**defaults, **values}, where="test")
    stage = importlib.import_module(f"accord.stages.policy_training.{method}.run")
    return stage.run(config, RunDir(out), engine_factory=LocalEngine)


@pytest.mark.parametrize("method", METHODS)
def test_a_gamed_reward_is_stopped_and_the_best_policy_comes_back(
    method: str, tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    """Gold is the opposite of the reward, so the best policy by gold is an early one."""
    result = run(method, tiny_model_dir, prompts, tmp_path / "out")
    assert result.was_stopped_by_monitors and not result.was_stopped_by_budget
    assert result.updates < 40
    (path,) = (tmp_path / "out").glob("incident-*.json")
    found = json.loads(path.read_text())
    assert found["step"] == result.updates and found["reasons"] and found["samples"]
    rows = {row["step"]: row for row in RunDir(tmp_path / "out").metrics()}
    gold = {step: row["heldout/gold"] for step, row in rows.items()}
    best = max(gold, key=lambda step: gold[step])
    assert found["back_to_step"] == best < result.updates
    assert result.heldout_score_after == rows[best]["heldout/score"]
    model = tiny_model_dir
    if best:
        values = {"max_steps": best, "monitors": "off"}
        model = run(method, tiny_model_dir, prompts, tmp_path / "shorter", **values).model
    expected = load_file(model / "model.safetensors")
    saved = load_file(result.model / "model.safetensors")
    assert all(torch.equal(saved[name], expected[name]) for name in saved)


def test_warnings_alone_change_nothing(tiny_model_dir: Path, prompts: Path, tmp_path: Path) -> None:
    results = {
        mode: run("ppo", tiny_model_dir, prompts, tmp_path / mode, monitors=mode, max_steps=3)
        for mode in ("off", "warn")
    }
    saved = {m: load_file(r.model / "model.safetensors") for m, r in results.items()}
    assert all(torch.equal(saved["off"][name], saved["warn"][name]) for name in saved["off"])
    rows = RunDir(tmp_path / "warn").metrics()
    assert all("monitor/length" in row and "heldout/gold" in row for row in rows)
    assert not any(key.startswith("monitor/") for key in RunDir(tmp_path / "off").metrics()[-1])
    assert not list((tmp_path / "warn").glob("incident-*"))


def test_a_resumed_run_stops_where_an_unbroken_one_does(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run("grpo", tiny_model_dir, prompts, tmp_path / "whole", save_steps=1)
    with monkeypatch.context() as patch:
        log = RunDir.log

        def killed(self: RunDir, step: int, row: dict[str, float]) -> None:
            log(self, step, row)
            if step == whole.updates - 1:
                raise KeyboardInterrupt

        patch.setattr(RunDir, "log", killed)
        with pytest.raises(KeyboardInterrupt):
            run("grpo", tiny_model_dir, prompts, tmp_path / "broken", save_steps=1)
    resumed = run("grpo", tiny_model_dir, prompts, tmp_path / "broken", save_steps=1)
    assert resumed.updates == whole.updates
    name = f"incident-{whole.updates}.json"
    assert RunDir(tmp_path / "broken").read_json(name) == RunDir(tmp_path / "whole").read_json(name)


def test_a_reward_that_pays_for_form_is_refused_before_training(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    values = {"reward_funcs": f"{__name__}:prefer_praise", "max_length": 256}
    with pytest.raises(TrainingError, match="pays for form: praise alone raises"):
        run("ppo", tiny_model_dir, prompts, tmp_path / "out", **values)
    found = RunDir(tmp_path / "out").read_json("incident-0.json")
    assert found is not None and found["back_to_step"] is None
    levels = {reading["name"]: reading["level"] for reading in found["readings"]}
    assert levels["invariance/praise"] == "stop" and levels["invariance/echo"] == "ok"
    run("ppo", tiny_model_dir, prompts, tmp_path / "warn", monitors="warn", max_steps=1, **values)
    assert RunDir(tmp_path / "warn").metrics()[0]["monitor/invariance/praise"] > 0.5


def test_a_gold_scorer_that_is_the_reward_is_refused(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="also the reward"):
        run("grpo", tiny_model_dir, prompts, tmp_path, gold_funcs=f"{__name__}:prefer_short")


def same_for_all(completions: list[Any], **_: Any) -> list[float]:
    """Varied at first, then the same for everybody: told by a file that a test makes."""
    return [0.0 if EQUAL else float(len(text(c)) % 5) for c in completions]


EQUAL: list[bool] = []


def test_several_responses_a_probe_show_that_rewards_become_alike(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    read = Brake.read

    def noted(self: Brake, now: Any) -> Any:
        seen.append(now)
        decision = read(self, now)
        EQUAL.append(True)
        return decision

    monkeypatch.setattr(Brake, "read", noted)
    run("grpo", tiny_model_dir, prompts, tmp_path / "out", monitors="warn", max_steps=1,
        monitor_responses=4, reward_funcs=f"{__name__}:same_for_all", gold_funcs=[])  # fmt: skip
    EQUAL.clear()
    before, after = seen[:2]
    assert before.group_size == after.group_size == 4
    groups = [before.prompts[n : n + 4] for n in range(0, len(before.prompts), 4)]
    assert len(groups) > 20 and all(len(set(group)) == 1 for group in groups)
    assert len(set(before.responses[:4])) > 1
    rows = RunDir(tmp_path / "out").metrics()
    assert rows[0]["monitor/collapse"] == 0.0 < rows[-1]["monitor/collapse"]
