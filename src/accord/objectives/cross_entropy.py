"""Token cross-entropy, from log-probs that were computed in chunks."""

from typing import NamedTuple

from torch import Tensor

from accord.objectives.masked import masked_mean


class CrossEntropy(NamedTuple):
    """Scalar in nats a token."""

    loss: Tensor


def token_cross_entropy(
    logprobs: Tensor, mask: Tensor, *, denominator: float | None = None
) -> CrossEntropy:
    """Negative log-likelihood of the target tokens.

        L = -mean_t log pi(token_t | tokens before t)

    Args:
        logprobs: (B, L) in nats, of the given tokens; has gradient.
        mask: (B, L) bool, True on targets.
        denominator: targets of the whole global batch; None counts this mask.

    Raises:
        ValueError: the mask is empty.
    """
    return CrossEntropy(masked_mean(-logprobs, mask, denominator=denominator))
