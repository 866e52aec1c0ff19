"""Means under a mask. What the mask hides reaches neither the value nor the gradient."""

import torch
from torch import Tensor


def zero_outside(values: Tensor, mask: Tensor) -> Tensor:
    """`values` with 0 where `mask` is False, in value and in gradient.

    Apply it before any function whose gradient is not finite everywhere: 0 times NaN is NaN.
    """
    return torch.where(mask, values, torch.zeros_like(values))


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum of `values` where `mask` is True; a hidden NaN or infinity counts as nothing.

    Args:
        values: any shape.
        mask: bool, the same shape.
    """
    return zero_outside(values, mask).sum()


def masked_mean(values: Tensor, mask: Tensor, *, denominator: float | None = None) -> Tensor:
    """Mean of `values` where `mask` is True.

    Args:
        values: any shape.
        mask: bool, the same shape.
        denominator: count of the whole global batch, when this is a piece of it: the pieces'
            results then add up to the global mean. None counts the mask itself.

    Raises:
        ValueError: the mask is empty and there is no denominator.
    """
    if denominator is None:
        denominator = float(mask.sum())
        if denominator == 0:
            raise ValueError("the mask is empty: there is nothing to average")
    return masked_sum(values, mask) / denominator


def masked_variance(values: Tensor, mask: Tensor) -> Tensor:
    """Population variance of `values` where `mask` is True.

    Raises:
        ValueError: the mask is empty.
    """
    deviation = zero_outside(values, mask) - masked_mean(values, mask)
    return masked_mean(deviation.square(), mask)


def whiten(values: Tensor, mask: Tensor, *, shift_mean: bool = True, eps: float = 1e-8) -> Tensor:
    """Scale to variance 1 over the masked entries, and shift to mean 0 with `shift_mean`.

        (x - mean) / sqrt(variance + eps), plus mean again without shift_mean

    Returns:
        The same shape; 0 outside the mask.

    Raises:
        ValueError: the mask is empty.
    """
    mean = masked_mean(values, mask)
    scaled = (values - mean) * torch.rsqrt(masked_variance(values, mask) + eps)
    if not shift_mean:
        scaled = scaled + mean
    return zero_outside(scaled, mask)
