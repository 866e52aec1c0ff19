"""Direct preference optimisation."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from accord.objectives.bradley_terry import preference_accuracy


class Dpo(NamedTuple):
    """Scalars; the rewards are the implicit ones, beta times the log-ratio, in nats."""

    loss: Tensor
    chosen_reward: Tensor
    rejected_reward: Tensor
    accuracy: Tensor


def dpo_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    reference_chosen_logps: Tensor,
    reference_rejected_logps: Tensor,
    *,
    beta: float,
    p_chosen: Tensor | None = None,
    denominator: float | None = None,
) -> Dpo:
    """Bradley-Terry on implicit rewards beta * log(pi / pi_ref), with soft labels.

        L = -mean_i [ p_i log sigmoid(z_i) + (1 - p_i) log sigmoid(-z_i) ],
        z = beta * [(log pi - log ref)(chosen) - (log pi - log ref)(rejected)]

    Source: Rafailov et al. 2023, arXiv:2305.18290, eq. 7 (p = 1); with p the conservative form of
    Mitchell's note, one probability a pair.

    Args:
        policy_chosen_logps: (B,) summed log-probs of the chosen responses in nats; has gradient.
        policy_rejected_logps: (B,) of the rejected ones.
        reference_chosen_logps: (B,) the same under the frozen reference.
        reference_rejected_logps: (B,)
        beta: strength of the pull to the reference, above 0.
        p_chosen: (B,) probability that chosen is the better, in [0, 1]; None means 1.
        denominator: pairs of the whole global batch; None counts these.

    Raises:
        ValueError: beta is not above 0, or p_chosen is outside [0, 1].
    """
    if beta <= 0:
        raise ValueError(f"beta must be above 0, got {beta}")
    chosen = beta * (policy_chosen_logps - reference_chosen_logps)
    rejected = beta * (policy_rejected_logps - reference_rejected_logps)
    z = chosen - rejected
    p = torch.ones_like(z) if p_chosen is None else p_chosen
    if bool(((p < 0) | (p > 1)).any()):
        raise ValueError("p_chosen must lie in [0, 1]")
    losses = -p * logsigmoid(z) - (1 - p) * logsigmoid(-z)
    count = float(len(losses)) if denominator is None else denominator
    return Dpo(
        losses.sum() / count,
        chosen.detach().mean(),
        rejected.detach().mean(),
        preference_accuracy(z.detach(), p),
    )
