"""Kahneman-Tversky optimisation: from responses that are each called good or bad."""

from typing import NamedTuple

import torch
from torch import Tensor

from accord.objectives.bradley_terry import require_rows
from accord.objectives.masked import global_count


class Kto(NamedTuple):
    """Scalars in nats; a reward's mean is NaN where the batch has no such response."""

    loss: Tensor
    desirable_reward: Tensor
    undesirable_reward: Tensor


def kto_loss(
    policy_logps: Tensor,
    reference_logps: Tensor,
    is_desirable: Tensor,
    baseline: Tensor,
    *,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    denominator: float | None = None,
) -> Kto:
    """A gain is worth less and less, a loss hurts less and less, both from a reference point z.

        L = mean_i w_i [ 1 - s(beta (r_i - z)) ]   for desirable responses,
            mean_i w_i [ 1 - s(beta (z - r_i)) ]   for undesirable ones,   r = log(pi / pi_ref)

    Source: Ethayarajh et al. 2024, arXiv:2402.01306, eq. 8.

    Args:
        policy_logps: (B,) summed log-probs of the responses in nats; has gradient.
        reference_logps: (B,) the same under the frozen reference.
        is_desirable: (B,) bool.
        baseline: scalar z in nats, `kto_baseline` of the batch; no gradient.
        beta: above 0.
        desirable_weight: w of desirable responses.
        undesirable_weight: w of undesirable ones.
        denominator: responses of the whole global batch; None counts these.

    Raises:
        ValueError: beta is not above 0, a weight is negative, a tensor is not (B,), or there is
            nothing to average over.
    """
    if not beta > 0:
        raise ValueError(f"beta must be above 0, got {beta}")
    if desirable_weight < 0 or undesirable_weight < 0:
        raise ValueError(
            f"weights must not be negative, got {desirable_weight} and {undesirable_weight}"
        )
    require_rows(
        policy_logps=policy_logps, reference_logps=reference_logps, is_desirable=is_desirable
    )
    ratios = policy_logps - reference_logps
    signs = torch.where(is_desirable, 1.0, -1.0).to(ratios)
    weights = torch.where(is_desirable, desirable_weight, undesirable_weight).to(ratios)
    losses = weights * torch.sigmoid(-beta * signs * (ratios - baseline.detach()))
    rewards = beta * ratios.detach()
    return Kto(
        losses.sum() / global_count(float(len(losses)), denominator),
        rewards[is_desirable].mean(),
        rewards[~is_desirable].mean(),
    )


@torch.no_grad()
def kto_baseline(policy_logps: Tensor, reference_logps: Tensor) -> Tensor:
    """The reference point: KL(pi || pi_ref) by responses that were written to other prompts.

        z = max(0, mean_i [ log pi(y_j | x_i) - log pi_ref(y_j | x_i) ]),  j the prompt after i

    Source: arXiv:2402.01306, section 4.1.

    Args:
        policy_logps: (B,) summed log-probs of the mismatched responses in nats.
        reference_logps: (B,) under the frozen reference.

    Raises:
        ValueError: a tensor is not (B,), or B is 0.
    """
    require_rows(policy_logps=policy_logps, reference_logps=reference_logps)
    if not len(policy_logps):
        raise ValueError("the reference point needs a response")
    return (policy_logps - reference_logps).mean().clamp(min=0)
