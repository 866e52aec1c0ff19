"""PPO, visibly: sample, score, estimate advantages, update, watch the held-out reward and the KL.

Source: Schulman et al. 2017, arXiv:1707.06347; for language models Ziegler et al. 2019,
arXiv:1909.08593, and Ouyang et al. 2022, arXiv:2203.02155.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from accord.core.device import default_device, seed_everything
from accord.core.errors import ConfigError, Interrupted
from accord.core.interfaces import EngineFactory, Reward
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.core.types import PromptRow
from accord.corpora.encoding import ChatEncoder
from accord.corpora.prompts import load_prompts
from accord.models.loading import save_model
from accord.models.lora import merged
from accord.rewards.functions import FunctionReward
from accord.rewards.learned import LearnedReward
from accord.stages.policy_training.ppo.config import Config
from accord.stages.policy_training.ppo.controllers import KlController, RunningMoments
from accord.stages.policy_training.ppo.policy import Policy
from accord.stages.policy_training.ppo.rollouts import (
    collect_rollouts,
    evaluate_policy,
    prepare,
    prompt_room,
    score_rollouts,
)
from accord.stages.policy_training.ppo.update import update_policy
from accord.training.batches import epoch_order
from accord.training.interrupt import stop_on_signal
from accord.training.state import load_checkpoint, save_checkpoint
from accord.training.step import Optimization, adamw, constant_after_warmup


@dataclass(frozen=True)
class Result:
    """What PPO leaves; KL in nats a response, scores in the reward's units."""

    model: Path
    value_model: Path
    updates: int
    rollouts: int
    heldout_score_before: float
    heldout_score_after: float
    heldout_kl_nats: float
    kl_coef: float
    largest_sampler_gap_nats: float
    cut_prompts: int
    was_stopped_by_budget: bool


def run(config: Config, run_dir: RunDir, *, engine_factory: EngineFactory) -> Result:
    """Train a policy against a reward and save it under `model/`, its value under `value/`."""
    seed_everything(config.seed)
    policy = Policy(config, default_device())
    reward = _load_reward(config, policy)
    train, heldout = _split_prompts(config)
    optimizations = _optimizations(policy, config, run_dir)
    modules = _modules(policy)
    controller = KlController(config.kl_coef, config.target_kl_nats, config.kl_horizon)
    moments = RunningMoments()
    loop: dict[str, Any] = {
        "done": 0,
        "budget": False,
        "gap": 0.0,
        "score": 0.0,
        "before": 0.0,
        "kl": 0.0,
    }
    restored = load_checkpoint(run_dir, modules=modules, optimizations=optimizations)
    if restored:
        loop = restored[1]
        controller.coef = loop["kl_coef"]
        moments = RunningMoments(**loop["moments"])
    first = restored[0] if restored else 0
    total = _total_updates(config, len(train))
    engine = engine_factory(policy.module, policy.tokenizer)

    def evaluate(step: int) -> dict[str, float]:
        metrics = evaluate_policy(engine, policy, reward, heldout, policy.encoder, config)
        loop["score"], loop["kl"] = metrics["heldout/score"], metrics["heldout/kl_nats"]
        if step == 0:
            loop["before"] = loop["score"]
        budget = config.kl_budget_nats
        loop["budget"] = budget is not None and loop["kl"] > budget
        return metrics

    with stop_on_signal() as stop, progress_bar("PPO", total) as bar:
        if first == 0:
            run_dir.log(0, evaluate(0))
        for update in range(first, total):
            if loop["budget"]:
                break
            rows = _batch(train, update, config)
            rollouts = collect_rollouts(
                engine, rows, policy.encoder, config, seed=config.seed * 1_000_000 + update
            )
            scores = score_rollouts(reward, rows, rollouts, policy.encoder).values
            experience = prepare(
                policy,
                rollouts,
                scores,
                moments,
                kl_coef=controller.coef,
                config=config,
                pad_id=policy.encoder.pad_id,
            )
            metrics = update_policy(policy, experience, optimizations, config, update=update)
            controller.update(experience.kl_nats, len(rollouts))
            done = loop["done"] = update + 1
            engine.load_weights(policy.module.state_dict(), version=done)
            loop["gap"] = max(loop["gap"], metrics["sampler_gap_nats/max"])
            metrics |= experience.metrics
            if done % config.eval_steps == 0 or done == total:
                metrics |= evaluate(done)
            run_dir.log(done, metrics)
            bar.update(done, {k: metrics[k] for k in ("score/mean", "kl_nats", "length/mean")})
            if (done % config.save_steps == 0 and done < total) or stop:
                saved = {**loop, "kl_coef": controller.coef, "moments": asdict(moments)}
                save_checkpoint(
                    run_dir, done, modules=modules, optimizations=optimizations, loop=saved
                )
            if stop and done < total:
                raise Interrupted(
                    f"{run_dir.path}: stopped after update {done}; run again to resume"
                )
    engine.close()
    save_model(merged(policy.module), policy.tokenizer, run_dir.model_path)
    value_path = run_dir.path / "value"
    policy.save_value(value_path)
    return Result(
        model=run_dir.model_path,
        value_model=value_path,
        updates=loop["done"],
        rollouts=loop["done"] * config.per_device_train_batch_size,
        heldout_score_before=loop["before"],
        heldout_score_after=loop["score"],
        heldout_kl_nats=loop["kl"],
        kl_coef=controller.coef,
        largest_sampler_gap_nats=loop["gap"],
        cut_prompts=_count_cut(train + heldout, policy.encoder, config),
        was_stopped_by_budget=loop["budget"],
    )


def _count_cut(rows: Sequence[PromptRow], encoder: ChatEncoder, config: Config) -> int:
    room = prompt_room(config)
    return sum(len(encoder.encode_prompt(row.prompt)) > room for row in rows)


def _load_reward(config: Config, policy: Policy) -> Reward:
    if (config.reward_model_name_or_path is None) == (config.reward_func is None):
        raise ConfigError("ppo: give either reward_model_name_or_path or reward_func")
    if config.reward_func:
        return FunctionReward(config.reward_func)
    assert config.reward_model_name_or_path
    return LearnedReward(
        config.reward_model_name_or_path,
        device=policy.device,
        max_length=config.max_length,
        policy_encoder=policy.encoder,
    )


def _split_prompts(config: Config) -> tuple[list[PromptRow], list[PromptRow]]:
    rows = load_prompts(config.prompts)
    if config.eval_prompts:
        return rows, load_prompts(config.eval_prompts)[: config.max_eval_prompts]
    order = epoch_order(len(rows), seed=config.seed + 1, epoch=0)
    held = min(config.max_eval_prompts, max(1, int(config.eval_fraction * len(rows))))
    return [rows[i] for i in order[held:]], [rows[i] for i in order[:held]]


def _modules(policy: Policy) -> dict[str, nn.Module]:
    return {"policy": policy.module, "value": policy.value}


def _optimizations(policy: Policy, config: Config, run_dir: RunDir) -> dict[str, Optimization]:
    """One for the policy, one for the value: neither's gradients are clipped for the other's."""
    rates = {
        "policy": config.learning_rate,
        "value": config.value_learning_rate or config.learning_rate,
    }
    return {
        name: Optimization(
            [adamw(module.named_parameters(), learning_rate=rates[name])],
            schedule=constant_after_warmup(warmup_steps=config.warmup_steps),
            max_grad_norm=config.max_grad_norm,
            dump_dir=run_dir.path,
        )
        for name, module in _modules(policy).items()
    }


def _total_updates(config: Config, prompts: int) -> int:
    if config.max_steps > 0:
        return config.max_steps
    return max(1, int(config.num_train_epochs * prompts / config.per_device_train_batch_size))


def _batch(rows: Sequence[PromptRow], update: int, config: Config) -> list[PromptRow]:
    """The update's prompts: consecutive pieces of an endless sequence of shuffled epochs."""
    size = config.per_device_train_batch_size
    places = [divmod(position, len(rows)) for position in range(update * size, (update + 1) * size)]
    orders = {e: epoch_order(len(rows), seed=config.seed, epoch=e) for e, _ in places}
    return [rows[orders[epoch][index]] for epoch, index in places]
