"""Per-token estimators of KL(pi || pi_ref) from one sample of pi.

With x ~ pi and r = pi_ref(x) / pi(x). Source: Schulman 2020, "Approximating KL divergence".
"Unbiased" is of the value, in nats: the mean over x ~ pi is the KL.
"""

from torch import Tensor

from accord.objectives.masked import masked_mean, zero_outside


def kl_k1(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """-log r: unbiased, of either sign, high variance.

    Args:
        logprobs: any shape, log pi of the sampled tokens in nats.
        reference_logprobs: the same shape, log pi_ref of the same tokens.
    """
    return logprobs - reference_logprobs


def kl_k2(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """(log r)^2 / 2: never negative, low variance, biased.

    Near pi = pi_ref its mean is the KL to second order; far from it, the mean may be several times
    too large or too small. Its mean gradient on samples of pi is exactly that of the KL.
    """
    return 0.5 * (logprobs - reference_logprobs).square()


def kl_k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """r - 1 - log r: unbiased (where pi_ref's support is within pi's) and never negative.

    The variance is far below k1's while the two are close, but r is unbounded: one token that
    pi_ref likes much better than pi does can dominate a batch.
    """
    log_ratio = reference_logprobs - logprobs
    return log_ratio.exp() - 1 - log_ratio


_ESTIMATORS = {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}


def kl_estimate(logprobs: Tensor, reference_logprobs: Tensor, *, estimator: str) -> Tensor:
    """One of the three by name.

    Raises:
        ValueError: the name is not k1, k2 or k3.
    """
    if estimator not in _ESTIMATORS:
        raise ValueError(f"estimator must be one of {', '.join(_ESTIMATORS)}, got {estimator!r}")
    return _ESTIMATORS[estimator](logprobs, reference_logprobs)


def kl_loss(
    logprobs: Tensor,
    reference_logprobs: Tensor,
    mask: Tensor,
    *,
    estimator: str,
    denominator: float | None = None,
) -> Tensor:
    """Mean KL to the reference in nats a token, as a term of a loss.

    The value is the estimator's. The gradient is k2's whichever is named, since on samples of pi
    that is the KL's own: k1's gradient is 0 in the mean, and k3's is that of KL(pi_ref || pi).

    Sources: Schulman 2020, "Approximating KL divergence"; Tang and Munos 2025, arXiv:2506.09477
    (gradients of the estimators).

    Args:
        logprobs: (B, L) log pi of the sampled tokens in nats; has gradient.
        reference_logprobs: (B, L) under the frozen reference.
        mask: (B, L) bool, True where the policy chose the token.
        estimator: k1, k2 or k3.
        denominator: tokens of the whole global batch; None counts this mask.

    Raises:
        ValueError: the name is unknown, the mask is empty, or the shapes differ.
    """
    logprobs, reference_logprobs = (zero_outside(x, mask) for x in (logprobs, reference_logprobs))
    with_gradient = kl_k2(logprobs, reference_logprobs)
    value = kl_estimate(logprobs, reference_logprobs, estimator=estimator)
    per_token = with_gradient + (value - with_gradient).detach()
    return masked_mean(per_token, mask, denominator=denominator)
