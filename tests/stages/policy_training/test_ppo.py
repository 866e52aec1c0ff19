"""PPO learns a task whose optimum is known, resumes bit for bit, and refuses bad input."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from accord.core.errors import ConfigError, DataError, Interrupted
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.corpora.prompts import load_prompts
from accord.engine.local import LocalEngine
from accord.models.heads import init_reward_model, score_head
from accord.models.loading import load_policy, load_tokenizer, save_model
from accord.models.logprobs import before, hidden_states
from accord.models.values import ValueHead, ValueModel
from accord.stages.policy_training.ppo import experience
from accord.stages.policy_training.ppo import run as ppo
from accord.stages.policy_training.ppo.actor_critic import ActorCritic
from accord.stages.policy_training.ppo.config import Config
from accord.stages.policy_training.ppo.controllers import KlController, RunningMoments
from accord.stages.policy_training.rollouts import split_prompts


def prefer_a(completions: list[Any], **_: Any) -> list[float]:
    """1 for a response that starts with an `a`, else 0."""
    return [float(text(c).startswith("a")) for c in completions]


def prefer_short(completions: list[Any], **_: Any) -> list[float]:
    """Minus the length: the best response is empty."""
    return [-float(len(text(c))) for c in completions]


def text(completion: Any) -> str:
    return completion if isinstance(completion, str) else completion[0]["content"]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    write_jsonl(path, [{"prompt": f"user asks {i}"} for i in range(24)])
    return path


def config(model: Path, prompts: Path, **values: Any) -> Config:
    defaults: dict[str, Any] = {
        "model_name_or_path": str(model),
        "prompts": str(prompts),
        "reward_funcs": f"{__name__}:prefer_a",
        "learning_rate": 3e-3,
        "per_device_train_batch_size": 16,
        "mini_batch_size": 8,
        "num_ppo_epochs": 2,
        "max_steps": 4,
        "max_length": 64,
        "max_completion_length": 3,
        "missing_eos_penalty": 0.0,
        "kl_coef": 0.01,
        "max_eval_prompts": 8,
        "eval_fraction": 0.4,
        "eval_steps": 2,
        "warmup_steps": 1,
    }
    return Config.parse({**defaults, **values}, where="test")


def run(config: Config, path: Path) -> ppo.Result:
    return ppo.run(config, RunDir(path), engine_factory=LocalEngine)


def metrics(path: Path) -> list[dict[str, float]]:
    rows = RunDir(path).metrics()
    return [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in rows]


@pytest.mark.parametrize("value_model", ["separate", "shared"])
def test_it_learns_what_pays(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, value_model: str
) -> None:
    """A random policy starts with an `a` about once in 50; the optimum is always."""
    chosen = config(
        tiny_model_dir, prompts, max_steps=30, learning_rate=1e-2, eval_steps=30,
        max_completion_length=1, value_model=value_model, num_ppo_epochs=4, max_update_kl=None,
        per_device_train_batch_size=64, mini_batch_size=64, kl_coef=0.0,
    )  # fmt: skip
    result = run(chosen, tmp_path / "out")
    assert result.heldout_score_before < 0.3
    assert result.heldout_score_after > 0.9
    assert result.heldout_kl_nats > 1.0


def test_the_kl_penalty_holds_the_policy(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    """With the same reward, a large coefficient keeps the policy near its reference."""

    def kl_with(kl_coef: float) -> float:
        chosen = config(
            tiny_model_dir, prompts, max_steps=12, kl_coef=kl_coef, learning_rate=1e-2,
            num_ppo_epochs=4, max_completion_length=8, max_update_kl=None,
            reward_funcs=f"{__name__}:prefer_short",
        )  # fmt: skip
        return run(chosen, tmp_path / str(kl_coef)).heldout_kl_nats

    free, held = kl_with(0.0), kl_with(2.0)
    assert free > 1.0
    assert held < 0.5 * free


def test_sampler_and_trainer_agree(tiny_model_dir: Path, prompts: Path, tmp_path: Path) -> None:
    result = run(config(tiny_model_dir, prompts, temperature=0.7), tmp_path / "out")
    assert 0 <= result.largest_sampler_gap_nats < 1e-4
    assert metrics(tmp_path / "out")[0]["heldout/kl_nats"] == pytest.approx(0.0, abs=1e-4)


def test_resumed_is_unbroken_bit_for_bit(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = config(tiny_model_dir, prompts, save_steps=2, target_kl_nats=0.5)
    unbroken = run(chosen, tmp_path / "unbroken")
    log = RunDir.log

    def killed(self: RunDir, step: int, values: dict[str, float]) -> None:
        log(self, step, values)
        if step == 3:  # after the checkpoint of update 2, with update 3 done and logged
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "log", killed)
        with pytest.raises(KeyboardInterrupt):
            run(chosen, tmp_path / "broken")
    torch.manual_seed(12345)
    resumed = run(chosen, tmp_path / "broken")
    assert metrics(tmp_path / "broken") == metrics(tmp_path / "unbroken")
    for part in ("model", "value"):
        weights = [
            (tmp_path / n / part / "model.safetensors").read_bytes() for n in ("broken", "unbroken")
        ]
        assert weights[0] == weights[1]
    assert resumed.kl_coef == unbroken.kl_coef


@pytest.mark.slow
def test_killed_process_resumes_to_the_same_weights(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    """SIGKILL in the middle of PPO, through the command line."""
    function = tmp_path / "planted.py"
    function.write_text(
        "def score(completions, **_):\n    return [len(str(c)) for c in completions]\n"
    )

    def command(name: str) -> list[str]:
        return [
            sys.executable, "-m", "accord.cli", "ppo", "--output_dir", str(tmp_path / name),
            "--model_name_or_path", str(tiny_model_dir), "--prompts", str(prompts),
            "--reward_funcs", "planted:score", "--max_steps", "40", "--save_steps", "5",
            "--max_length", "64", "--max_completion_length", "8", "--quiet",
            "--per_device_train_batch_size", "8", "--mini_batch_size", "8",
        ]  # fmt: skip

    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.pathsep.join(sys.path)}"}
    process = subprocess.Popen(command("broken"), env=environment)
    log = tmp_path / "broken" / "metrics.jsonl"
    while process.poll() is None and (not log.exists() or len(log.read_text().splitlines()) < 13):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "broken" / "result.json").exists()
    for name in ("broken", "unbroken"):
        subprocess.run(command(name), env=environment, check=True)
    weights = [
        (tmp_path / n / "model/model.safetensors").read_bytes() for n in ("broken", "unbroken")
    ]
    assert weights[0] == weights[1]
    assert metrics(tmp_path / "broken") == metrics(tmp_path / "unbroken")


def test_ctrl_c_leaves_a_checkpoint(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RunDir.log

    def interrupted(self: RunDir, step: int, values: dict[str, float]) -> None:
        log(self, step, values)
        if step == 1:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "log", interrupted)
        with pytest.raises(Interrupted, match="stopped after step 1"):
            run(config(tiny_model_dir, prompts), tmp_path / "out")
    assert [n for n, _ in RunDir(tmp_path / "out").checkpoints()] == [1]
    assert run(config(tiny_model_dir, prompts), tmp_path / "out").updates == 4


def test_the_budget_stops_training_and_brings_back_what_was_within(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluation every update: the saved policy is that of the last one under the budget, also
    when only a checkpoint knows it.
    """
    values = {"max_steps": 20, "kl_coef": 0.0, "eval_steps": 1, "save_steps": 1}
    chosen = config(tiny_model_dir, prompts, kl_budget_nats=0.2, **values)
    result = run(chosen, tmp_path / "out")
    assert result.was_stopped_by_budget and 1 < result.updates < 20
    logged = metrics(tmp_path / "out")
    assert logged[-1]["heldout/kl_nats"] > 0.2
    assert result.heldout_kl_nats == logged[-2]["heldout/kl_nats"] <= 0.2
    assert result.heldout_score_after == logged[-2]["heldout/score"]
    values["max_steps"] = result.updates - 1
    shorter = run(config(tiny_model_dir, prompts, **values), tmp_path / "shorter")
    expected = load_file(shorter.model / "model.safetensors")
    found = load_file(result.model / "model.safetensors")
    assert all(torch.equal(found[name], expected[name]) for name in expected)

    with monkeypatch.context() as patch:
        log = RunDir.log

        def killed(self: RunDir, step: int, row: dict[str, float]) -> None:
            log(self, step, row)
            if step == result.updates:
                raise KeyboardInterrupt

        patch.setattr(RunDir, "log", killed)
        with pytest.raises(KeyboardInterrupt):
            run(chosen, tmp_path / "broken")
    resumed = run(chosen, tmp_path / "broken")
    assert resumed.heldout_kl_nats == result.heldout_kl_nats
    found = load_file(resumed.model / "model.safetensors")
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_value_warmup_leaves_the_policy(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    result = run(
        config(tiny_model_dir, prompts, max_steps=2, value_warmup_steps=2), tmp_path / "out"
    )
    assert result.heldout_kl_nats == pytest.approx(0.0, abs=1e-4)
    losses = [row["value/loss"] for row in metrics(tmp_path / "out")[1:]]
    assert losses[-1] != losses[0]


def test_far_updates_stop_early(tiny_model_dir: Path, prompts: Path, tmp_path: Path) -> None:
    run(
        config(tiny_model_dir, prompts, learning_rate=1e-2, max_update_kl=1e-4, num_ppo_epochs=4),
        tmp_path / "out",
    )
    assert any(row.get("policy/stopped_early") == 1.0 for row in metrics(tmp_path / "out"))


def test_lora_trains_adapters_against_the_switched_off_reference(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    chosen = config(tiny_model_dir, prompts, use_peft=True, lora_r=4, learning_rate=1e-2)
    # One sample of k1 a prompt may be of either sign; what shows training is that it is not 0.
    assert abs(run(chosen, tmp_path / "out").heldout_kl_nats) > 1e-3
    assert json.loads((tmp_path / "out/model/config.json").read_text())["model_type"] == "llama"
    assert not (tmp_path / "out/model/adapter_config.json").exists()


def test_memory_is_no_matter_of_results(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    one = run(config(tiny_model_dir, prompts, max_steps=1), tmp_path / "one")
    many = run(
        config(tiny_model_dir, prompts, max_steps=1, tokens_per_micro_batch=60), tmp_path / "many"
    )
    a, b = metrics(tmp_path / "one")[1], metrics(tmp_path / "many")[1]
    assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
    assert a["policy/grad_norm"] == pytest.approx(b["policy/grad_norm"], rel=1e-3)
    assert one.heldout_kl_nats == pytest.approx(many.heldout_kl_nats, abs=1e-3)


@pytest.mark.parametrize("values", [{}, {"value_model": "shared"}, {"use_peft": True}])
def test_the_first_epoch_gives_the_values(
    tiny_model_dir: Path,
    prompts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, Any],
) -> None:
    """Where a batch is read at once, no other pass is made for them, and nothing else changes."""
    chosen = config(tiny_model_dir, prompts, max_steps=2, mini_batch_size=16, **values)
    count = {"read": 0, "values": 0}

    def counted(name: str) -> Any:
        method = getattr(ActorCritic, name)

        def call(*arguments: Any) -> Any:
            count[name] += 1
            return method(*arguments)

        return call

    for name in count:
        monkeypatch.setattr(ActorCritic, name, counted(name))
    run(chosen, tmp_path / "once")
    assert count == {"read": 2 * 2, "values": 0}
    monkeypatch.setattr(experience, "_first_readings", lambda *_: [])
    run(chosen, tmp_path / "twice")
    assert count == {"read": 4 * 2, "values": 2}
    once, twice = metrics(tmp_path / "once"), metrics(tmp_path / "twice")
    assert once == [pytest.approx(row, rel=1e-3, abs=1e-5) for row in twice]


def test_old_values_are_read_without_dropout(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, values = [], ActorCritic.values

    def noted(self: ActorCritic, batch: Any) -> torch.Tensor:
        seen.append(torch.is_grad_enabled())
        return values(self, batch)

    monkeypatch.setattr(ActorCritic, "values", noted)
    options = {"use_peft": True, "lora_dropout": 0.1, "mini_batch_size": 16}
    run(config(tiny_model_dir, prompts, max_steps=1, **options), tmp_path / "out")
    assert seen == [False]


def test_no_prompt_is_on_both_sides(tiny_model_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "repeated.jsonl"
    write_jsonl(path, [{"prompt": f"user asks {i % 12}", "row": i} for i in range(60)])
    train, heldout = split_prompts(config(tiny_model_dir, path, eval_fraction=0.3))
    assert train and heldout
    assert not {row.prompt[0]["content"] for row in train} & {
        row.prompt[0]["content"] for row in heldout
    }
    write_jsonl(path, [{"prompt": "user asks"}])
    with pytest.raises(DataError, match="1 prompts are too few to hold some out"):
        split_prompts(config(tiny_model_dir, path))


def test_a_value_starts_from_a_reward_model_that_reads_the_same_ids(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(str(tiny_model_dir))
    reward = init_reward_model(str(tiny_model_dir), device=torch.device("cpu"), seed=0)
    for name in ("same", "other"):
        if name == "other":
            tokenizer.add_tokens(["another"])
        save_model(reward, tokenizer, tmp_path / name)
        chosen = config(
            tiny_model_dir, prompts, reward_funcs=[],
            reward_model_name_or_path=str(tmp_path / name),
        )  # fmt: skip
        value = ActorCritic(chosen, torch.device("cpu")).value
        weight = score_head(value.model).weight  # type: ignore[arg-type, union-attr]
        assert bool(weight.any()) is (name == "same")


@pytest.mark.parametrize("value_model", ["separate", "shared"])
def test_a_saved_value_is_the_value(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, value_model: str
) -> None:
    result = run(config(tiny_model_dir, prompts, value_model=value_model), tmp_path / "out")
    cpu = torch.device("cpu")
    ids = torch.tensor([[5, 6, 7, 8]])
    targets = torch.arange(4)[None] > 0
    if value_model == "separate":
        value = ValueModel.load(str(result.value_model), device=cpu)
        assert bool(value.values(ids, torch.ones_like(ids), targets).abs().sum() > 0)
    else:
        head = ValueHead.load(str(result.value_model), device=cpu)
        policy = load_policy(str(result.model), device=cpu)
        states = hidden_states(policy, ids, None, read=before(targets))
        assert bool(head.values(states, targets).abs().sum() > 0)


def test_bad_input(tiny_model_dir: Path, prompts: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reward_model_name_or_path"):
        run(config(tiny_model_dir, prompts, reward_funcs=[]), tmp_path / "a")
    with pytest.raises(ConfigError, match="max_completion_length"):
        run(config(tiny_model_dir, prompts, max_length=3), tmp_path / "b")
    with pytest.raises(DataError, match="no such file"):
        run(config(tiny_model_dir, tmp_path / "none.jsonl"), tmp_path / "c")


def test_long_prompts_are_cut_at_their_start(tiny_model_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    write_jsonl(path, [{"prompt": f"{i} " + "user asks " * 50} for i in range(20)])
    assert len(load_prompts(str(path))) == 20
    result = run(config(tiny_model_dir, path, max_length=20, max_steps=1), tmp_path / "out")
    assert result.cut_prompts == 20


def test_adaptive_coefficient_by_hand() -> None:
    controller = KlController(0.1, target_nats=2.0, horizon=1000)
    controller.update(3.0, rollouts=100)  # error 0.5, held at 0.2
    assert controller.coef == pytest.approx(0.1 * 1.02)
    controller.update(1.9, rollouts=100)
    assert controller.coef == pytest.approx(0.1 * 1.02 * (1 - 0.05 * 0.1))
    fixed = KlController(0.1, target_nats=None, horizon=1000)
    fixed.update(50.0, rollouts=100)
    assert fixed.coef == 0.1


def test_running_moments_are_those_of_all_values() -> None:
    moments = RunningMoments()
    moments.update([1.0, 2.0])
    moments.update([6.0])
    assert moments.mean == pytest.approx(3.0)
    assert moments.std == pytest.approx((14 / 3) ** 0.5)
    for value in (5.0, 0.1, -1e9 / 3):  # sums of these are not exact
        constant = RunningMoments()
        constant.update([value] * 7)
        constant.update([value] * 3)
        assert constant.std == 1.0


def planted_nan(completions: list[Any], **_: Any) -> list[float]:
    return [0.0] * (len(completions) - 1) + [float("nan")]


def all_equal(completions: list[Any], **_: Any) -> list[float]:
    return [0.1] * len(completions)


@pytest.fixture
def demonstrations(tmp_path: Path) -> Path:
    path = tmp_path / "demonstrations.jsonl"
    write_jsonl(path, [{"prompt": f"user asks {i}", "completion": "know"} for i in range(10)])
    return path


def test_the_mix_keeps_demonstrations_likely(
    tiny_model_dir: Path, prompts: Path, demonstrations: Path, tmp_path: Path
) -> None:
    """A reward for short responses, and demonstrations of another: with the mix they stay."""
    values: dict[str, Any] = {
        "max_steps": 12, "learning_rate": 1e-2, "reward_funcs": f"{__name__}:prefer_short",
        "kl_coef": 0.0, "max_update_kl": None,
    }  # fmt: skip
    mixed = {"ptx_dataset_name": str(demonstrations), "ptx_coef": 2.0}
    run(config(tiny_model_dir, prompts, **values, **mixed), tmp_path / "mixed")
    history = [row["ptx/loss"] for row in metrics(tmp_path / "mixed") if "ptx/loss" in row]
    assert history[-1] < 0.3 * history[0]
    with pytest.raises(ConfigError, match="ptx_coef"):
        run(
            config(tiny_model_dir, prompts, ptx_dataset_name=str(demonstrations)),
            tmp_path / "none",
        )


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_kl_in_the_loss_holds_the_policy(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, estimator: str
) -> None:
    def kl_with(kl_coef: float) -> float:
        chosen = config(
            tiny_model_dir, prompts, max_steps=12, kl_coef=kl_coef, learning_rate=1e-2,
            num_ppo_epochs=4, max_completion_length=8, max_update_kl=None, kl_in="loss",
            kl_estimator=estimator, reward_funcs=f"{__name__}:prefer_short",
        )  # fmt: skip
        return run(chosen, tmp_path / str(kl_coef)).heldout_kl_nats

    free, held = kl_with(0.0), kl_with(4.0)
    assert free > 1.0
    assert held < 0.5 * free


@pytest.mark.parametrize(
    "values",
    [
        {"reward_funcs": f"{__name__}:all_equal"},
        {"max_completion_length": 1},
        {"max_completion_length": 40, "missing_eos_penalty": 1.0},  # hardly one ends by itself
        {"max_length": 11, "max_completion_length": 3},  # the prompt fills what is left
    ],
    ids=["equal rewards", "one token", "never ends", "full context"],
)
def test_hard_batches_are_ordinary(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, values: dict[str, Any]
) -> None:
    run(config(tiny_model_dir, prompts, **values), tmp_path / "out")
    for row in metrics(tmp_path / "out"):
        row.pop("value/explained_variance", None)  # of returns that do not vary there is none
        assert all(v is not None and abs(v) < 1e6 for v in row.values()), row
        assert "policy/loss" in row or row["step"] == 0
    assert not list((tmp_path / "out").glob("nonfinite-*"))


def test_a_nan_reward_is_refused_with_its_place(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="planted_nan returned nan for completion"):
        run(
            config(tiny_model_dir, prompts, reward_funcs=f"{__name__}:planted_nan"),
            tmp_path / "out",
        )


def test_a_missing_end_of_turn_costs(tiny_model_dir: Path, prompts: Path, tmp_path: Path) -> None:
    """Scores are all equal: only the penalty differs, and the policy learns to end its turn."""
    chosen = config(
        tiny_model_dir, prompts, reward_funcs=f"{__name__}:all_equal", missing_eos_penalty=2.0,
        max_steps=40, learning_rate=3e-3, kl_coef=0.0, max_completion_length=2, eval_steps=40,
        per_device_train_batch_size=64, mini_batch_size=64, max_update_kl=None, num_ppo_epochs=4,
    )  # fmt: skip
    run(chosen, tmp_path / "out")
    logged = metrics(tmp_path / "out")
    assert logged[0]["heldout/stop_rate"] < 0.3 and logged[-1]["heldout/stop_rate"] > 0.9
