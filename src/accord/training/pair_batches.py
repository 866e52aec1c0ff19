"""Pairs of responses as one padded batch, and what a reward model's head reads of both sides."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from accord.core.device import default_device
from accord.corpora.encoding import ChatEncoder
from accord.corpora.pairs import EncodedPairs
from accord.models.heads import head_readings, response_features, score_head
from accord.training.batches import TokenBatch, collate


class PairBatch(NamedTuple):
    """Every response of some pairs once, (R, L), and where each pair's two sides are, (n,)."""

    tokens: TokenBatch
    chosen: Tensor
    rejected: Tensor


def pair_batch(pairs: EncodedPairs, rows: Sequence[int], encoder: ChatEncoder) -> PairBatch:
    """The responses of some pairs; what a ranking compares several times is there once."""
    sides = [pairs.chosen[i] for i in rows] + [pairs.rejected[i] for i in rows]
    place: dict[tuple[int, ...], int] = {}
    places = torch.tensor([place.setdefault(side.input_ids, len(place)) for side in sides])
    first = {side.input_ids: side for side in reversed(sides)}
    device = default_device()
    batch = collate([first[ids] for ids in place], pad_id=encoder.pad_id, device=device)
    return PairBatch(batch, *places.to(device).view(2, -1))


def pair_readings(
    model: nn.Module,
    pairs: EncodedPairs,
    rows: Sequence[int],
    encoder: ChatEncoder,
    *,
    bf16: bool,
) -> Tensor:
    """(2, n, outputs) of chosen and rejected, in one forward over their distinct responses."""
    batch = pair_batch(pairs, rows, encoder)
    ids, mask, _ = batch.tokens
    with torch.autocast(device_type=ids.device.type, dtype=torch.bfloat16, enabled=bf16):
        features = response_features(model, ids, mask)
    readings = head_readings(score_head(model), features)
    return torch.stack([readings[batch.chosen], readings[batch.rejected]])
