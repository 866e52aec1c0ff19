"""Correction for rollouts that come from other numerics, or older weights, than the trainer's."""

import torch
from torch import Tensor

from accord.objectives.masked import zero_outside


@torch.no_grad()
def truncated_importance_weights(
    old_logprobs: Tensor, sampler_logprobs: Tensor, mask: Tensor, *, cap: float
) -> Tensor:
    """min(cap, pi_old(token) / pi_sampler(token)), a factor on each token's loss.

    pi_old is the trainer's own reading of the weights that sampled, so the two differ by numerics
    (another engine, another precision) or by staleness alone.

    Source: Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL
    training" (truncated importance sampling); Espeholt et al. 2018, arXiv:1802.01561, the rho-bar
    of eq. 1.

    Args:
        old_logprobs: (B, L) by the trainer, in nats.
        sampler_logprobs: (B, L) of the same tokens, by the engine.
        mask: (B, L) bool, True where the policy chose the token.
        cap: largest weight, above 0.

    Returns:
        (B, L), 1 outside the mask, no gradient.

    Raises:
        ValueError: cap is not above 0.
    """
    if not cap > 0:
        raise ValueError(f"cap must be above 0, got {cap}")
    return zero_outside(old_logprobs - sampler_logprobs, mask).exp().clamp(max=cap)
