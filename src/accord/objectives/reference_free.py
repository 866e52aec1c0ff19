"""Direct preference losses that need no reference: SimPO and ORPO."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from accord.objectives.bradley_terry import label_probabilities, preference_accuracy, require_rows
from accord.objectives.masked import global_count


class Simpo(NamedTuple):
    """Scalars; the rewards are beta times the mean log-prob of a token, in nats."""

    loss: Tensor
    chosen_reward: Tensor
    rejected_reward: Tensor
    accuracy: Tensor
    margin: Tensor


class Orpo(NamedTuple):
    """Scalars; `log_odds_ratio` is the chosen response's odds over the rejected one's, in nats."""

    loss: Tensor
    odds_loss: Tensor
    log_odds_ratio: Tensor
    accuracy: Tensor


def simpo_loss(
    chosen_mean_logps: Tensor,
    rejected_mean_logps: Tensor,
    *,
    beta: float,
    gamma: float,
    p_chosen: Tensor | None = None,
    denominator: float | None = None,
) -> Simpo:
    """Bradley-Terry on length-normalised log-probs, with a target margin.

        L = -mean_i [ p_i log s(z_i - gamma) + (1 - p_i) log s(-z_i - gamma) ],
        z = beta (mean log pi(chosen) - mean log pi(rejected))

    Source: Meng et al. 2024, arXiv:2405.14734, eq. 6 (p = 1).

    Args:
        chosen_mean_logps: (B,) mean log-prob a token of the chosen responses in nats; has gradient.
        rejected_mean_logps: (B,) of the rejected ones.
        beta: above 0.
        gamma: margin that the better response should have, not negative.
        p_chosen: (B,) probability that chosen is the better, in [0, 1]; None means 1.
        denominator: pairs of the whole global batch; None counts these.

    Raises:
        ValueError: beta or gamma is out of range, a tensor is not (B,), p_chosen is outside [0, 1],
            or there is nothing to average over.
    """
    if not (beta > 0 and gamma >= 0):
        raise ValueError(f"beta must be above 0 and gamma not negative, got {beta} and {gamma}")
    require_rows(chosen_mean_logps=chosen_mean_logps, rejected_mean_logps=rejected_mean_logps)
    chosen, rejected = beta * chosen_mean_logps, beta * rejected_mean_logps
    z = chosen - rejected
    p = label_probabilities(p_chosen, z)
    losses = -p * logsigmoid(z - gamma) - (1 - p) * logsigmoid(-z - gamma)
    return Simpo(
        losses.sum() / global_count(float(len(losses)), denominator),
        chosen.detach().mean(),
        rejected.detach().mean(),
        preference_accuracy(z.detach(), p),
        z.detach().mean(),
    )


def orpo_loss(
    chosen_mean_logps: Tensor,
    rejected_mean_logps: Tensor,
    *,
    beta: float,
    p_chosen: Tensor | None = None,
    denominator: float | None = None,
) -> Orpo:
    """Likelihood of the better response, and its odds over the worse one.

        L = mean_i [ p_i l(c_i, r_i) + (1 - p_i) l(r_i, c_i) ]
        l(c, r) = -c - beta log s( log odds(c) - log odds(r) ),   odds(x) = e^x / (1 - e^x)

    with c, r the mean log-prob of a token.

    Source: Hong et al. 2024, arXiv:2403.07691, eqs. 4, 6 and 7 (p = 1; beta is its lambda).

    Args:
        chosen_mean_logps: (B,) mean log-prob a token of the chosen responses in nats, below 0; has
            gradient.
        rejected_mean_logps: (B,) of the rejected ones.
        beta: weight of the odds, not negative.
        p_chosen: (B,) probability that chosen is the better, in [0, 1]; None means 1.
        denominator: pairs of the whole global batch; None counts these.

    Raises:
        ValueError: beta is negative, a tensor is not (B,), p_chosen is outside [0, 1], or there is
            nothing to average over.
    """
    if not beta >= 0:
        raise ValueError(f"beta must not be negative, got {beta}")
    require_rows(chosen_mean_logps=chosen_mean_logps, rejected_mean_logps=rejected_mean_logps)
    ratio = _log_odds(chosen_mean_logps) - _log_odds(rejected_mean_logps)
    p = label_probabilities(p_chosen, ratio)
    odds = -p * logsigmoid(ratio) - (1 - p) * logsigmoid(-ratio)
    likelihood = -p * chosen_mean_logps - (1 - p) * rejected_mean_logps
    count = global_count(float(len(odds)), denominator)
    return Orpo(
        (likelihood + beta * odds).sum() / count,
        odds.detach().mean(),
        ratio.detach().mean(),
        preference_accuracy(ratio.detach(), p),
    )


def _log_odds(mean_logps: Tensor) -> Tensor:
    """log(e^x / (1 - e^x)) for x < 0; a certain response's odds are cut where float32 ends."""
    below_one = mean_logps.clamp(max=-1e-6)
    return below_one - torch.log(-torch.expm1(below_one))
