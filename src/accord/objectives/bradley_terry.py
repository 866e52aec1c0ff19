"""The pairwise loss of reward models."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from accord.objectives.masked import global_count


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
    weights: Tensor | None = None,
    centering: float = 0.0,
    denominator: float | None = None,
) -> BradleyTerry:
    """Cross-entropy of the preference under Bradley-Terry, with soft labels and margins.

        L = -mean_i [ p_i log sigmoid(d_i - m_i) + (1 - p_i) log sigmoid(-(d_i - m_i)) ]
            + centering mean_i (chosen_i + rejected_i)^2,
        d = chosen - rejected

    The margin is signed, chosen over rejected: it says by how much chosen should be ahead, so the
    optimum is d = m + logit(p), and the same pair written the other way round (-d, -m, 1 - p) has
    the same loss. With p = 1 and m >= 0 it is Llama 2's. The loss of the pairs alone leaves the
    mean of the scores free; centering pulls it to 0. With weights 2 / (K (K - 1)) the pairs of a
    ranking of K responses weigh as much as one pair, which is InstructGPT's loss.

    Sources: Bradley and Terry 1952; Christiano et al. 2017, arXiv:1706.03741, eq. 1 (soft
    labels); Touvron et al. 2023, arXiv:2307.09288, eq. 2 (margin); Ouyang et al. 2022,
    arXiv:2203.02155, eq. 1 (rankings); Eisenstein et al. 2023, arXiv:2312.09244 (centering).

    Args:
        chosen_scores: (B,) scores of the chosen responses; has gradient.
        rejected_scores: (B,) of the rejected ones.
        p_chosen: (B,) probability that chosen is the better, in [0, 1]; None means 1.
        margin: (B,) in the units of the scores, finite, of either sign; None means 0.
        weights: (B,) of the pairs in the mean; None means 1 each.
        centering: coefficient of the centering term, 0 or more.
        denominator: sum of the weights of the whole global batch; None sums these.

    Raises:
        ValueError: a tensor is not (B,), p_chosen is outside [0, 1], a margin is not finite, or
            there is nothing to average over.
    """
    require_rows(chosen_scores=chosen_scores, rejected_scores=rejected_scores)
    difference = chosen_scores - rejected_scores
    p = label_probabilities(p_chosen, difference)
    m = torch.zeros_like(difference) if margin is None else margin
    require_rows(chosen_scores=chosen_scores, margin=m)
    if not bool(torch.isfinite(m).all()):
        raise ValueError(
            "margin must be finite in every row; leave it out or 0 where there is none"
        )
    ahead = difference - m
    losses = -p * logsigmoid(ahead) - (1 - p) * logsigmoid(-ahead)
    if centering:
        losses = losses + centering * (chosen_scores + rejected_scores).square()
    w = torch.ones_like(difference) if weights is None else weights
    require_rows(chosen_scores=chosen_scores, weights=w)
    return BradleyTerry(
        (w * losses).sum() / global_count(float(w.sum()), denominator),
        preference_accuracy(difference.detach(), p),
        difference.detach().mean(),
    )


def require_rows(**tensors: Tensor) -> None:
    """Refuse anything but (B,) tensors of one length: (B,) with (B, 1) broadcasts to (B, B).

    Raises:
        ValueError: names the shapes.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) != 1 or any(len(shape) != 1 for shape in shapes.values()):
        got = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"expected (B,) tensors of one length, got {got}")


def label_probabilities(p_chosen: Tensor | None, difference: Tensor) -> Tensor:
    """(B,) the soft labels, 1 where there are none.

    Args:
        p_chosen: (B,) or None.
        difference: (B,) the pairs' score differences, for shape, type and device.

    Raises:
        ValueError: p_chosen is not (B,), or not in [0, 1]; NaN is not.
    """
    if p_chosen is None:
        return torch.ones_like(difference)
    require_rows(scores=difference, p_chosen=p_chosen)
    if not bool(((p_chosen >= 0) & (p_chosen <= 1)).all()):
        raise ValueError("p_chosen must lie in [0, 1]")
    return p_chosen


def preference_accuracy(difference: Tensor, p_chosen: Tensor) -> Tensor:
    """Share of pairs ranked as the label says; pairs labelled 1/2 are left out, NaN if all are.

    Args:
        difference: (B,) score of chosen minus score of rejected.
        p_chosen: (B,) in [0, 1].
    """
    decided = p_chosen != 0.5
    agreement = 0.5 + 0.5 * torch.sign(difference) * torch.sign(p_chosen - 0.5)
    return agreement[decided].float().mean()
