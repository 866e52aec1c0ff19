"""Direct preference optimisation and the losses that share its implicit rewards."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from accord.objectives.bradley_terry import label_probabilities, preference_accuracy, require_rows
from accord.objectives.masked import global_count, zero_outside


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
    loss_type: str = "sigmoid",
    label_smoothing: float = 0.0,
    p_chosen: Tensor | None = None,
    denominator: float | None = None,
) -> Dpo:
    """A loss l(c, r) on implicit rewards c, r = beta log(pi / pi_ref) of chosen and rejected.

        L = mean_i [ p_i l(c_i, r_i) + (1 - p_i) l(r_i, c_i) ]

    The losses by name, with their formulas and sources, are in `LOSS_TYPES`. Soft labels p are the
    conservative form: with one p for all, of Mitchell's note on DPO.
    `label_smoothing` e says that judgements are wrong so often: "robust" corrects its loss for it,
    the others take p (1 - e) + (1 - p) e for p.

    Args:
        policy_chosen_logps: (B,) summed log-probs of the chosen responses in nats; has gradient.
            Means over tokens give the length-normalised form.
        policy_rejected_logps: (B,) of the rejected ones.
        reference_chosen_logps: (B,) the same under the frozen reference.
        reference_rejected_logps: (B,)
        beta: strength of the pull to the reference, above 0.
        loss_type: one of the names in `LOSS_TYPES`.
        label_smoothing: e, in [0, 1/2).
        p_chosen: (B,) probability that chosen is the better, in [0, 1]; None means 1.
        denominator: pairs of the whole global batch; None counts these.

    Raises:
        ValueError: a hyperparameter or p_chosen is out of range, a tensor is not (B,), or there is
            nothing to average over.
    """
    _check(beta, loss_type, label_smoothing)
    require_rows(
        policy_chosen_logps=policy_chosen_logps,
        policy_rejected_logps=policy_rejected_logps,
        reference_chosen_logps=reference_chosen_logps,
        reference_rejected_logps=reference_rejected_logps,
    )
    chosen = beta * (policy_chosen_logps - reference_chosen_logps)
    rejected = beta * (policy_rejected_logps - reference_rejected_logps)
    z = chosen - rejected
    label = label_probabilities(p_chosen, z)
    p, noise = label, label_smoothing
    if loss_type != "robust":
        p, noise = label * (1 - noise) + (1 - label) * noise, 0.0
    of = LOSS_TYPES[loss_type]
    losses = p * of(chosen, rejected, beta, noise) + (1 - p) * of(rejected, chosen, beta, noise)
    return Dpo(
        losses.sum() / global_count(float(len(losses)), denominator),
        chosen.detach().mean(),
        rejected.detach().mean(),
        preference_accuracy(z.detach(), label),
        z.detach().mean(),
    )


def _check(beta: float, loss_type: str, label_smoothing: float) -> None:
    if not beta > 0:
        raise ValueError(f"beta must be above 0, got {beta}")
    if loss_type not in LOSS_TYPES:
        raise ValueError(f"loss_type must be one of {', '.join(LOSS_TYPES)}, got {loss_type!r}")
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing must lie in [0, 0.5), got {label_smoothing}")


def _sigmoid(chosen: Tensor, rejected: Tensor, _beta: float, _noise: float) -> Tensor:
    return -logsigmoid(chosen - rejected)


def _robust(chosen: Tensor, rejected: Tensor, _beta: float, noise: float) -> Tensor:
    z = chosen - rejected
    return (noise * logsigmoid(-z) - (1 - noise) * logsigmoid(z)) / (1 - 2 * noise)


def _ipo(chosen: Tensor, rejected: Tensor, beta: float, _noise: float) -> Tensor:
    return ((chosen - rejected - 0.5) / beta).square()


def _hinge(chosen: Tensor, rejected: Tensor, _beta: float, _noise: float) -> Tensor:
    return torch.relu(1 - (chosen - rejected))


def _apo_zero(chosen: Tensor, rejected: Tensor, _beta: float, _noise: float) -> Tensor:
    return torch.sigmoid(-chosen) + torch.sigmoid(rejected)


def _apo_down(chosen: Tensor, rejected: Tensor, _beta: float, _noise: float) -> Tensor:
    return torch.sigmoid(chosen) + torch.sigmoid(rejected - chosen)


LOSS_TYPES: dict[str, Callable[[Tensor, Tensor, float, float], Tensor]] = {
    "sigmoid": _sigmoid,
    "robust": _robust,
    "ipo": _ipo,
    "hinge": _hinge,
    "apo_zero": _apo_zero,
    "apo_down": _apo_down,
}
"""l(c, r) by name, with z = c - r and s the logistic function:

    sigmoid    -log s(z)                     Rafailov et al. 2023, arXiv:2305.18290, eq. 7
    robust     [-(1 - e) log s(z) + e log s(-z)] / (1 - 2 e)
                                             Chowdhury et al. 2024, arXiv:2403.00409, eq. 9
    ipo        (z / beta - 1 / (2 beta))^2   Azar et al. 2023, arXiv:2310.12036, eq. 17
    hinge      max(0, 1 - z)                 Zhao et al. 2023, arXiv:2305.10425, eq. 8
    apo_zero   (1 - s(c)) + s(r)             D'Oosterlinck et al. 2024, arXiv:2408.06266
    apo_down   s(c) + (1 - s(z))             the same, for a policy that is better than `chosen`
"""


def response_logps(
    logprobs: Tensor,
    mask: Tensor,
    *,
    length_normalized: bool = False,
    public_lengths: Tensor | None = None,
    alpha: float = 1.0,
) -> Tensor:
    """(B,) one number a response from its tokens' log-probs: their sum, or one of two variants.

    Length-normalised, the mean. Length-desensitised, the tokens beyond the length that both
    responses of a pair share count only alpha:

        log pi = sum_{t <= l} log pi_t + alpha sum_{t > l} log pi_t

    Source: Liu et al. 2024, arXiv:2409.06411, eq. 10; Lambert et al. 2024, arXiv:2411.15124,
    eq. 6 (the mean).

    Args:
        logprobs: (B, L) in nats; has gradient.
        mask: (B, L) bool, True on the response; each row has a token.
        length_normalized: divide by the number of tokens.
        public_lengths: (B,) l, the shorter response's tokens; None counts every token.
        alpha: in [0, 1].

    Raises:
        ValueError: alpha is outside [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
    logprobs = zero_outside(logprobs, mask)
    if public_lengths is not None:
        is_public = mask.cumsum(dim=1) <= public_lengths[:, None]
        logprobs = torch.where(is_public, logprobs, alpha * logprobs)
    total = logprobs.sum(dim=1)
    return total / mask.sum(dim=1) if length_normalized else total
