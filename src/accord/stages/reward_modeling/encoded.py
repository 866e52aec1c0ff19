"""Comparisons as tensors: what the probe, the loop and its folds read."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from accord.core.errors import DataError, describe_choice
from accord.core.types import Comparison
from accord.corpora.encoding import ChatEncoder
from accord.corpora.pairs import EncodedPairs, encode_pairs
from accord.models.score_heads import Layout
from accord.stages.reward_modeling.config import Config


def head_layout(config: Config) -> Layout:
    """The heads that a config asks for."""
    names = tuple(config.attributes)
    return Layout(
        attributes=names,
        weights=tuple(config.attribute_weights) or (1.0,) * max(1, len(names)),
        members=config.members,
        has_length=config.disentangle_length,
    )


class Pairs(NamedTuple):
    """Encoded pairs and their labels, (N,) each; `units` are what a batch is drawn from.

    A unit is a pair, or all pairs of one ranking; the weights of its pairs sum to 1.
    `selectors` (N, A) say which attribute a pair is about; `resampled` (N, M) how often each member
    of an ensemble has its unit.
    """

    encoded: EncodedPairs
    p_chosen: Tensor
    margin: Tensor
    weight: Tensor
    selectors: Tensor
    resampled: Tensor
    units: list[list[int]]

    @classmethod
    def encode(
        cls, comparisons: Sequence[Comparison], encoder: ChatEncoder, config: Config
    ) -> "Pairs":
        """Token ids and labels of comparisons.

        Raises:
            DataError: there are none, a row's attribute has no head, or a row cannot be encoded.
        """
        if not comparisons:
            raise DataError("reward: no comparisons on one side of the split; add some")
        units = _units(comparisons)
        weight = torch.zeros(len(comparisons))
        resampled = torch.ones(len(comparisons), config.members)
        for unit in units:
            weight[unit] = 1 / len(unit)
        if config.members > 1:
            drawn = np.random.default_rng([config.seed, 5]).poisson(1, (len(units), config.members))
            for unit, counts in zip(units, torch.from_numpy(drawn).float(), strict=True):
                resampled[unit] = counts
        return cls(
            encode_pairs(comparisons, encoder, max_length=config.max_length),
            torch.tensor([c.p_chosen for c in comparisons]),
            torch.tensor([c.margin for c in comparisons]),
            weight,
            head_layout(config).selectors([_attribute(c, config) for c in comparisons]),
            resampled,
            units,
        )

    @property
    def unit_lengths(self) -> list[int]:
        """Tokens of each unit's longest response, with its prompt."""
        lengths = self.encoded.lengths
        return [max(lengths[i] for i in unit) for unit in self.units]


def _units(comparisons: Sequence[Comparison]) -> list[list[int]]:
    units: dict[str | int, list[int]] = {}
    for i, comparison in enumerate(comparisons):
        units.setdefault(i if comparison.ranking is None else comparison.ranking, []).append(i)
    return list(units.values())


def _attribute(comparison: Comparison, config: Config) -> str | None:
    """The head that a row names; without heads the column is only a column."""
    name = comparison.columns.get("attribute") if config.attributes else None
    if name is not None and name not in config.attributes:
        raise DataError(
            f"{comparison.where}: no attribute {describe_choice(str(name), config.attributes)}"
        )
    return name
