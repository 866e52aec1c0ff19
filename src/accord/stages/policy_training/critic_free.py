"""The loop of the methods without a value: only their advantages and aggregation differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accord.core.device import default_device, seed_everything
from accord.core.interfaces import EngineFactory
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.core.types import PromptRow
from accord.models.lora import save_trained
from accord.stages.policy_training.critic_free_config import CriticFreeConfig
from accord.stages.policy_training.critic_free_update import Method, update_policy
from accord.stages.policy_training.group_sampling import Sampler, prompts_an_update
from accord.stages.policy_training.policy import Policy
from accord.stages.policy_training.progress import Progress
from accord.stages.policy_training.refresh import Refresh
from accord.stages.policy_training.rollouts import (
    configured_reward,
    count_cut,
    split_prompts,
    total_updates,
    within_policy,
)
from accord.stages.policy_training.watch import Watch
from accord.training.interrupt import stop_on_signal
from accord.training.state import Checkpoints
from accord.training.step import constant_rate


@dataclass(frozen=True)
class Result:
    """What a method without a value leaves; KL in nats a response, scores in the reward's units.

    The held-out figures are those of the saved policy; see PPO's `Result` for where the budget or
    the monitors stopped the run.
    """

    model: Path
    updates: int
    rollouts: int
    heldout_score_before: float
    heldout_score_after: float
    heldout_kl_nats: float
    largest_sampler_gap_nats: float
    cut_prompts: int
    was_stopped_by_budget: bool
    was_stopped_by_monitors: bool
    refreshes: list[dict[str, Any]]


def train(
    config: CriticFreeConfig, run_dir: RunDir, method: Method, *, engine_factory: EngineFactory
) -> Result:
    """Sample, score, turn scores into advantages, update; watch the held-out reward and the KL."""
    seed_everything(config.seed)
    policy = Policy(config, default_device())
    config = within_policy(config, policy)
    reward = configured_reward(config, policy)
    train_rows, heldout = split_prompts(config)
    prompts = prompts_an_update(config, config.num_generations)
    total = total_updates(config, len(train_rows) * config.num_generations)
    modules = {"policy": policy.module}
    optimizations = {"policy": constant_rate(policy.module, config, dump_dir=run_dir.path)}
    saving = {"every": config.save_steps, "total": total, "keep": config.save_total_limit}
    refresh = Refresh(config, reward, policy, train_rows, run_dir)
    saved = {**modules, **refresh.modules}
    checkpoints = Checkpoints(run_dir, modules=saved, optimizations=optimizations, **saving)
    _, loop = checkpoints.restore() or (0, {"progress": {"budget_nats": config.kl_budget_nats}})
    progress = Progress(**loop["progress"])
    cursor = int(loop.get("cursor", 0))  # batches of prompts taken so far
    engine = policy.engine(engine_factory, version=progress.done)
    sampler = Sampler(
        engine,
        policy,
        reward,
        train_rows,
        config,
        prompts=prompts,
        num_generations=config.num_generations,
        missing_eos_penalty=config.missing_eos_penalty,
        masks_truncated=config.mask_truncated_completions,
    )
    watch = Watch(policy, reward, heldout, config, run_dir, progress, modules)

    with stop_on_signal() as stop, progress_bar(method.name, total) as bar:
        if progress.done == 0:
            run_dir.log(0, watch.evaluate(engine))
        while progress.done < total and not progress.is_stopped:
            refreshed = refresh.when_due(engine, progress, watch)
            sampled, metrics, cursor = sampler.sample(
                cursor, resamples=method.resamples, reads_reference=method.reads_reference
            )
            metrics |= refreshed
            metrics |= update_policy(
                policy, sampled, method, optimizations["policy"], config, update=progress.done
            )
            progress.updated(metrics)
            engine.load_weights(policy.weights(), version=progress.done)
            if progress.done % config.eval_steps == 0 or progress.done == total:
                metrics |= watch.evaluate(engine)
            run_dir.log(progress.done, metrics)
            shown = ("score/mean", "policy/loss", "length/mean")
            bar.update(progress.done, {key: metrics[key] for key in shown})
            loop = {"progress": progress.state(), "cursor": cursor}
            checkpoints.after(progress.done, loop, stop, progress.counted(metrics))
    engine.close()
    progress.bring_back(modules)
    refresh.finish(progress)
    save_trained(policy.module, policy.tokenizer, config, run_dir)
    return _result(run_dir, progress, train_rows + heldout, policy, config)


def _result(
    run_dir: RunDir,
    progress: Progress,
    rows: Sequence[PromptRow],
    policy: Policy,
    config: CriticFreeConfig,
) -> Result:
    return Result(
        model=run_dir.model_path,
        updates=progress.done,
        rollouts=progress.done * config.per_device_train_batch_size,
        heldout_score_before=progress.score_before,
        heldout_score_after=progress.score,
        heldout_kl_nats=progress.kl_nats,
        largest_sampler_gap_nats=progress.largest_gap_nats,
        cut_prompts=count_cut(rows, policy.encoder, config),
        was_stopped_by_budget=progress.is_over_budget,
        was_stopped_by_monitors=progress.is_braked,
        refreshes=progress.refreshes,
    )
