"""Generalised advantage estimation over the tokens that the policy chose."""

from typing import NamedTuple

import torch
from torch import Tensor

from accord.objectives.masked import zero_outside


class Gae(NamedTuple):
    """(B, L) each, 0 outside the mask, no gradient."""

    advantages: Tensor
    returns: Tensor


@torch.no_grad()
def gae(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, lam: float) -> Gae:
    """Exponentially weighted advantages and the returns that the value learns.

        delta_t = r_t + gamma V(s_t+1) - V(s_t)
        A_t = delta_t + gamma lam A_t+1,   R_t = A_t + V(s_t)

    t counts the masked tokens of a row: a span between them (an observation of the environment) is
    no step, so the state after a token is the one before the next masked token. Rewards inside the
    span are not read: an environment's reward belongs on the last masked token before it. After
    the last masked token the episode is over and V is 0.

    Source: Schulman et al. 2016, arXiv:1506.02438, eq. 16.

    Args:
        rewards: (B, L) per-token rewards.
        values: (B, L) V of the state before each token.
        mask: (B, L) bool, True where the policy chose the token.
        gamma: discount, in [0, 1].
        lam: weight of longer estimates, in [0, 1].

    Raises:
        ValueError: gamma or lam is outside [0, 1], or the shapes are not one (B, L).
    """
    if not (rewards.shape == values.shape == mask.shape and mask.ndim == 2):
        raise ValueError(
            f"expected three (B, L) tensors of one shape, got rewards {tuple(rewards.shape)}, "
            f"values {tuple(values.shape)}, mask {tuple(mask.shape)}"
        )
    if not (0 <= gamma <= 1 and 0 <= lam <= 1):
        raise ValueError(f"gamma and lam must lie in [0, 1], got {gamma} and {lam}")
    advantages = torch.zeros_like(values)
    next_value = torch.zeros_like(values[:, 0])
    next_advantage = torch.zeros_like(next_value)
    for t in reversed(range(values.shape[1])):
        chosen = mask[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = delta + gamma * lam * next_advantage
        next_advantage = torch.where(chosen, advantage, next_advantage)
        next_value = torch.where(chosen, values[:, t], next_value)
        advantages[:, t] = torch.where(chosen, advantage, torch.zeros_like(advantage))
    return Gae(advantages, zero_outside(advantages + values, mask))
