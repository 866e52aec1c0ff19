"""The head by itself, before the trunk moves: a ridge regression on what the trunk already knows.

A random head is noise that the first steps spend on the trunk. With few pairs it is better to fit
the head first, on the trunk as it is, and to fine-tune from there: Kumar et al. 2022,
arXiv:2202.10054 (linear probing, then fine-tuning).
"""

from typing import Any

import torch
from torch import Tensor, nn

from accord.core import processes
from accord.corpora.encoding import ChatEncoder
from accord.models.heads import response_features, score_head
from accord.objectives.bradley_terry import bradley_terry_loss
from accord.stages.reward_modeling.config import Config
from accord.stages.reward_modeling.encoded import Pairs, head_layout
from accord.training.batches import micro_batches
from accord.training.pair_batches import pair_batch

_ITERATIONS = 200


@torch.no_grad()
def fit_head(
    model: nn.Module, pairs: Pairs, encoder: ChatEncoder, config: Config, *, ridge: float
) -> None:
    """Set the score heads' weights to the ridge optimum on their pairs; the trunk stays.

    The penalty is on the margins' scale: ridge / 2 times the squared norm of the weights, in
    features whose differences have a mean square of 1.
    """
    differences = _differences(model, pairs, encoder, config)
    scale = differences.square().mean().sqrt()
    head = score_head(model)
    layout = head_layout(config)
    for row in range(layout.members * len(layout.weights)):
        member, attribute = divmod(row, len(layout.weights))
        # A pair without an attribute starts every head that the score is made of.
        weights = pairs.weight * pairs.resampled[:, member] * (pairs.selectors[:, attribute] != 0)
        if bool(weights.any()):
            found = ridge_weights(
                differences / scale, pairs.p_chosen, pairs.margin, weights=weights, ridge=ridge
            )
            head.weight[row] = found / scale
    if head.bias is not None:
        head.bias.zero_()


@torch.enable_grad()
def ridge_weights(
    differences: Tensor,
    p_chosen: Tensor,
    margin: Tensor,
    *,
    weights: Tensor | None = None,
    ridge: float,
) -> Tensor:
    """(H,) minimum over w of the Bradley-Terry loss of scores (N, H) @ w plus ridge/2 |w|^2."""
    weight = torch.zeros(differences.shape[1], requires_grad=True)
    zeros = torch.zeros(len(differences))
    optimizer = torch.optim.LBFGS([weight], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (
            bradley_terry_loss(
                differences @ weight, zeros, p_chosen=p_chosen, margin=margin, weights=weights
            ).loss
            + ridge / 2 * weight.square().sum()
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach()


def _differences(model: nn.Module, pairs: Pairs, encoder: ChatEncoder, config: Config) -> Tensor:
    """(N, H) what the head reads of chosen minus what it reads of rejected, on the CPU."""
    lengths = pairs.encoded.lengths
    found = torch.zeros(len(lengths), score_head(model).weight.shape[1])
    for piece in micro_batches(
        range(len(lengths)), lengths, token_budget=config.tokens_per_micro_batch // 2
    ):
        batch = pair_batch(pairs.encoded, piece, encoder)
        ids, mask, _ = batch.tokens
        with torch.autocast(device_type=ids.device.type, dtype=torch.bfloat16, enabled=config.bf16):
            read = response_features(model, ids, mask).float()
        found[piece] = (read[batch.chosen] - read[batch.rejected]).cpu()
    return processes.summed_tensor(found)
