"""PPO, visibly: sample, score, estimate advantages, update, watch the held-out reward and the KL.

Source: Schulman et al. 2017, arXiv:1707.06347; for language models Ziegler et al. 2019,
arXiv:1909.08593, and Ouyang et al. 2022, arXiv:2203.02155.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from accord.core.device import default_device, seed_everything
from accord.core.errors import ConfigError
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
from accord.stages.policy_training.ppo.controllers import (
    KlController,
    Progress,
    RunningMoments,
)
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
from accord.training.state import Checkpoints, trained_weights
from accord.training.step import Optimization, adamw, constant_after_warmup


@dataclass(frozen=True)
class Result:
    """What PPO leaves; KL in nats a response, scores in the reward's units.

    The held-out figures are those of the saved policy. When the budget stopped the run, that is the
    policy of the last evaluation within it, and `updates` counts what was undone, too.
    """

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
    total = _total_updates(config, len(train))
    optimizations = _optimizations(policy, config, run_dir)
    checkpoints = Checkpoints(
        run_dir,
        modules=_modules(policy),
        optimizations=optimizations,
        every=config.save_steps,
        total=total,
    )
    restored = checkpoints.restore()
    progress = Progress.restore(restored[1]["progress"]) if restored else _start(config)
    within_budget: dict[str, Any] = restored[1]["within_budget"] if restored else {}
    engine = engine_factory(policy.module, policy.tokenizer)

    def evaluate() -> dict[str, float]:
        found = evaluate_policy(engine, policy, reward, heldout, config)
        progress.evaluated(found, config.kl_budget_nats)
        if config.kl_budget_nats is not None and not progress.is_over_budget:
            within_budget.update({n: trained_weights(m) for n, m in _modules(policy).items()})
        return found

    with stop_on_signal() as stop, progress_bar("PPO", total) as bar:
        if progress.done == 0:
            run_dir.log(0, evaluate())
        while progress.done < total and not progress.is_over_budget:
            update = progress.done
            rows = _batch(train, update, config)
            seed = config.seed * 1_000_000 + update
            rollouts = collect_rollouts(engine, rows, policy.encoder, config, seed=seed)
            scores = score_rollouts(reward, rows, rollouts, policy.encoder).values
            experience = prepare(policy, rollouts, scores, progress, config)
            metrics = update_policy(policy, experience, optimizations, config, update=update)
            progress.controller.update(experience.kl_nats, len(rollouts))
            progress.largest_gap_nats = max(
                progress.largest_gap_nats, metrics["sampler_gap_nats/max"]
            )
            progress.done = done = update + 1
            engine.load_weights(policy.module.state_dict(), version=done)
            metrics |= experience.metrics
            if done % config.eval_steps == 0 or done == total:
                metrics |= evaluate()
            run_dir.log(done, metrics)
            bar.update(done, {k: metrics[k] for k in ("score/mean", "kl_nats", "length/mean")})
            loop = {"progress": progress.state(), "within_budget": within_budget}
            checkpoints.after(done, loop, stop)
    engine.close()
    if progress.is_over_budget:
        for name, module in _modules(policy).items():
            module.load_state_dict(within_budget[name], strict=False)
    save_model(merged(policy.module), policy.tokenizer, run_dir.model_path)
    policy.save_value(run_dir.path / "value")
    cut = _count_cut(train + heldout, policy.encoder, config)
    return _result(run_dir, progress, cut, config)


def _start(config: Config) -> Progress:
    controller = KlController(config.kl_coef, config.target_kl_nats, config.kl_horizon)
    return Progress(controller, RunningMoments())


def _result(run_dir: RunDir, progress: Progress, cut_prompts: int, config: Config) -> Result:
    return Result(
        model=run_dir.model_path,
        value_model=run_dir.path / "value",
        updates=progress.done,
        rollouts=progress.done * config.per_device_train_batch_size,
        heldout_score_before=progress.score_before,
        heldout_score_after=progress.score,
        heldout_kl_nats=progress.kl_nats,
        kl_coef=progress.controller.coef,
        largest_sampler_gap_nats=progress.largest_gap_nats,
        cut_prompts=cut_prompts,
        was_stopped_by_budget=progress.is_over_budget,
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
