"""Cross-entropy of labels that exclude each other, or do not."""

from typing import NamedTuple

import torch
from torch import Tensor


class LabelLoss(NamedTuple):
    """Scalars; `accuracy` is the share of labels that are right (of rows, where they exclude)."""

    loss: Tensor
    accuracy: Tensor


def label_loss(
    logits: Tensor, targets: Tensor, *, exclusive: bool, denominator: float | None = None
) -> LabelLoss:
    """Cross-entropy, in nats.

        exclusive:  L = -1/D sum_n sum_k y_nk log softmax(z_n)_k
        else:       L = -1/(D K) sum_n sum_k y_nk log s(z_nk) + (1 - y_nk) log s(-z_nk)

    with s the logistic function.

    Args:
        logits: (N, K) z, with gradient.
        targets: (N, K) y in [0, 1]; rows sum to 1 where labels exclude each other.
        exclusive: whether they do.
        denominator: D; None takes N. A micro-batch is given that of its whole batch.

    Raises:
        ValueError: the shapes differ, or there are no rows.
    """
    if logits.ndim != 2 or logits.shape != targets.shape or not len(logits):
        raise ValueError(f"expected (N, K) of both, got {logits.shape} and {targets.shape}")
    count = len(logits) if denominator is None else denominator
    if exclusive:
        loss = -(targets * torch.log_softmax(logits, dim=-1)).sum() / count
        right = logits.argmax(-1) == targets.argmax(-1)
    else:
        # log(1 + e^z) - y z, which neither overflows nor loses small probabilities.
        loss = (torch.nn.functional.softplus(logits) - targets * logits).sum()
        loss = loss / (count * logits.shape[1])
        right = (logits > 0) == (targets > 0.5)
    return LabelLoss(loss, right.float().mean().detach())
