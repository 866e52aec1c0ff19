"""What PPO's options do, each seen from outside or against a naive computation."""

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from accord.core.errors import ConfigError, DataError, ModelError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.corpora.encoding import ChatEncoder
from accord.models import heads
from accord.models.heads import init_reward_model, score_head
from accord.models.loading import load_policy, load_tokenizer, save_model
from accord.models.score_heads import Layout
from accord.models.values import ValueModel
from accord.stages.policy_training.ppo import run as ppo
from accord.stages.policy_training.ppo import update
from accord.stages.policy_training.ppo.actor_critic import ActorCritic
from accord.stages.policy_training.ppo.config import Config
from accord.stages.policy_training.ppo.controllers import KlController
from accord.stages.policy_training.ppo.experience import Experience
from accord.stages.policy_training.ppo.pretraining_mix import configured_mix
from accord.training.average import MovingAverage
from accord.training.batches import rows_at
from rewards.test_ensemble import save
from stages.policy_training.test_ppo import config, metrics, run

CPU = torch.device("cpu")


def one_to_four(completions: list[Any], **_: Any) -> list[float]:
    """Mean 2.5 and deviation sqrt(1.25), whatever is said."""
    return [1.0 + i % 4 for i in range(len(completions))]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    write_jsonl(path, [{"prompt": f"user asks {i}"} for i in range(24)])
    return path


@pytest.fixture
def demonstrations(tmp_path: Path) -> Path:
    path = tmp_path / "demonstrations.jsonl"
    rows = [{"prompt": f"user asks {i}", "completion": "know " * i + "12"} for i in range(5)]
    texts = [{"text": "the answer is 12 and 7 " * i + "help"} for i in range(5)]
    write_jsonl(path, [row for pair in zip(rows, texts, strict=True) for row in pair])
    return path


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Experience]:
    """What every update was given."""
    found: list[Experience] = []
    updated = ppo.update_policy

    def spy(policy: Any, experience: Experience, *rest: Any, **named: Any) -> dict[str, float]:
        found.append(experience)
        return updated(policy, experience, *rest, **named)

    monkeypatch.setattr(ppo, "update_policy", spy)
    return found


@pytest.fixture
def shifted(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A sampler whose log-probs are off by `nats` a token in training."""
    by = {"nats": 0.0}
    collected = ppo.collect_rollouts

    def lie(*arguments: Any, **named: Any) -> Any:
        return [
            replace(r, old_logprobs=tuple(x + by["nats"] for x in r.old_logprobs))
            for r in collected(*arguments, **named)
        ]

    monkeypatch.setattr(ppo, "collect_rollouts", lie)
    return by


def test_an_ensemble_pays_by_what_its_members_say(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    """Three members on one trunk; before training, every way scores the same responses."""
    members = save(tiny_model_dir, tmp_path / "members", Layout(members=3))
    first: dict[str, dict[str, float]] = {}
    for way in ("mean", "worst", "uncertainty", "unsure"):
        chosen = config(
            tiny_model_dir, prompts, max_steps=2, reward_funcs=[],
            reward_model_name_or_path=str(members),
            reward_ensemble="uncertainty" if way == "unsure" else way,
            reward_uncertainty_coef=0.0 if way == "unsure" else 2.0,
        )  # fmt: skip
        run(chosen, tmp_path / way)
        first[way], *updates = metrics(tmp_path / way)
        assert len(updates) == 2 and all(row["score/spread"] > 0 for row in updates)
    scores = {way: row["heldout/score"] for way, row in first.items()}
    assert max(scores["worst"], scores["uncertainty"]) < scores["mean"]
    assert scores["unsure"] == pytest.approx(scores["mean"])


def one_step(model: Path, prompts: Path, **values: Any) -> Config:
    """One update of one step: its figures are those of the policy that sampled."""
    step: dict[str, Any] = {
        "max_steps": 1, "num_ppo_epochs": 1, "mini_batch_size": 16, "max_update_kl": None,
        "max_completion_length": 6, "reward_funcs": f"{__name__}:one_to_four",
    }  # fmt: skip
    return config(model, prompts, **{**step, **values})


EVERYTHING: dict[str, Any] = {
    "clip_scores": 1.0, "cliprange_high": 0.3, "dual_clip": 3.0, "importance_cap": 2.0,
    "entropy_coef": 0.01, "ema_decay": 0.6, "target_kl_nats": 0.5, "ptx_coef": 0.5,
    "reward_funcs": f"{__name__}:one_to_four",
}  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [
        {"kl_in": "loss", "kl_estimator": "k3", "value_model": "shared", "bf16": True},
        {"kl_in": "reward", "kl_estimator": "k2", "use_peft": True, "normalize_scores": "scale"},
        {"kl_in": "loss", "kl_estimator": "k1", "value_use_peft": True, "kl_budget_nats": 50.0},
    ],
    ids=["loss, shared value", "reward, adapters", "adapters of the value alone"],
)
def test_with_all_options_a_resumed_run_is_unbroken_bit_for_bit(
    tiny_model_dir: Path,
    prompts: Path,
    demonstrations: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, Any],
) -> None:
    chosen = config(
        tiny_model_dir, prompts, save_steps=2, lora_r=2, ptx_dataset_name=str(demonstrations),
        **EVERYTHING, **values,
    )  # fmt: skip
    unbroken = run(chosen, tmp_path / "unbroken")
    log_row = RunDir.log

    def killed(self: RunDir, step: int, row: dict[str, float]) -> None:
        log_row(self, step, row)
        if step == 3:  # after the checkpoint of update 2, with update 3 done and logged
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "log", killed)
        with pytest.raises(KeyboardInterrupt):
            run(chosen, tmp_path / "broken")
    torch.manual_seed(12345)
    resumed = run(chosen, tmp_path / "broken")
    assert metrics(tmp_path / "broken") == metrics(tmp_path / "unbroken")
    assert resumed.kl_coef == unbroken.kl_coef != chosen.kl_coef
    value = "head" if chosen.value_model == "shared" else "model"
    for file in ("model/model.safetensors", f"value/{value}.safetensors"):
        broken, whole = ((tmp_path / n / file).read_bytes() for n in ("broken", "unbroken"))
        assert broken == whole, file


def saved_policy(path: Path) -> dict[str, Tensor]:
    return load_file(path / "model" / "model.safetensors")


def test_the_moving_average_is_what_is_saved(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(3/4)^3 of the start, and the policies after each update by their age."""
    name = "model.layers.0.mlp.up_proj.weight"
    history = [load_file(tiny_model_dir / "model.safetensors")[name]]
    take = MovingAverage.update

    def spy(self: MovingAverage) -> None:
        take(self)
        history.append(self._trained[name].detach().clone())

    monkeypatch.setattr(MovingAverage, "update", spy)
    run(config(tiny_model_dir, prompts, max_steps=3, ema_decay=0.75), tmp_path / "out")
    start, one, two, three = history
    expected = 0.75**3 * start + 0.25 * (0.75**2 * one + 0.75 * two + three)
    torch.testing.assert_close(saved_policy(tmp_path / "out")[name], expected)
    assert (expected - three).abs().max() > 1e-3


def test_the_average_is_evaluated_while_the_policy_trains_as_without_it(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    values: dict[str, Any] = {
        "learning_rate": 1e-2, "kl_coef": 0.0, "max_update_kl": None,
        "reward_funcs": f"{__name__}:one_to_four",
    }  # fmt: skip
    run(config(tiny_model_dir, prompts, **values), tmp_path / "plain")
    slow = run(config(tiny_model_dir, prompts, ema_decay=0.9999, **values), tmp_path / "slow")
    rows = {name: metrics(tmp_path / name) for name in ("plain", "slow")}
    for plain, averaged in zip(rows["plain"], rows["slow"], strict=True):
        trained = [key for key in plain if not key.startswith(("heldout/", "monitor/"))]
        assert {k: plain[k] for k in trained} == {k: averaged[k] for k in trained}
    assert rows["plain"][-1]["heldout/kl_nats"] > 0.1
    assert abs(rows["slow"][-1]["heldout/kl_nats"]) < 1e-2
    assert slow.heldout_kl_nats == rows["slow"][-1]["heldout/kl_nats"]


def test_a_passed_budget_brings_the_average_back(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    values: dict[str, Any] = {
        "max_steps": 20, "kl_coef": 0.0, "eval_steps": 1, "ema_decay": 0.5, "max_update_kl": None,
    }  # fmt: skip
    result = run(config(tiny_model_dir, prompts, kl_budget_nats=0.2, **values), tmp_path / "out")
    assert result.was_stopped_by_budget and 1 < result.updates < 20
    values["max_steps"] = result.updates - 1
    run(config(tiny_model_dir, prompts, **values), tmp_path / "shorter")
    found, expected = saved_policy(tmp_path / "out"), saved_policy(tmp_path / "shorter")
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("values", "has_adapters"),
    [
        ({"use_peft": True}, True),
        ({"value_use_peft": True}, True),
        ({"use_peft": True, "value_use_peft": False}, False),
    ],
)
def test_adapters_of_the_value_are_saved_and_read_again(
    tiny_model_dir: Path,
    prompts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, Any],
    has_adapters: bool,
) -> None:
    policies: list[ActorCritic] = []
    save = ActorCritic.save_value
    monkeypatch.setattr(
        ActorCritic, "save_value", lambda self, *rest: (policies.append(self), save(self, *rest))
    )
    chosen = config(tiny_model_dir, prompts, lora_r=4, learning_rate=1e-2, **values)
    run(chosen, tmp_path / "out")
    value = policies[0].value
    trained = [name for name, p in value.named_parameters() if p.requires_grad]
    assert all("lora" in n or "score" in n for n in trained) is has_adapters
    ids = torch.tensor([[1, 40, 50, 60, 70, 80]])
    batch = ids, torch.ones_like(ids), torch.arange(6)[None] > 0
    reloaded = ValueModel.load(str(tmp_path / "out" / "value"), device=CPU)
    assert isinstance(value, ValueModel)
    with torch.no_grad():
        expected = value.values(*batch)
        torch.testing.assert_close(reloaded.values(*batch), expected, atol=1e-5, rtol=1e-4)
    assert expected.abs().max() > 1e-3  # it started as 0
    if has_adapters:  # what the head reads has moved too, by the adapters
        adapters = [p for n, p in value.named_parameters() if "lora_B" in n]
        assert adapters and all(bool(p.any()) for p in adapters)


def test_a_value_that_was_not_saved_as_trained_is_noticed(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = heads.write_model

    def forgetful(model: Any, tokenizer: Any, directory: Path) -> None:
        with torch.no_grad():
            score_head(model).weight.zero_()
        write(model, tokenizer, directory)

    monkeypatch.setattr(heads, "write_model", forgetful)
    with pytest.raises(ModelError, match="head was not saved as it was trained"):
        run(config(tiny_model_dir, prompts, value_use_peft=True, max_steps=2), tmp_path / "out")
    assert not (tmp_path / "out" / "value").exists()


def naive_cross_entropy(model: Path, rows: Sequence[tuple[list[int], list[bool]]]) -> float:
    """Mean nats of the targets, each row by itself, from whole logits at temperature 1."""
    policy = load_policy(str(model), device=CPU)
    nats = []
    for ids, mask in rows:
        with torch.no_grad():
            logprobs = policy(torch.tensor([ids])).logits[0].log_softmax(-1)
        nats += [-float(logprobs[t - 1, ids[t]]) for t in range(len(ids)) if mask[t]]
    return sum(nats) / len(nats)


def test_the_mix_against_a_naive_mean(
    tiny_model_dir: Path, prompts: Path, demonstrations: Path
) -> None:
    """Demonstrations and text, at a sampling temperature that must not matter, in many pieces."""
    encoder = ChatEncoder(load_tokenizer(str(tiny_model_dir)))
    rows: list[tuple[list[int], list[bool]]] = []
    for i in range(5):
        prompt = encoder.encode_prompt([{"role": "user", "content": f"user asks {i}"}])
        answer = encoder.encode_response("know " * i + "12")
        rows.append(([*prompt, *answer], [False] * len(prompt) + [True] * len(answer)))
        text = encoder.encode_text("the answer is 12 and 7 " * i + "help")
        rows.append(([*text, encoder.end_of_turn_id], [False] + [True] * len(text)))
    norms = []
    for coef, budget in ((0.5, 8192), (2.0, 30)):
        chosen = config(
            tiny_model_dir, prompts, ptx_dataset_name=str(demonstrations), ptx_coef=coef,
            mini_batch_size=4, temperature=0.5, tokens_per_micro_batch=budget,
        )  # fmt: skip
        policy = ActorCritic(chosen, CPU)
        mix = configured_mix(policy, chosen)
        assert mix is not None
        for step in (0, 1, 7):
            picked = rows_at(10, step, size=4, seed=chosen.seed + 7)
            expected = naive_cross_entropy(tiny_model_dir, [rows[i] for i in picked])
            policy.module.zero_grad()
            assert mix.learn(step) == pytest.approx(expected, rel=1e-5)
        gradients = [p.grad for p in policy.module.parameters() if p.grad is not None]
        norms.append(float(torch.stack([g.norm() for g in gradients]).norm()))
    assert norms[1] == pytest.approx(4 * norms[0], rel=1e-4)


@pytest.mark.parametrize(
    ("rows", "values", "error", "match"),
    [
        ([{"text": ""}], {"ptx_coef": 1.0}, DataError, "row 1: the text is empty"),
        ([{"text": "a"}, {"prompt": "b"}], {"ptx_coef": 1.0}, DataError, "row 2: no column"),
        ([], {"ptx_coef": 1.0}, DataError, "no rows"),
        ([{"text": "a"}], {}, ConfigError, "give both or neither"),
        (None, {"ptx_coef": 1.0}, ConfigError, "give both or neither"),
    ],
)
def test_a_mix_that_is_none_is_refused(
    tiny_model_dir: Path,
    prompts: Path,
    tmp_path: Path,
    rows: list[dict[str, str]] | None,
    values: dict[str, Any],
    error: type[Exception],
    match: str,
) -> None:
    if rows is not None:
        write_jsonl(tmp_path / "mix.jsonl", rows)
        values = {**values, "ptx_dataset_name": str(tmp_path / "mix.jsonl")}
    with pytest.raises(error, match=match):
        run(config(tiny_model_dir, prompts, **values), tmp_path / "out")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"normalize_scores": False}, 2.5),
        ({"normalize_scores": "none", "clip_scores": 2.0}, 1.75),  # 1, 2, 2, 2
        ({"normalize_scores": True}, 0.0),
        ({"normalize_scores": "running", "clip_scores": 1.0}, 0.0),  # -1, -.45, .45, 1
        ({"normalize_scores": "scale"}, 2.5 / 1.25**0.5),
        ({"normalize_scores": "scale", "clip_scores": 2.0}, (3 / 1.25**0.5 + 4) / 4),
    ],
)
def test_scores_are_normalised_then_clipped_then_fined(
    tiny_model_dir: Path,
    prompts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, Any],
    expected: float,
) -> None:
    """Every fourth response ends its turn."""
    collected = ppo.collect_rollouts

    def every_fourth_ends(*arguments: Any, **named: Any) -> Any:
        rollouts = enumerate(collected(*arguments, **named))
        return [replace(rollout, finished=i % 4 == 0) for i, rollout in rollouts]

    monkeypatch.setattr(ppo, "collect_rollouts", every_fourth_ends)
    for penalty in (0.0, 10.0):
        chosen = one_step(
            tiny_model_dir, prompts, missing_eos_penalty=penalty, **values,
        )  # fmt: skip
        path = tmp_path / str(penalty)
        run(chosen, path)
        row = metrics(path)[1]
        assert row["score/mean"] == 2.5
        assert row["score/shaped_mean"] == pytest.approx(expected - 0.75 * penalty, abs=1e-5)


def test_advantages_are_white_over_the_whole_batch_however_it_is_split(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the loss is given of one batch, in one piece, in minibatches, and in micro-batches."""
    loss = update.clipped_policy_loss
    found: dict[str, Tensor] = {}
    for name, values in {
        "whole": {},
        "minibatches": {"mini_batch_size": 4},
        "pieces": {"tokens_per_micro_batch": 60},
    }.items():
        given: list[Tensor] = []

        def spy(
            new: Tensor, old: Tensor, a: Tensor, mask: Tensor, given: Any = given, **rest: Any
        ) -> Any:
            given.append(a[mask])
            return loss(new, old, a, mask, **rest)

        with monkeypatch.context() as patch:
            patch.setattr(update, "clipped_policy_loss", spy)
            chosen: dict[str, Any] = {"missing_eos_penalty": 1.0, **values}
            run(one_step(tiny_model_dir, prompts, **chosen), tmp_path / name)
        assert (len(given) > 1) == (name != "whole")
        found[name] = torch.cat(given).sort().values
    assert found["whole"].mean().item() == pytest.approx(0.0, abs=1e-6)
    assert found["whole"].var(correction=0).item() == pytest.approx(1.0, rel=1e-5)
    for name in ("minibatches", "pieces"):
        torch.testing.assert_close(found[name], found["whole"])


def test_importance_weights_repair_a_sampler_that_is_off(
    tiny_model_dir: Path,
    prompts: Path,
    tmp_path: Path,
    shifted: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sampler says half the probability: the trainer's is twice as large, and the cap holds."""
    forwards: list[int] = []
    read = ActorCritic.logprobs

    def counted(self: ActorCritic, *arguments: Any, **named: Any) -> Any:
        forwards.append(1)
        return read(self, *arguments, **named)

    monkeypatch.setattr(ActorCritic, "logprobs", counted)
    rows = {}
    for name, nats, values in (
        ("right", 0.0, {}),
        ("off", -log(2), {}),
        ("capped", -log(2), {"importance_cap": 1.5}),
        ("free", -log(2), {"importance_cap": 9.0, "tokens_per_micro_batch": 60}),
    ):
        shifted["nats"] = nats
        forwards.clear()
        run(one_step(tiny_model_dir, prompts, kl_coef=0.0, **values), tmp_path / name)
        # What a batch of one piece is read for first is what the weights are made of.
        assert bool(forwards) == ("tokens_per_micro_batch" in values)
        rows[name] = metrics(tmp_path / name)[1]
    for name, weight, share in (("capped", 1.5, 1.0), ("free", 2.0, 0.0)):
        row = rows[name]
        assert row["importance/mean"] == pytest.approx(weight, rel=1e-4)
        assert row["importance/capped_share"] == share
        assert row["policy/approx_kl"] == pytest.approx(0.0, abs=1e-6)
        assert row["kl_nats"] == pytest.approx(0.0, abs=1e-4)
        assert row["sampler_gap_nats/max"] == pytest.approx(log(2), abs=1e-4)
        expected = weight * rows["right"]["policy/grad_norm"]
        assert row["policy/grad_norm"] == pytest.approx(expected, rel=1e-3)
    assert rows["right"]["policy/grad_norm"] > 1e-3
    assert rows["off"]["policy/approx_kl"] == pytest.approx(1 - log(2), abs=1e-4)
    assert "importance/mean" not in rows["off"]


def test_dual_clip_bounds_what_bad_tokens_cost(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, shifted: dict[str, float]
) -> None:
    """All ratios are e^3. Good and bad advantages have one mean m, as white ones do: with the clip
    at 1.2 the loss is (e^3 - 1.2) m, and with a dual clip d, (d - 1.2) m.
    """
    shifted["nats"] = -3.0
    losses = []
    for name, values in (("plain", {}), ("dual", {"dual_clip": 4.0})):
        run(one_step(tiny_model_dir, prompts, **values), tmp_path / name)
        losses.append(metrics(tmp_path / name)[1]["policy/loss"])
    assert losses[0] > 1
    assert losses[1] / losses[0] == pytest.approx((4 - 1.2) / (exp(3) - 1.2), rel=1e-3)


def naive_kl(experience: Experience, estimator: str) -> float:
    """Mean nats a token of one of the three, r = pi_ref / pi."""
    total = []
    for row, column in experience.batch.target_mask.nonzero().tolist():
        pi = float(experience.old_logprobs[row, column])
        log_r = float(experience.reference_logprobs[row, column]) - pi
        total.append({"k1": -log_r, "k2": log_r**2 / 2, "k3": exp(log_r) - 1 - log_r}[estimator])
    return sum(total) / len(total)


@pytest.mark.parametrize("kl_in", ["reward", "loss"])
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_the_kl_is_paid_once_in_the_reward_or_in_the_loss(
    tiny_model_dir: Path,
    prompts: Path,
    tmp_path: Path,
    seen: list[Experience],
    kl_in: str,
    estimator: str,
) -> None:
    """And the coefficient adapts to the KL of the rollouts in both cases."""
    chosen = one_step(
        tiny_model_dir, prompts, kl_in=kl_in, kl_estimator=estimator, kl_coef=0.5, max_steps=3,
        learning_rate=1e-2, target_kl_nats=0.01, kl_horizon=50, warmup_steps=0,
    )  # fmt: skip
    run(chosen, tmp_path / "out")
    controller = KlController(0.5, 0.01, 50)
    for row, experience in zip(metrics(tmp_path / "out")[1:], seen, strict=True):
        assert row["kl_coef"] == pytest.approx(controller.coef, rel=1e-9)
        controller.update(row["kl_nats"], 16)
        kl, length = naive_kl(experience, estimator), row["length/mean"]
        paid = row["kl_coef"] * kl * length if kl_in == "reward" else 0.0
        assert row["reward/mean"] == pytest.approx(row["score/shaped_mean"] - paid, abs=1e-4)
        assert ("kl/loss" in row) is (kl_in == "loss")
        if kl_in == "loss":
            assert row["kl/loss"] == pytest.approx(kl, abs=1e-5)
            parts = row["policy/loss"] + 0.1 * row["value/loss"] + row["kl_coef"] * row["kl/loss"]
            assert row["loss"] == pytest.approx(parts, abs=1e-5)
    assert abs(kl) > 1e-3 and controller.coef != 0.5


def test_a_reward_model_that_gives_nan_is_refused(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    reward = init_reward_model(str(tiny_model_dir), device=CPU, seed=0)
    with torch.no_grad():
        score_head(reward).weight[0, 0] = float("nan")
    save_model(reward, load_tokenizer(str(tiny_model_dir)), tmp_path / "reward")
    chosen = config(
        tiny_model_dir, prompts, reward_funcs=[],
        reward_model_name_or_path=str(tmp_path / "reward"),
    )  # fmt: skip
    with pytest.raises(DataError, match="reward gave nan for response 0; expected a finite"):
        run(chosen, tmp_path / "out")


def test_a_prompt_that_fills_the_context(
    tiny_model_dir: Path, tmp_path: Path, seen: list[Experience]
) -> None:
    """`max_length` is beyond the model's 512 tokens: prompts lose their start, not the response."""
    path = tmp_path / "long.jsonl"
    long = [{"prompt": f"{i} " + "user asks " * 400} for i in range(6)]
    write_jsonl(path, long + [{"prompt": f"help {i}"} for i in range(6)])
    chosen = one_step(
        tiny_model_dir, path, max_length=1024, max_eval_prompts=12, mini_batch_size=4,
        per_device_train_batch_size=4,
    )  # fmt: skip
    result = run(chosen, tmp_path / "out")
    assert result.cut_prompts == 6
    batch = seen[0].batch
    lengths, responses = batch.attention_mask.sum(1), batch.target_mask.sum(1)
    assert 512 - 6 < lengths.max() <= 512
    assert (lengths - responses).max() == 512 - 6
    assert metrics(tmp_path / "out")[1]["loss"] is not None
