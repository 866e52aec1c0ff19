"""The loss that takes length out of a reward model's score."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from accord.objectives.bradley_terry import require_rows


class LengthDisentangled(NamedTuple):
    """Scalars; the correlations are without gradient."""

    loss: Tensor
    quality_correlation: Tensor
    length_correlation: Tensor


def length_disentangling_loss(
    quality: Tensor,
    length_scores: Tensor,
    lengths: Tensor,
    *,
    quality_weight: Tensor,
    length_weight: Tensor,
) -> LengthDisentangled:
    """Make one head independent of length, and let another, orthogonal to it, know it all.

        L = |rho(quality, lengths)| - rho(length_scores, lengths) + |cos(w_quality, w_length)|

    rho is Pearson's correlation over the batch. The pairwise loss beside it reads the sum of the
    two heads, so that what length explains need not be in `quality`, which alone is kept.

    Source: Chen et al. 2024, arXiv:2402.07319 (ODIN), eq. 4 to 6, both coefficients 1, and the
    heads' weights normalised, hence the cosine.

    Args:
        quality: (B,) scores of responses; has gradient.
        length_scores: (B,) of the length head; has gradient.
        lengths: (B,) tokens of the responses.
        quality_weight: (H,) weights of the quality head.
        length_weight: (H,) weights of the length head.

    Raises:
        ValueError: the first three are not (B,), or the last two not (H,).
    """
    require_rows(quality=quality, length_scores=length_scores, lengths=lengths)
    require_rows(quality_weight=quality_weight, length_weight=length_weight)
    of_quality = correlation(quality, lengths)
    of_length = correlation(length_scores, lengths)
    cosine = cosine_similarity(quality_weight, length_weight, dim=0)
    return LengthDisentangled(
        of_quality.abs() - of_length + cosine.abs(), of_quality.detach(), of_length.detach()
    )


def correlation(x: Tensor, y: Tensor) -> Tensor:
    """Pearson's correlation of (B,) and (B,); 0, without gradient, where one does not vary."""
    a, b = x - x.mean(), y.to(x.dtype) - y.to(x.dtype).mean()
    scale = a.square().sum() * b.square().sum()
    # Rounding leaves a constant tensor a variance of about eps^2.
    if float(scale.detach()) <= (torch.finfo(x.dtype).eps * len(x)) ** 2:
        return torch.zeros((), dtype=x.dtype, device=x.device)
    return (a * b).sum() / scale.sqrt()
