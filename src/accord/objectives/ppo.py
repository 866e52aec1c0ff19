"""PPO's three phases, each on its own, and their weighted sum.

Source: Schulman et al. 2017, arXiv:1707.06347. Every mean is over the masked tokens of the global
batch.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from accord.objectives.kl import kl_k3
from accord.objectives.masked import masked_mean, masked_variance, zero_outside


class ValueLoss(NamedTuple):
    """Scalars."""

    loss: Tensor
    clip_fraction: Tensor


class PolicyLoss(NamedTuple):
    """Scalars. With a denominator all but `ratio_max` add up over pieces; take its maximum.

    `approx_kl` is k3 of KL(pi_old || pi) in nats a token. On policy, ratio_mean is 1.
    """

    loss: Tensor
    clip_fraction: Tensor
    approx_kl: Tensor
    ratio_mean: Tensor
    ratio_max: Tensor


def clipped_value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    mask: Tensor,
    *,
    cliprange_value: float,
    denominator: float | None = None,
) -> ValueLoss:
    """Squared error to the return, pessimistic about moves beyond the clip; with the factor 1/2.

        L = 1/2 mean_t max( (V - R)^2, (clamp(V, V_old - c, V_old + c) - R)^2 )

    Source: the value clipping of PPO's first implementation; Engstrom et al. 2020,
    arXiv:2005.12729, section 2.

    Args:
        values: (B, L) V(s_t); has gradient.
        old_values: (B, L) the same when the rollout was scored.
        returns: (B, L) targets, no gradient.
        mask: (B, L) bool, True where the policy chose the token.
        cliprange_value: c, above 0, in the units of the values.
        denominator: tokens of the whole global batch; None counts this mask.

    Raises:
        ValueError: `cliprange_value` is not above 0, the mask is empty, or the shapes differ.
    """
    if not cliprange_value > 0:
        raise ValueError(f"cliprange_value must be above 0, got {cliprange_value}")
    values, old_values, returns = (zero_outside(x, mask) for x in (values, old_values, returns))
    near = torch.clamp(values, old_values - cliprange_value, old_values + cliprange_value)
    plain_error, near_error = (values - returns).square(), (near - returns).square()
    loss = 0.5 * masked_mean(torch.maximum(plain_error, near_error), mask, denominator=denominator)
    clipped = (near_error > plain_error).float()
    return ValueLoss(loss, masked_mean(clipped, mask, denominator=denominator).detach())


def clipped_policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    cliprange: float,
    cliprange_high: float | None = None,
    dual_clip: float | None = None,
    level: str = "token",
    weights: Tensor | None = None,
    denominator: float | None = None,
) -> PolicyLoss:
    """The clipped surrogate, negated so that lower is better.

        L = -mean_t w_t J_t,   J_t = min( rho_t A_t, clamp(rho_t, 1 - c, 1 + c_high) A_t )
        with a dual clip d, where A_t < 0:  max( J_t, d A_t )

    At token level rho = pi / pi_old of a token; at sequence level it is the geometric mean of a
    row's, the same for all of its tokens.

    Sources: arXiv:1707.06347, eq. 7; c_high: Yu et al. 2025, arXiv:2503.14476, eq. 10 (DAPO);
    d: Ye et al. 2020, arXiv:1912.09729, eq. 5; level: Zheng et al. 2025, arXiv:2507.18071, eqs. 5
    and 7 (GSPO).

    Args:
        logprobs: (B, L) log pi(a_t | s_t) in nats, current policy; has gradient.
        old_logprobs: (B, L) the same under the policy that sampled the rollout.
        advantages: (B, L) no gradient.
        mask: (B, L) bool, True where the policy chose the token.
        cliprange: c, in (0, 1).
        cliprange_high: c_high, above 0; None takes c.
        dual_clip: d, above 1; None leaves it out.
        level: "token" or "sequence".
        weights: (B, L) factors on the tokens' losses; None means 1.
        denominator: tokens of the whole global batch, or what else the mean is over; None counts
            this mask.

    Raises:
        ValueError: a clip or the level is not one of these, the mask is empty, or shapes differ.
    """
    high = cliprange if cliprange_high is None else cliprange_high
    _check_clips(cliprange, high, dual_clip)
    ratio = _log_ratio(logprobs, old_logprobs, mask, level).exp()
    plain = ratio * advantages
    near = ratio.clamp(1 - cliprange, 1 + high) * advantages
    surrogate = torch.minimum(plain, near)
    if dual_clip is not None:
        floor = torch.where(advantages < 0, dual_clip * advantages, -torch.inf)
        surrogate = torch.maximum(surrogate, floor)
    weighted = surrogate if weights is None else weights * surrogate
    loss = masked_mean(-weighted, mask, denominator=denominator)
    with torch.no_grad():
        # Hidden ratios are exp(0) = 1, so they must not stand in for the maximum.
        ratio_max = torch.where(mask, ratio, torch.zeros_like(ratio)).amax()
        clip_fraction, approx_kl, ratio_mean = (
            masked_mean(x, mask, denominator=denominator)
            for x in ((surrogate != plain).float(), kl_k3(old_logprobs, logprobs), ratio)
        )
    return PolicyLoss(loss, clip_fraction, approx_kl, ratio_mean, ratio_max)


def _check_clips(low: float, high: float, dual: float | None) -> None:
    if not 0 < low < 1:
        raise ValueError(f"cliprange must lie in (0, 1), got {low}")
    if not high > 0:
        raise ValueError(f"cliprange_high must be above 0, got {high}")
    if dual is not None and not dual > 1:
        raise ValueError(f"dual_clip must be above 1, got {dual}")


def _log_ratio(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor, level: str) -> Tensor:
    per_token = zero_outside(logprobs - old_logprobs, mask)
    if level == "token":
        return per_token
    if level != "sequence":
        raise ValueError(f"level must be token or sequence, got {level!r}")
    mean = per_token.sum(dim=1) / mask.sum(dim=1).clamp(min=1)
    return zero_outside(mean[:, None].expand_as(per_token), mask)


@torch.no_grad()
def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """Share of the returns' variance that the values foresee: 1 is perfect, 0 a constant's.

        1 - var(R - V) / var(R);  NaN where the returns do not vary

    Not a part of the value loss: unlike a mean it does not add up over pieces of a batch.

    Args:
        values: (B, L) V(s_t).
        returns: (B, L)
        mask: (B, L) bool, True where the policy chose the token.

    Raises:
        ValueError: the mask is empty, or the shapes differ.
    """
    spread = masked_variance(returns, mask)
    left = masked_variance(returns - values, mask)
    return torch.where(spread > 0, 1 - left / spread, torch.full_like(spread, float("nan")))


def entropy_bonus(entropies: Tensor, mask: Tensor, *, denominator: float | None = None) -> Tensor:
    """Mean entropy in nats of the policy at the tokens that it chose; higher explores more.

    Prompt tokens are no actions and are masked out.

    Source: arXiv:1707.06347, eq. 9, the term S.

    Args:
        entropies: (B, L) in nats; has gradient.
        mask: (B, L) bool, True where the policy chose the token.
        denominator: tokens of the whole global batch; None counts this mask.

    Raises:
        ValueError: the mask is empty.
    """
    return masked_mean(entropies, mask, denominator=denominator)


def ppo_loss(
    policy_loss: Tensor, value_loss: Tensor, entropy: Tensor, *, vf_coef: float, entropy_coef: float
) -> Tensor:
    """The weighted sum of the three phases, to be minimised.

        L = L_policy + vf_coef L_value - entropy_coef S

    Source: arXiv:1707.06347, eq. 9, negated.
    """
    return policy_loss + vf_coef * value_loss - entropy_coef * entropy
