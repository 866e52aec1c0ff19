"""One update of a method without a value: clipped steps on a batch of scored rollouts."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from accord.core import processes
from accord.objectives.groups import token_weights
from accord.objectives.importance import truncated_importance_weights
from accord.objectives.kl import kl_loss
from accord.objectives.ppo import clipped_policy_loss, entropy_bonus
from accord.stages.policy_training.critic_free_config import CriticFreeConfig
from accord.stages.policy_training.group_sampling import Sampled
from accord.stages.policy_training.policy import Policy, by_share
from accord.training.batches import TokenBatch, micro_batches
from accord.training.step import Optimization


@dataclass(frozen=True)
class Method:
    """How a method turns scores into a loss.

    `advantages` is (B, L) of a batch. Token losses add up by `aggregation`; the ratio is a token's
    or, at `level` "sequence", a response's. `kl_coef` weighs the KL to the reference as a term of
    the loss, by an estimator; without it, and unless `needs_reference`, the reference is not read
    while training. One that `resamples` replaces groups whose scores are all equal.
    """

    name: str
    advantages: Callable[[Sampled], Tensor]
    aggregation: str
    level: str = "token"
    kl_coef: float = 0.0
    kl_estimator: str = "k3"
    needs_reference: bool = False
    resamples: bool = False

    @property
    def reads_reference(self) -> bool:
        """Whether rollouts are read by the reference, too."""
        return self.needs_reference or self.kl_coef > 0


@dataclass(frozen=True)
class Batch:
    """What an update reads, on the (B, L) grid; nothing in it has a gradient.

    `weights` are factors of the tokens' losses, whose sum `denominator` divides.
    """

    tokens: TokenBatch
    sampler_logprobs: Tensor
    old_logprobs: Tensor
    advantages: Tensor
    weights: Tensor
    reference_logprobs: Tensor | None
    denominator: float = 1.0

    def rows(self, chosen: list[int]) -> "Batch":
        """The same for some rows, cut to their longest."""
        length = int(self.tokens.attention_mask[chosen].sum(1).max())

        def cut(grid: Tensor) -> Tensor:
            return grid[chosen, :length]

        reference = self.reference_logprobs
        return replace(
            self,
            tokens=TokenBatch(*(cut(grid) for grid in self.tokens)),
            sampler_logprobs=cut(self.sampler_logprobs),
            old_logprobs=cut(self.old_logprobs),
            advantages=cut(self.advantages),
            weights=cut(self.weights),
            reference_logprobs=None if reference is None else cut(reference),
        )


def update_policy(
    policy: Policy,
    sampled: Sampled,
    method: Method,
    optimization: Optimization,
    config: CriticFreeConfig,
    *,
    update: int,
) -> dict[str, float]:
    """Several epochs of minibatches over a batch of rollouts; returns means of their metrics.

    The update ends early once the policy is more than `max_update_kl` from the one that sampled.
    """
    history: dict[str, list[float]] = defaultdict(list)
    history["policy/stopped_early"] = [0.0]
    if not bool(sampled.batch.target_mask.any()):
        return _means(history)  # every response was cut off, and masked
    batch = _prepare(policy, sampled, method, config)
    for epoch in range(config.num_iterations):
        order = np.random.default_rng([config.seed, update, epoch]).permutation(len(batch.weights))
        for start in range(0, len(order), config.mini_batch_size):
            rows = [int(i) for i in order[start : start + config.mini_batch_size]]
            if not bool(batch.tokens.target_mask[rows].any()):
                continue  # every response of it was cut off, and masked
            metrics = _accumulate(policy, batch, rows, method, config)
            gaps = {name: metrics.pop(name) for name in ("gap/max", "gap/mean")}
            if "sampler_gap_nats/max" not in history:
                # Before the first step the policy is the sampler: any difference is numerical.
                for name, gap in gaps.items():
                    history[f"sampler_{name.replace('gap', 'gap_nats')}"].append(gap)
            limit = config.max_update_kl
            if limit is not None and metrics["policy/approx_kl"] > limit:
                history["policy/stopped_early"] = [1.0]
                optimization.discard()
                return _means(history)
            report = optimization.step(metrics["loss"], {"rows": rows})
            metrics["policy/grad_norm"] = report.grad_norm
            metrics["policy/learning_rate"] = report.learning_rate
            for name, value in metrics.items():
                history[name].append(value)
    return _means(history)


def _means(history: dict[str, list[float]]) -> dict[str, float]:
    means = {name: sum(values) / len(values) for name, values in history.items()}
    return {"policy/loss": 0.0, "sampler_gap_nats/max": 0.0, **means}


@torch.no_grad()
def _prepare(policy: Policy, sampled: Sampled, method: Method, config: CriticFreeConfig) -> Batch:
    """Advantages, behaviour log-probs and token weights of a batch of rollouts."""
    mask = sampled.batch.target_mask
    old_logprobs = sampled.sampler_logprobs
    weights = torch.ones(mask.shape, device=mask.device)
    if config.importance_cap is not None:
        old_logprobs = by_share(
            lambda part: policy.logprobs(part).logprobs,
            sampled.batch,
            token_budget=config.tokens_per_micro_batch,
        )
        weights = truncated_importance_weights(
            old_logprobs, sampled.sampler_logprobs, mask, cap=config.importance_cap
        )
    return Batch(
        sampled.batch,
        sampled.sampler_logprobs,
        old_logprobs,
        method.advantages(sampled),
        weights,
        sampled.reference_logprobs,
    )


def _accumulate(
    policy: Policy, batch: Batch, rows: list[int], method: Method, config: CriticFreeConfig
) -> dict[str, float]:
    """Gradients of one minibatch, over as many micro-batches as memory asks for."""
    mask = batch.tokens.target_mask
    lengths = batch.tokens.attention_mask.sum(1).tolist()
    factors = torch.zeros_like(batch.weights)
    factors[rows], denominator = token_weights(
        mask[rows], aggregation=method.aggregation, max_length=config.max_completion_length
    )
    whole = replace(batch, weights=batch.weights * factors, denominator=denominator)
    tokens = float(mask[rows].sum())
    totals: dict[str, float] = defaultdict(float)
    gap_max = 0.0
    for piece in micro_batches(rows, lengths, token_budget=config.tokens_per_micro_batch):
        part = whole.rows(piece)
        figures, gap = _piece(policy, part, tokens, method, config)
        figures["loss"].backward()  # type: ignore[no-untyped-call]
        gap_max = max(gap_max, float(gap.max()) if len(gap) else 0.0)
        for name, addend in {**figures, "gap/mean": gap.sum() / tokens}.items():
            totals[name] += float(addend.detach())
    return {**processes.summed(totals), "gap/max": max(processes.gathered(gap_max))}


def _piece(
    policy: Policy, part: Batch, tokens: float, method: Method, config: CriticFreeConfig
) -> tuple[dict[str, Tensor], Tensor]:
    """The loss and its parts, as shares of the minibatch's; (n,) gaps to the sampler in nats."""
    mask = part.tokens.target_mask
    read = policy.logprobs(part.tokens, with_entropy=True)
    surrogate = clipped_policy_loss(
        read.logprobs,
        part.old_logprobs,
        part.advantages,
        mask,
        cliprange=config.cliprange,
        cliprange_high=config.cliprange_high,
        dual_clip=config.dual_clip,
        level=method.level,
        weights=part.weights,
        denominator=part.denominator,
    )
    entropy = entropy_bonus(read.entropies, mask, denominator=tokens)
    loss = surrogate.loss - config.entropy_coef * entropy
    share = part.denominator / tokens  # diagnostics are means over tokens, whatever the loss is
    figures = {
        "policy/loss": surrogate.loss,
        "policy/entropy": entropy,
        "policy/clip_fraction": surrogate.clip_fraction * share,
        "policy/approx_kl": surrogate.approx_kl * share,
    }
    if method.kl_coef > 0 and part.reference_logprobs is not None:
        figures["kl/loss"] = kl_loss(
            read.logprobs,
            part.reference_logprobs,
            mask,
            estimator=method.kl_estimator,
            denominator=tokens,
        )
        loss = loss + method.kl_coef * figures["kl/loss"]
    gap = (read.logprobs.detach() - part.sampler_logprobs).abs()[mask]
    return {"loss": loss, **figures}, gap
