"""From a response's score to per-token rewards."""

import torch
from torch import Tensor

from accord.objectives.masked import zero_outside


def per_token_rewards(kl: Tensor, scores: Tensor, mask: Tensor, *, kl_coef: float) -> Tensor:
    """The KL penalty on every chosen token, and the score on the last one.

        r_t = -kl_coef kl_t + [t is the last chosen token] score

    Source: Ouyang et al. 2022, arXiv:2203.02155, eq. 2 (without its pre-training term).

    Args:
        kl: (B, L) per-token KL estimates in nats.
        scores: (B,)
        mask: (B, L) bool, True where the policy chose the token.
        kl_coef: not negative.

    Returns:
        (B, L), 0 outside the mask.

    Raises:
        ValueError: a row has no chosen token, kl_coef is negative, or the shapes do not fit.
    """
    if not kl_coef >= 0:
        raise ValueError(f"kl_coef must not be negative, got {kl_coef}")
    if kl.shape != mask.shape or mask.ndim != 2 or scores.shape != mask.shape[:1]:
        raise ValueError(
            f"expected kl (B, L), scores (B,), mask (B, L), got kl {tuple(kl.shape)}, "
            f"scores {tuple(scores.shape)}, mask {tuple(mask.shape)}"
        )
    if not bool(mask.any(dim=1).all()):
        raise ValueError("every row needs a chosen token to carry its score")
    rewards = zero_outside(-kl_coef * kl, mask)
    columns = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, columns, -1).amax(dim=1)
    rows = torch.arange(mask.shape[0], device=mask.device)
    rewards[rows, last] += scores.to(rewards.dtype)
    return rewards


def shape_scores(
    scores: Tensor,
    finished: Tensor,
    *,
    shift: float,
    scale: float,
    clip: float | None,
    missing_eos_penalty: float,
) -> Tensor:
    """What a response is paid: its score, normalised, then clipped, less a fine for no end.

        clamp( (score - shift) / scale, -clip, clip ) - [not finished] missing_eos_penalty

    The fine comes last, so that no clip hides it.

    Sources: Engstrom et al. 2020, arXiv:2005.12729, section 2 (scaling and clipping of rewards);
    Huang et al. 2024, arXiv:2403.17031 (responses without an end of turn score low).

    Args:
        scores: (B,)
        finished: (B,) bool, True where the response ended its turn.
        shift: in the scores' units; 0 for none.
        scale: in the scores' units, above 0; 1 for none.
        clip: above 0, in units of `scale`; None leaves the scores.
        missing_eos_penalty: in units of `scale`.

    Returns:
        (B,)

    Raises:
        ValueError: scale or clip is not above 0, or the shapes differ.
    """
    if not scale > 0:
        raise ValueError(f"scale must be above 0, got {scale}")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be above 0, got {clip}")
    if scores.shape != finished.shape or scores.ndim != 1:
        raise ValueError(
            f"expected two (B,) tensors, got scores {tuple(scores.shape)}, "
            f"finished {tuple(finished.shape)}"
        )
    shaped = (scores - shift) / scale
    if clip is not None:
        shaped = shaped.clamp(-clip, clip)
    return shaped - missing_eos_penalty * (~finished).to(shaped.dtype)
