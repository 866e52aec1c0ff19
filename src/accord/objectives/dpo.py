"""Direct preference optimisation."""

from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import logsigmoid

from accord.objectives.bradley_terry import label_probabilities, preference_accuracy, require_rows
from accord.objectives.masked import global_count


class Dpo(NamedTuple):
    """Scalars; the rewards are the implicit ones, beta times the log-ratio, in nats.

    `margin` is the mean of chosen minus rejected reward.
    """

    loss: Tensor
    chosen_reward: Tensor
    rejected_reward: Tensor
    accuracy: Tensor
    margin: Tensor


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
        ValueError: beta is not above 0, a tensor is not (B,), p_chosen is outside [0, 1], or there
            is nothing to average over.
    """
    if not beta > 0:
        raise ValueError(f"beta must be above 0, got {beta}")
    require_rows(
        policy_chosen_logps=policy_chosen_logps,
        policy_rejected_logps=policy_rejected_logps,
        reference_chosen_logps=reference_chosen_logps,
        reference_rejected_logps=reference_rejected_logps,
    )
    chosen = beta * (policy_chosen_logps - reference_chosen_logps)
    rejected = beta * (policy_rejected_logps - reference_rejected_logps)
    z = chosen - rejected
    p = label_probabilities(p_chosen, z)
    losses = -p * logsigmoid(z) - (1 - p) * logsigmoid(-z)
    return Dpo(
        losses.sum() / global_count(float(len(losses)), denominator),
        chosen.detach().mean(),
        rejected.detach().mean(),
        preference_accuracy(z.detach(), p),
        z.detach().mean(),
    )
