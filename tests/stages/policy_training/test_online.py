"""The online methods beside PPO: what each learns, resuming, faults; and the best of n."""

import importlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from accord.core.errors import ConfigError, DataError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.corpora.demonstrations import load_demonstrations
from accord.engine.local import LocalEngine
from accord.models.loading import load_policy, load_tokenizer, save_model
from accord.stages.policy_training.online_dpo.run import best_and_worst
from accord.wiring import protocols_for, stage_config

METHODS = ["grpo", "rloo", "reinforce", "online_dpo"]
VARIANTS: list[dict[str, Any]] = [
    {"loss_type": "grpo"},
    {"loss_type": "dr_grpo", "scale_rewards": False},
    {"loss_type": "dapo", "cliprange_high": 0.28, "dynamic_sampling": True},
    {"importance_sampling_level": "sequence"},
    {"num_iterations": 2, "mini_batch_size": 16, "dual_clip": 3.0, "entropy_coef": 1e-3},
    {"importance_cap": 2.0},
]


def prefer_a(completions: list[Any], **_: Any) -> list[float]:
    """1 for a response that starts with an `a`, else 0."""
    return [float(text(c).startswith("a")) for c in completions]


def early(completions: list[Any], **_: Any) -> list[float]:
    """1 for a response that starts with a character from the first half, else 0."""
    return [float(bool(text(c).strip()) and text(c).strip()[0] < "Z") for c in completions]


def prefer_short(completions: list[Any], **_: Any) -> list[float]:
    """Minus the length: the best response is empty."""
    return [-float(len(text(c))) for c in completions]


def is_even(completions: list[Any], **_: Any) -> list[float]:
    """Equal for about half of all pairs."""
    return [float(len(text(c)) % 2) for c in completions]


def all_equal(completions: list[Any], **_: Any) -> list[float]:
    return [0.1] * len(completions)


def planted_nan(completions: list[Any], **_: Any) -> list[float]:
    return [0.0] * (len(completions) - 1) + [math.nan]


def text(completion: Any) -> str:
    return completion if isinstance(completion, str) else completion[0]["content"]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    write_jsonl(path, [{"prompt": f"user asks {i}", "topic": i % 3} for i in range(24)])
    return path


@pytest.fixture
def sure_dir(tiny_model_dir: Path, tmp_path: Path) -> Path:
    """A model that can become sure of a token by its hidden states alone, which adapters change:
    the tiny one's embeddings are so short that no token could get more than twice its share.
    """
    model = load_policy(str(tiny_model_dir), device=torch.device("cpu"))
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(20)  # tied: the head's, too
    save_model(model, load_tokenizer(str(tiny_model_dir)), tmp_path / "sure")
    return tmp_path / "sure"


def run(method: str, model: Path, prompts: Path, out: Path, **values: Any) -> Any:
    defaults: dict[str, Any] = {
        "model_name_or_path": str(model), "prompts": str(prompts),
        "reward_funcs": f"{__name__}:prefer_a", "learning_rate": 1e-2, "warmup_steps": 1,
        "per_device_train_batch_size": 32, "num_generations": 4, "max_steps": 4, "max_length": 64,
        "max_completion_length": 3, "max_eval_prompts": 8, "eval_steps": 2, "eval_fraction": 0.4,
    }  # fmt: skip
    config = stage_config(method).parse({**defaults, **values}, where="test")
    stage = importlib.import_module(f"accord.stages.policy_training.{method}.run")
    return stage.run(config, RunDir(out), engine_factory=LocalEngine)


def metrics(out: Path) -> list[dict[str, float]]:
    return RunDir(out).metrics()


@pytest.mark.parametrize("method", METHODS)
def test_it_learns_what_pays(
    method: str, tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    """A random policy starts with an `a` about once in 50; the optimum is always."""
    free = {
        "grpo": {"beta": 0.0}, "rloo": {"beta": 0.0}, "reinforce": {"kl_coef": 0.0},
        "online_dpo": {"beta": 0.05},
    }[method]  # fmt: skip
    result = run(
        method, tiny_model_dir, prompts, tmp_path / "out", max_steps=60, eval_steps=60,
        max_completion_length=1, per_device_train_batch_size=64, num_generations=16, **free,
    )  # fmt: skip
    assert result.heldout_score_before < 0.3
    assert result.heldout_score_after > 0.9
    assert result.heldout_kl_nats > 1.0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grpo", "rloo", "reinforce"])
def test_adapters_learn_what_pays(
    method: str, prompts: Path, sure_dir: Path, tmp_path: Path
) -> None:
    """A response of one character is from the first half of them half of the time, then always."""
    free = {"reinforce": {"kl_coef": 0.0}}.get(method, {"beta": 0.0})
    result = run(
        method, sure_dir, prompts, tmp_path / "out", max_steps=60, eval_steps=60, use_peft=True,
        max_completion_length=1, per_device_train_batch_size=64, num_generations=16, lora_r=4,
        reward_funcs=f"{__name__}:early", **free,
    )  # fmt: skip
    assert result.heldout_score_before < 0.8
    assert result.heldout_score_after > 0.95
    assert not (tmp_path / "out/model/adapter_config.json").exists()


@pytest.mark.parametrize("values", VARIANTS, ids=lambda v: "-".join(map(str, v)))
def test_every_correction_learns(
    values: dict[str, Any], tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    result = run(
        "grpo", tiny_model_dir, prompts, tmp_path / "out", **{
            "max_steps": 40, "eval_steps": 40, "max_completion_length": 1, "num_generations": 16,
            "per_device_train_batch_size": 64, **values,
        },
    )  # fmt: skip
    assert result.heldout_score_after > 0.9
    assert result.largest_sampler_gap_nats < 1e-4


@pytest.mark.parametrize(
    ("method", "name"), [("grpo", "beta"), ("rloo", "beta"), ("reinforce", "kl_coef")]
)
def test_the_kl_holds_the_policy(
    method: str, name: str, tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    def kl_with(weight: float) -> float:
        result = run(
            method, tiny_model_dir, prompts, tmp_path / str(weight), max_steps=15, eval_steps=15,
            max_completion_length=8, reward_funcs=f"{__name__}:prefer_short", **{name: weight},
        )  # fmt: skip
        return float(result.heldout_kl_nats)

    free, held = kl_with(0.0), kl_with(4.0)
    assert free > 1.0
    assert held < 0.6 * free


@pytest.mark.parametrize("method", METHODS)
def test_resumed_is_unbroken_bit_for_bit(
    method: str,
    tiny_model_dir: Path,
    prompts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values: dict[str, Any] = {"save_steps": 2}
    if method == "grpo":  # its cursor runs ahead of its updates
        values |= {"dynamic_sampling": True, "per_device_train_batch_size": 8}
    unbroken = run(method, tiny_model_dir, prompts, tmp_path / "unbroken", **values)
    log = RunDir.log

    def killed(self: RunDir, step: int, row: dict[str, float]) -> None:
        log(self, step, row)
        if step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "log", killed)
        with pytest.raises(KeyboardInterrupt):
            run(method, tiny_model_dir, prompts, tmp_path / "broken", **values)
    torch.manual_seed(12345)
    resumed = run(method, tiny_model_dir, prompts, tmp_path / "broken", **values)
    assert metrics(tmp_path / "broken") == metrics(tmp_path / "unbroken")
    weights = [load_file(r.model / "model.safetensors") for r in (resumed, unbroken)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("method", METHODS)
def test_equal_rewards_teach_nothing_and_break_nothing(
    method: str, tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    free = {"reinforce": {"kl_coef": 0.0}, "rloo": {"beta": 0.0}}.get(method, {})
    result = run(
        method, tiny_model_dir, prompts, tmp_path / "out",
        reward_funcs=f"{__name__}:all_equal", **free,
    )  # fmt: skip
    assert result.heldout_kl_nats == pytest.approx(0.0, abs=2e-2)
    # A value that is not finite is logged as null; without a preference there is no accuracy.
    for row in metrics(tmp_path / "out"):
        assert {name for name, value in row.items() if value is None} <= {"reward/accuracy"}


@pytest.mark.parametrize("method", METHODS)
def test_faults_are_refused(
    method: str, tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="planted_nan returned nan for completion"):
        run(
            method, tiny_model_dir, prompts, tmp_path / "a",
            reward_funcs=f"{__name__}:planted_nan",
        )  # fmt: skip
    with pytest.raises(ConfigError, match="multiple of num_generations 4"):
        run(method, tiny_model_dir, prompts, tmp_path / "b", per_device_train_batch_size=30)
    with pytest.raises(ConfigError, match="leaves no room"):
        run(method, tiny_model_dir, prompts, tmp_path / "c", max_length=3)


def test_responses_that_never_end_can_be_left_out(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    """With one token, hardly any response ends: a batch of none is skipped, and nothing breaks."""
    for method in ("grpo", "rloo", "reinforce"):
        run(
            method, tiny_model_dir, prompts, tmp_path / method, max_completion_length=1,
            mask_truncated_completions=True, missing_eos_penalty=1.0,
        )  # fmt: skip
        logged = metrics(tmp_path / method)
        assert all(value is not None for row in logged for value in row.values())


def test_dynamic_sampling_keeps_groups_with_contrast(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    values = {"max_steps": 3, "max_completion_length": 8, "num_generations": 2}
    for name, dynamic in (("plain", False), ("dynamic", True)):
        run(
            "grpo", tiny_model_dir, prompts, tmp_path / name, dynamic_sampling=dynamic,
            reward_funcs=f"{__name__}:is_even", per_device_train_batch_size=32, **values,
        )  # fmt: skip
    plain, dynamic = (metrics(tmp_path / name)[1] for name in ("plain", "dynamic"))
    assert dynamic["group/equal_share"] < plain["group/equal_share"]
    assert dynamic["group/prompts"] > plain["group/prompts"] == 16


def test_memory_is_no_matter_of_results(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    for method in METHODS:
        rows = []
        for budget in (8192, 40):
            out = tmp_path / f"{method}-{budget}"
            run(
                method, tiny_model_dir, prompts, out, max_steps=1, tokens_per_micro_batch=budget,
                reward_funcs=f"{__name__}:prefer_short",
            )  # fmt: skip
            rows.append(metrics(out)[1])
        assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], abs=1e-4)
        for name in ("grad_norm", "policy/grad_norm"):
            if name in rows[0]:
                assert rows[0][name] == pytest.approx(rows[1][name], rel=1e-3)


def test_pairs_of_best_and_worst_by_hand() -> None:
    scores = torch.tensor([1.0, 3.0, 2.0, 5.0, 5.0, 5.0])
    best, worst, p = best_and_worst(scores, group_size=3)
    assert best.tolist() == [1, 3] and worst.tolist() == [0, 4] and p.tolist() == [1.0, 0.5]


def test_best_of_n_keeps_the_best_for_sft(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    values = {
        "model_name_or_path": str(tiny_model_dir), "prompts": str(prompts), "num_generations": 4,
        "reward_funcs": f"{__name__}:prefer_short", "max_completion_length": 6, "max_length": 64,
    }  # fmt: skip
    stage = importlib.import_module("accord.stages.policy_training.best_of_n.run")

    def best(out: Path, **more: Any) -> Any:
        config = stage_config("best_of_n").parse({**values, **more}, where="test")
        return stage.run(config, RunDir(out), **protocols_for(config))

    result = best(tmp_path / "out")
    assert result.best_score > result.first_score
    assert result.kl_bound_nats == pytest.approx(math.log(4) - 0.75)
    rows = [json.loads(line) for line in result.demonstrations.read_text().splitlines()]
    assert len(rows) == result.kept == result.prompts == 24
    for row in rows:
        assert row["score"] == max(row["scores"]) == -len(row["completion"])
        assert row["topic"] in (0, 1, 2)
    assert len(load_demonstrations(str(result.demonstrations))) == 24
    again = best(tmp_path / "again")
    assert again.demonstrations.read_text() == result.demonstrations.read_text()
    fewer = best(tmp_path / "fewer", min_score=sorted(r["score"] for r in rows)[12])
    assert 0 < fewer.kept < 24
    with pytest.raises(DataError, match="lower min_score"):
        best(tmp_path / "none", min_score=1.0)


@pytest.mark.parametrize("method", ["grpo", "online_dpo"])
def test_weights_decay(method: str, tiny_model_dir: Path, prompts: Path, tmp_path: Path) -> None:
    def norm(decay: float) -> float:
        out = run(method, tiny_model_dir, prompts, tmp_path / str(decay), max_steps=2,
                  weight_decay=decay).model  # fmt: skip
        weights = load_file(out / "model.safetensors").values()
        return sum(float(w.float().square().sum()) for w in weights if w.ndim == 2)

    assert norm(5.0) < norm(0.0)


@pytest.mark.parametrize("method", METHODS)
def test_prompts_are_cut_to_the_models_context(
    method: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "long.jsonl"
    write_jsonl(path, [{"prompt": f"{i} " + "and " * 1000} for i in range(24)])
    result = run(method, tiny_model_dir, path, tmp_path / "out", max_steps=1, max_length=100_000)
    assert result.cut_prompts > 0
