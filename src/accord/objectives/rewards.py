"""From a response's score to per-token rewards."""

import torch
from torch import Tensor

from accord.objectives.masked import zero_outside


def per_token_rewards(kl: Tensor, scores: Tensor, mask: Tensor, *, kl_coef: float) -> Tensor:
    """The KL penalty on every chosen token, and the score on the last one.

        r_t = -kl_coef kl_t + [t is the last chosen token] score

    Source: Ouyang et al. 2022, arXiv:2203.02155, eq. 2 (without its pre-training term).

    Args:
        kl: (B, L) per-token KL estimates in nats.
        scores: (B,)
        mask: (B, L) bool, True where the policy chose the token.
        kl_coef: not negative.

    Returns:
        (B, L), 0 outside the mask.

    Raises:
        ValueError: a row has no chosen token, kl_coef is negative, or the shapes do not fit.
    """
    if not kl_coef >= 0:
        raise ValueError(f"kl_coef must not be negative, got {kl_coef}")
    if kl.shape != mask.shape or mask.ndim != 2 or scores.shape != mask.shape[:1]:
        raise ValueError(
            f"expected kl (B, L), scores (B,), mask (B, L), got kl {tuple(kl.shape)}, "
            f"scores {tuple(scores.shape)}, mask {tuple(mask.shape)}"
        )
    if not bool(mask.any(dim=1).all()):
        raise ValueError("every row needs a chosen token to carry its score")
    rewards = zero_outside(-kl_coef * kl, mask)
    columns = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, columns, -1).amax(dim=1)
    rows = torch.arange(mask.shape[0], device=mask.device)
    rewards[rows, last] += scores.to(rewards.dtype)
    return rewards
