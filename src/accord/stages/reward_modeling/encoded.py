"""Comparisons as tensors: what the probe, the loop and its folds read."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from accord.core.device import default_device
from accord.core.errors import DataError
from accord.core.types import Comparison
from accord.corpora.encoding import ChatEncoder
from accord.corpora.pairs import EncodedPairs, encode_pairs
from accord.stages.reward_modeling.config import Config
from accord.training.batches import TokenBatch, collate


class Pairs(NamedTuple):
    """Encoded pairs and their labels, (N,) each."""

    encoded: EncodedPairs
    p_chosen: Tensor
    margin: Tensor

    @classmethod
    def encode(
        cls, comparisons: Sequence[Comparison], encoder: ChatEncoder, config: Config
    ) -> "Pairs":
        """Token ids and labels of comparisons."""
        if not comparisons:
            raise DataError("reward: no comparisons on one side of the split; add some")
        return cls(
            encode_pairs(comparisons, encoder, max_length=config.max_length),
            torch.tensor([c.p_chosen for c in comparisons]),
            torch.tensor([c.margin for c in comparisons]),
        )


def pair_batch(pairs: EncodedPairs, rows: Sequence[int], encoder: ChatEncoder) -> TokenBatch:
    """Chosen sides, then rejected sides, in one padded batch (2n, L)."""
    sides = [pairs.chosen[i] for i in rows] + [pairs.rejected[i] for i in rows]
    return collate(sides, pad_id=encoder.pad_id, device=default_device())
