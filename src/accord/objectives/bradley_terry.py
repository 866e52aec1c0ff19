"""The pairwise loss of reward models."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class BradleyTerry(NamedTuple):
    """Scalars; `accuracy` is over pairs with a preference, a score tie counting half."""

    loss: Tensor
    accuracy: Tensor
    score_margin: Tensor


def bradley_terry_loss(
    chosen_scores: Tensor,
    rejected_scores: Tensor,
    *,
    p_chosen: Tensor | None = None,
    margin: Tensor | None = None,
    denominator: float | None = None,
) -> BradleyTerry:
    """Cross-entropy of the preference under Bradley-Terry, with soft labels and margins.

        L = -mean_i [ p_i log sigmoid(d_i - m_i) + (1 - p_i) log sigmoid(-d_i - m_i) ],
        d = chosen - rejected

    A margin asks either side to win by m before its term is content; with p = 1 it is Llama 2's.

    Sources: Bradley and Terry 1952; Christiano et al. 2017, arXiv:1706.03741, eq. 1 (soft
    labels); Touvron et al. 2023, arXiv:2307.09288, eq. 2 (margin).

    Args:
        chosen_scores: (B,) scores of the chosen responses; has gradient.
        rejected_scores: (B,) of the rejected ones.
        p_chosen: (B,) probability that chosen is the better, in [0, 1]; None means 1.
        margin: (B,) in the units of the scores, not negative; None means 0.
        denominator: pairs of the whole global batch; None counts these.

    Raises:
        ValueError: shapes differ, or p_chosen is outside [0, 1].
    """
    if chosen_scores.shape != rejected_scores.shape or chosen_scores.ndim != 1:
        raise ValueError(
            f"expected two (B,) tensors, got {tuple(chosen_scores.shape)} and "
            f"{tuple(rejected_scores.shape)}"
        )
    difference = chosen_scores - rejected_scores
    p = torch.ones_like(difference) if p_chosen is None else p_chosen
    if bool(((p < 0) | (p > 1)).any()):
        raise ValueError("p_chosen must lie in [0, 1]")
    m = torch.zeros_like(difference) if margin is None else margin
    losses = -p * logsigmoid(difference - m) - (1 - p) * logsigmoid(-difference - m)
    count = float(len(losses)) if denominator is None else denominator
    return BradleyTerry(
        losses.sum() / count,
        preference_accuracy(difference.detach(), p),
        difference.detach().mean(),
    )


def preference_accuracy(difference: Tensor, p_chosen: Tensor) -> Tensor:
    """Share of pairs ranked as the label says; pairs labelled 1/2 are left out, NaN if all are.

    Args:
        difference: (B,) score of chosen minus score of rejected.
        p_chosen: (B,) in [0, 1].
    """
    decided = p_chosen != 0.5
    agreement = 0.5 + 0.5 * torch.sign(difference) * torch.sign(p_chosen - 0.5)
    return agreement[decided].float().mean()
