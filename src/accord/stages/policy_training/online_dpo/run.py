"""Online DPO, visibly: sample, score, pair the best with the worst, one step of DPO.

Source: Guo et al. 2024, arXiv:2402.04792.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from accord.core import processes
from accord.core.device import default_device, seed_everything
from accord.core.interfaces import EngineFactory
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.models.lora import save_trained
from accord.objectives.dpo import dpo_loss
from accord.stages.policy_training.direct import Figures, measure
from accord.stages.policy_training.group_sampling import Sampled, Sampler, prompts_an_update
from accord.stages.policy_training.online_dpo.config import Config
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
from accord.training.batches import TokenBatch
from accord.training.interrupt import stop_on_signal
from accord.training.state import Checkpoints
from accord.training.step import constant_rate


@dataclass(frozen=True)
class Result:
    """What online DPO leaves; KL in nats a response, scores in the reward's units.

    The held-out figures are those of the saved policy; see PPO's `Result` for where the budget
    or the monitors stopped the run.
    """

    model: Path
    updates: int
    pairs: int
    heldout_score_before: float
    heldout_score_after: float
    heldout_kl_nats: float
    cut_prompts: int
    was_stopped_by_budget: bool
    was_stopped_by_monitors: bool
    refreshes: list[dict[str, Any]]


def run(config: Config, run_dir: RunDir, *, engine_factory: EngineFactory) -> Result:
    """Train a policy against a reward and save it under `model/`."""
    seed_everything(config.seed)
    policy = Policy(config, default_device())
    config = within_policy(config, policy)
    reward = configured_reward(config, policy)
    train, heldout = split_prompts(config)
    prompts = prompts_an_update(config, config.num_generations)
    total = total_updates(config, len(train) * config.num_generations)
    modules = {"policy": policy.module}
    optimization = constant_rate(policy.module, config, dump_dir=run_dir.path)
    optimizations = {"policy": optimization}
    saving = {"every": config.save_steps, "total": total, "keep": config.save_total_limit}
    refresh = Refresh(config, reward, policy, train, run_dir)
    saved = {**modules, **refresh.modules}
    checkpoints = Checkpoints(run_dir, modules=saved, optimizations=optimizations, **saving)
    _, loop = checkpoints.restore() or (0, {"progress": {"budget_nats": config.kl_budget_nats}})
    progress = Progress(**loop["progress"])
    engine = policy.engine(engine_factory, version=progress.done)
    sampler = Sampler(
        engine,
        policy,
        reward,
        train,
        config,
        prompts=prompts,
        num_generations=config.num_generations,
        missing_eos_penalty=config.missing_eos_penalty,
    )
    watch = Watch(policy, reward, heldout, config, run_dir, progress, modules)

    with stop_on_signal() as stop, progress_bar("online DPO", total) as bar:
        if progress.done == 0:
            run_dir.log(0, watch.evaluate(engine))
        while progress.done < total and not progress.is_stopped:
            refreshed = refresh.when_due(engine, progress, watch)
            sampled, metrics, _ = sampler.sample(
                progress.done, resamples=False, reads_reference=True
            )
            metrics |= refreshed
            metrics |= _learn(policy, sampled, config)
            report = optimization.step(metrics["loss"], {"ids": sampled.batch.input_ids})
            metrics |= {"grad_norm": report.grad_norm, "learning_rate": report.learning_rate}
            progress.updated(metrics)
            engine.load_weights(policy.weights(), version=progress.done)
            if progress.done % config.eval_steps == 0 or progress.done == total:
                metrics |= watch.evaluate(engine)
            run_dir.log(progress.done, metrics)
            bar.update(
                progress.done, {k: metrics[k] for k in ("loss", "score/mean", "length/mean")}
            )
            checkpoints.after(
                progress.done, {"progress": progress.state()}, stop, progress.counted(metrics)
            )
    engine.close()
    progress.bring_back(modules)
    refresh.finish(progress)
    save_trained(policy.module, policy.tokenizer, config, run_dir)
    cut_prompts = count_cut(train + heldout, policy.encoder, config)
    return _result(run_dir, progress, progress.done * prompts, cut_prompts)


def _result(run_dir: RunDir, progress: Progress, pairs: int, cut_prompts: int) -> Result:
    return Result(
        model=run_dir.model_path,
        updates=progress.done,
        pairs=pairs,
        heldout_score_before=progress.score_before,
        heldout_score_after=progress.score,
        heldout_kl_nats=progress.kl_nats,
        cut_prompts=cut_prompts,
        was_stopped_by_budget=progress.is_over_budget,
        was_stopped_by_monitors=progress.is_braked,
        refreshes=progress.refreshes,
    )


def best_and_worst(scores: Tensor, *, group_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """(P,) rows of each prompt's best and worst response, and p_chosen: 1/2 where all are equal."""
    groups = scores.view(-1, group_size)
    start = torch.arange(len(groups), device=scores.device) * group_size
    differs = groups.amax(dim=1) > groups.amin(dim=1)
    # Where all are equal the two must still be two, for a pair of one response is no pair.
    best = torch.where(differs, groups.argmax(dim=1), 0)
    worst = torch.where(differs, groups.argmin(dim=1), 1)
    return start + best, start + worst, torch.where(differs, 1.0, 0.5)


def _learn(policy: Policy, sampled: Sampled, config: Config) -> dict[str, float]:
    """Gradients and figures of one batch of pairs."""
    assert sampled.reference_logprobs is not None
    best, worst, p_chosen = best_and_worst(sampled.scores, group_size=config.num_generations)
    reference = (sampled.reference_logprobs * sampled.batch.target_mask).sum(dim=1)
    lengths = sampled.batch.attention_mask.sum(dim=1)
    gaps: list[Tensor] = []

    def of_piece(piece: list[int], batch_size: float) -> Figures:
        rows = torch.cat([best[piece], worst[piece]])
        longest = int(lengths[rows].max())
        batch = TokenBatch(*(grid[rows, :longest] for grid in sampled.batch))
        logprobs = policy.logprobs(batch).logprobs
        gap = (logprobs.detach() - sampled.sampler_logprobs[rows, :longest]).abs()
        gaps.append(gap[batch.target_mask])
        chosen, rejected = logprobs.sum(dim=1).view(2, -1)
        out = dpo_loss(
            chosen,
            rejected,
            *reference[rows].view(2, -1),
            beta=config.beta,
            loss_type=config.loss_type,
            p_chosen=p_chosen[piece],
            denominator=batch_size,
        )
        count, decided = len(piece), int((p_chosen[piece] != 0.5).sum())
        means = {
            "reward/chosen": (out.chosen_reward, count),
            "reward/rejected": (out.rejected_reward, count),
            "reward/accuracy": (out.accuracy, decided),
        }
        return Figures(out.loss, means)

    pair_lengths = (2 * torch.maximum(lengths[best], lengths[worst])).tolist()
    metrics = measure(
        of_piece, range(len(best)), pair_lengths, token_budget=config.tokens_per_micro_batch
    )
    # One step a batch: the policy is still the sampler, so any difference is numerical.
    largest = max((float(gap.max()) for gap in gaps if len(gap)), default=0.0)
    return {**metrics, "sampler_gap_nats/max": max(processes.gathered(largest))}
