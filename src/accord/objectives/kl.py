"""Per-token estimators of KL(pi || pi_ref) from one sample of pi.

With x ~ pi and r = pi_ref(x) / pi(x). Source: Schulman 2020, "Approximating KL divergence".
"Unbiased" is of the value, in nats: the mean over x ~ pi is the KL.
"""

from torch import Tensor


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
