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

    Raises:
        ValueError: the shapes differ.
    """
    if values.shape != mask.shape:
        # Broadcasting would sum an entry several times and count it once.
        raise ValueError(
            f"values {tuple(values.shape)} and mask {tuple(mask.shape)} must have one shape"
        )
    return zero_outside(values, mask).sum()


def global_count(here: float, denominator: float | None) -> float:
    """What a mean divides by: the global batch's count if it is known, else the count `here`.

    Dividing each piece's sum by the whole's count makes the pieces' results, and their gradients,
    add up to the mean over the whole, however it was split.

    Raises:
        ValueError: the count is not above 0.
    """
    if denominator is None:
        if here == 0:
            raise ValueError("nothing to average: the mask is empty, or the batch has no rows")
        return here
    if not denominator > 0:
        raise ValueError(
            f"denominator must be the count of the whole global batch, above 0, got {denominator}"
        )
    return denominator


def masked_mean(values: Tensor, mask: Tensor, *, denominator: float | None = None) -> Tensor:
    """Mean of `values` where `mask` is True.

    Args:
        values: any shape.
        mask: bool, the same shape.
        denominator: count of the whole global batch, when this is a piece of it (its mask may
            then be empty); None counts the mask itself. See `global_count`.

    Raises:
        ValueError: the shapes differ, the mask is empty and there is no denominator, or the
            denominator is not above 0.
    """
    total = masked_sum(values, mask)
    # Counting waits for the device, so it is skipped where the caller knows the count.
    here = float(mask.sum()) if denominator is None else 0.0
    return total / global_count(here, denominator)


def masked_variance(values: Tensor, mask: Tensor) -> Tensor:
    """Population variance of `values` where `mask` is True.

    Raises:
        ValueError: the mask is empty, or the shapes differ.
    """
    deviation = zero_outside(values, mask) - masked_mean(values, mask)
    return masked_mean(deviation.square(), mask)


def whiten(values: Tensor, mask: Tensor, *, shift_mean: bool = True, eps: float = 1e-8) -> Tensor:
    """Scale to variance 1 over the masked entries, and shift to mean 0 with `shift_mean`.

        (x - mean) / sqrt(variance + eps), plus mean again without shift_mean

    Returns:
        The same shape; 0 outside the mask.

    Raises:
        ValueError: the mask is empty, or the shapes differ.
    """
    values = zero_outside(values, mask)  # a hidden NaN would reach the gradient through the scale
    mean = masked_mean(values, mask)
    scaled = (values - mean) * torch.rsqrt(masked_variance(values, mask) + eps)
    if not shift_mean:
        scaled = scaled + mean
    return zero_outside(scaled, mask)
