"""PPO, visibly: sample, score, estimate advantages, update, watch the held-out reward and the KL.

Source: Schulman et al. 2017, arXiv:1707.06347; for language models Ziegler et al. 2019,
arXiv:1909.08593, and Ouyang et al. 2022, arXiv:2203.02155.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accord.core.device import default_device, seed_everything
from accord.core.interfaces import EngineFactory
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.models.lora import save_trained
from accord.stages.policy_training.ppo.actor_critic import ActorCritic
from accord.stages.policy_training.ppo.config import Config
from accord.stages.policy_training.ppo.experience import prepare
from accord.stages.policy_training.ppo.loop_state import LoopState
from accord.stages.policy_training.ppo.pretraining_mix import configured_mix
from accord.stages.policy_training.ppo.update import update_policy
from accord.stages.policy_training.progress import Progress
from accord.stages.policy_training.refresh import Refresh
from accord.stages.policy_training.rollouts import (
    collect_rollouts,
    configured_reward,
    count_cut,
    prompts_at,
    score_metrics,
    score_rollouts,
    split_prompts,
    total_updates,
    within_policy,
)
from accord.stages.policy_training.watch import Watch
from accord.training.interrupt import stop_on_signal
from accord.training.state import Checkpoints
from accord.training.step import Optimization, adamw, constant_after_warmup


@dataclass(frozen=True)
class Result:
    """What PPO leaves; KL in nats a response, scores in the reward's units.

    The held-out figures are those of the saved policy: with `ema_decay` the moving average. When
    the budget stopped the run, it is the one of the last evaluation within it; where the monitors
    may stop, the best by the gold scorer. `updates` counts what was undone, too.

    `refreshes` tells when the reward model was trained further (it is then under `reward/`), on how
    many pairs, judged by whom, and what share of the fresh ones held out it ranked right
    before and after; scores are those of the last.
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
    was_stopped_by_monitors: bool
    refreshes: list[dict[str, Any]]


def run(config: Config, run_dir: RunDir, *, engine_factory: EngineFactory) -> Result:
    """Train a policy against a reward and save it under `model/`, its value under `value/`."""
    seed_everything(config.seed)
    policy = ActorCritic(config, default_device())
    config = within_policy(config, policy)
    reward = configured_reward(config, policy)
    mix = configured_mix(policy, config)
    train, heldout = split_prompts(config)
    total = total_updates(config, len(train))
    optimizations = _optimizations(policy, config, run_dir)
    saving = {"every": config.save_steps, "total": total, "keep": config.save_total_limit}
    refresh = Refresh(config, reward, policy, train, run_dir)
    modules = {**policy.modules, **refresh.modules}
    checkpoints = Checkpoints(run_dir, modules=modules, optimizations=optimizations, **saving)
    restored = checkpoints.restore()
    loop = LoopState.begin(config, policy.module, restored[1] if restored else None)
    progress, controller, moments, average = loop
    engine = policy.engine(engine_factory, version=progress.done)
    watch = Watch(policy, reward, heldout, config, run_dir, progress, policy.modules)

    def evaluate() -> dict[str, float]:
        with average.in_place():  # the policy as it would be saved now
            engine.load_weights(policy.weights(), version=progress.done)
            return watch.evaluate(engine)

    with stop_on_signal() as stop, progress_bar("PPO", total) as bar:
        if progress.done == 0:
            run_dir.log(0, evaluate())
        while progress.done < total and not progress.is_stopped:
            refreshed = refresh.when_due(engine, progress, watch)
            update = progress.done
            count = config.per_device_train_batch_size
            rows = prompts_at(train, update, count=count, seed=config.seed)
            seed = config.seed * 1_000_000 + update
            rollouts = collect_rollouts(engine, rows, policy.encoder, config, seed=seed)
            scores = score_rollouts(reward, rows, rollouts, policy.encoder)
            experience = prepare(policy, rollouts, scores.values, moments, controller.coef, config)
            metrics = update_policy(policy, experience, mix, optimizations, config, update=update)
            controller.update(experience.kl_nats, len(rollouts))
            progress.updated(metrics)
            average.update()
            metrics |= experience.metrics | score_metrics([scores]) | refreshed
            if progress.done % config.eval_steps == 0 or progress.done == total:
                metrics |= evaluate()
            engine.load_weights(policy.weights(), version=progress.done)
            run_dir.log(progress.done, metrics)
            shown = {k: metrics[k] for k in ("score/mean", "kl_nats", "length/mean")}
            bar.update(progress.done, shown)
            checkpoints.after(progress.done, loop.saved(), stop, progress.counted(metrics))
    engine.close()
    average.settle()
    progress.bring_back(policy.modules)
    refresh.finish(progress)
    save_trained(policy.module, policy.tokenizer, config, run_dir)
    policy.save_value(run_dir.path / "value", heldout)
    cut_prompts = count_cut(train + heldout, policy.encoder, config)
    return _result(run_dir, progress, controller.coef, cut_prompts, config)


def _result(
    run_dir: RunDir, progress: Progress, kl_coef: float, cut_prompts: int, config: Config
) -> Result:
    return Result(
        model=run_dir.model_path,
        value_model=run_dir.path / "value",
        updates=progress.done,
        rollouts=progress.done * config.per_device_train_batch_size,
        heldout_score_before=progress.score_before,
        heldout_score_after=progress.score,
        heldout_kl_nats=progress.kl_nats,
        kl_coef=kl_coef,
        largest_sampler_gap_nats=progress.largest_gap_nats,
        cut_prompts=cut_prompts,
        was_stopped_by_budget=progress.is_over_budget,
        was_stopped_by_monitors=progress.is_braked,
        refreshes=progress.refreshes,
    )


def _optimizations(policy: ActorCritic, config: Config, run_dir: RunDir) -> dict[str, Optimization]:
    """One for the policy, one for the value: neither's gradients are clipped for the other's."""
    decay = config.weight_decay
    rates = {
        "policy": config.learning_rate,
        "value": config.value_learning_rate or config.learning_rate,
    }
    return {
        name: Optimization(
            [adamw(module.named_parameters(), learning_rate=rates[name], weight_decay=decay)],
            schedule=constant_after_warmup(warmup_steps=config.warmup_steps),
            max_grad_norm=config.max_grad_norm,
            dump_dir=run_dir.path,
        )
        for name, module in policy.modules.items()
    }
