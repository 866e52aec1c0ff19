"""One PPO update: several epochs of minibatches over a batch of rollouts, in three phases."""

from collections import defaultdict

import numpy as np
from torch import Tensor

from accord.core import processes
from accord.objectives.kl import kl_loss
from accord.objectives.ppo import (
    PolicyLoss,
    ValueLoss,
    clipped_policy_loss,
    clipped_value_loss,
    entropy_bonus,
    ppo_loss,
)
from accord.stages.policy_training.ppo.actor_critic import ActorCritic, Readings
from accord.stages.policy_training.ppo.config import Config
from accord.stages.policy_training.ppo.experience import Experience
from accord.stages.policy_training.ppo.pretraining_mix import PretrainingMix
from accord.training.batches import even_micro_batches
from accord.training.step import Optimization


def update_policy(
    policy: ActorCritic,
    experience: Experience,
    mix: PretrainingMix | None,
    optimizations: dict[str, Optimization],
    config: Config,
    *,
    update: int,
) -> dict[str, float]:
    """Take the steps of one update; returns means of their metrics.

    During value warm-up the policy's optimizer is left out. The update ends early once the policy
    is more than `max_update_kl` from the one that sampled: its rollouts no longer speak of it.
    """
    learns_policy = update >= config.value_warmup_steps
    history: dict[str, list[float]] = defaultdict(list)
    stopped_early = False
    for epoch in range(config.num_ppo_epochs):
        order = np.random.default_rng([config.seed, update, epoch]).permutation(
            len(experience.batch.input_ids)
        )
        for start in range(0, len(order), config.mini_batch_size):
            minibatch = [int(i) for i in order[start : start + config.mini_batch_size]]
            metrics = _accumulate(policy, experience, minibatch, config, learns_policy)
            if epoch == 0 and start == 0:
                # Before the first step the policy is the sampler: any difference is numerical.
                history["sampler_gap_nats/max"].append(metrics["logprob_gap_max"])
                history["sampler_gap_nats/mean"].append(metrics["logprob_gap_mean"])
            del metrics["logprob_gap_max"], metrics["logprob_gap_mean"]
            limit = config.max_update_kl
            if limit is not None and metrics["policy/approx_kl"] > limit:
                stopped_early = True
                for optimization in optimizations.values():
                    optimization.discard()
                break
            if mix is not None and learns_policy:
                # Beside the three phases: the policy keeps its likelihood of other text.
                metrics["ptx/loss"] = mix.learn(optimizations["policy"].step_index)
            for name, optimization in optimizations.items():
                if name == "policy" and not learns_policy:
                    optimization.discard()
                    continue
                report = optimization.step(metrics["loss"], experience.rows(minibatch).batch)
                metrics[f"{name}/grad_norm"] = report.grad_norm
                metrics[f"{name}/learning_rate"] = report.learning_rate
            for key, value in metrics.items():
                history[key].append(value)
        if stopped_early:
            break
    means = {key: sum(values) / len(values) for key, values in history.items()}
    return {**means, "policy/stopped_early": float(stopped_early)}


def _accumulate(
    policy: ActorCritic,
    experience: Experience,
    minibatch: list[int],
    config: Config,
    learns_policy: bool,
) -> dict[str, float]:
    """Gradients of one minibatch, over as many micro-batches as memory asks for.

    Every mean is over the minibatch's tokens, however it is split.
    """
    lengths = experience.batch.attention_mask.sum(1).tolist()
    tokens = float(experience.batch.target_mask[minibatch].sum())
    totals: dict[str, float] = defaultdict(float)
    gap_max = 0.0
    budget = config.tokens_per_micro_batch
    for piece, weight in even_micro_batches(minibatch, lengths, token_budget=budget):
        part = experience.rows(piece)
        mask = part.batch.target_mask
        readings = experience.take_readings(piece) or policy.read(part.batch)
        value, surrogate, entropy = three_phases(readings, part, tokens, config)
        loss = ppo_loss(
            surrogate.loss,
            value.loss,
            entropy,
            vf_coef=config.vf_coef,
            entropy_coef=config.entropy_coef,
        )
        if config.kl_in == "loss":
            kl = _kl_term(readings, part, tokens, config)
            loss = loss + part.kl_coef * kl
            totals["kl/loss"] += weight * float(kl.detach())
        learnt = loss if learns_policy else config.vf_coef * value.loss
        (weight * learnt).backward()  # type: ignore[no-untyped-call]
        if weight == 0:
            continue
        gap = (readings.logprobs.detach() - part.sampler_logprobs).abs()[mask]
        gap_max = max(gap_max, float(gap.max()))
        for name, addend in {
            "loss": loss,
            "policy/loss": surrogate.loss,
            "value/loss": value.loss,
            "policy/entropy": entropy,
            "policy/clip_fraction": surrogate.clip_fraction,
            "value/clip_fraction": value.clip_fraction,
            "policy/approx_kl": surrogate.approx_kl,
            "logprob_gap_mean": gap.sum() / tokens,
        }.items():
            totals[name] += float(addend.detach())
    return {
        **processes.summed(totals),
        "logprob_gap_max": max(processes.gathered(gap_max)),
    }


def _kl_term(readings: Readings, part: Experience, tokens: float, config: Config) -> Tensor:
    return kl_loss(
        readings.logprobs,
        part.reference_logprobs,
        part.batch.target_mask,
        estimator=config.kl_estimator,
        denominator=tokens,
    )


def three_phases(
    readings: Readings, part: Experience, tokens: float, config: Config
) -> tuple[ValueLoss, PolicyLoss, Tensor]:
    """The value loss, the policy loss and the entropy bonus of a piece of the minibatch."""
    mask = part.batch.target_mask
    # Phase 1: the value learns to predict the return.
    value = clipped_value_loss(
        readings.values,
        part.old_values,
        part.returns,
        mask,
        cliprange_value=config.cliprange_value,
        denominator=tokens,
    )
    # Phase 2: the policy moves towards actions with a positive advantage, inside the clip.
    surrogate = clipped_policy_loss(
        readings.logprobs,
        part.old_logprobs,
        part.advantages,
        mask,
        cliprange=config.cliprange,
        cliprange_high=config.cliprange_high,
        dual_clip=config.dual_clip,
        weights=part.weights,
        denominator=tokens,
    )
    # Phase 3: the entropy bonus keeps it exploring.
    return value, surrogate, entropy_bonus(readings.entropies, mask, denominator=tokens)
