"""The loss of process reward models."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from accord.objectives.bradley_terry import require_rows
from accord.objectives.masked import global_count


class StepLoss(NamedTuple):
    """Scalars; a label of 1/2 has no right side and is left out of the accuracy."""

    loss: Tensor
    accuracy: Tensor


def step_loss(scores: Tensor, labels: Tensor, *, denominator: float | None = None) -> StepLoss:
    """Cross-entropy of "this step is right" with sigmoid(score).

        L = -mean_s [ y_s log sigmoid(r_s) + (1 - y_s) log sigmoid(-r_s) ]

    Source: Uesato et al. 2022, arXiv:2211.14275; Lightman et al. 2023, arXiv:2305.20050.

    Args:
        scores: (S,) logits at the steps' ends; has gradient.
        labels: (S,) in [0, 1]; soft labels are probabilities.
        denominator: steps of the whole global batch; None counts these.

    Raises:
        ValueError: a tensor is not (S,), a label is outside [0, 1], or there is no step.
    """
    require_rows(scores=scores, labels=labels)
    if not bool(((labels >= 0) & (labels <= 1)).all()):
        raise ValueError("labels must lie in [0, 1]")
    total = binary_cross_entropy_with_logits(scores, labels.to(scores.dtype), reduction="sum")
    decided = labels != 0.5
    right = 0.5 + 0.5 * torch.sign(scores.detach()) * torch.sign(labels - 0.5)
    return StepLoss(
        total / global_count(float(len(scores)), denominator), right[decided].float().mean()
    )


def response_value(steps: Tensor, *, aggregation: str) -> Tensor:
    """A response's scalar from the probabilities of its steps: "min", "product", "mean", "last".

    The product is the probability that every step is right, and the least one that of the weakest
    (Lightman et al. 2023, arXiv:2305.20050, appendix F; Wang et al. 2024, arXiv:2312.08935).

    Args:
        steps: (S,) probabilities, S above 0.
        aggregation: one of the four.

    Raises:
        ValueError: there is no such aggregation, or no step.
    """
    if not len(steps):
        raise ValueError("a response without a step has no value")
    if aggregation == "min":
        return steps.min()
    if aggregation == "product":
        return steps.prod()
    if aggregation == "mean":
        return steps.mean()
    if aggregation == "last":
        return steps[-1]
    raise ValueError(f"aggregation must be min, product, mean or last, got {aggregation!r}")
