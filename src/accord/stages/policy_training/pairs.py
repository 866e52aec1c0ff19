"""Comparisons for the direct methods: reading, holding out, and both sides' log-probs."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn, tensor

from accord.core.errors import DataError
from accord.corpora.encoding import ChatEncoder
from accord.corpora.pairs import EncodedPairs, encode_pairs, load_comparisons, split_by_prompt
from accord.objectives.dpo import response_logps
from accord.stages.policy_training.direct import response_logprobs
from accord.stages.policy_training.pair_config import PairConfig


class Pairs(NamedTuple):
    """Encoded pairs and their labels, (N,)."""

    encoded: EncodedPairs
    p_chosen: Tensor

    @property
    def lengths(self) -> list[int]:
        """Tokens of both sides: what a pair costs."""
        return [2 * n for n in self.encoded.lengths]


def read_pairs(config: PairConfig, encoder: ChatEncoder, *, max_length: int) -> tuple[Pairs, Pairs]:
    """Pairs to learn from, and held-out ones.

    Raises:
        DataError: one of the two would be empty, or a row cannot be used.
    """
    comparisons = load_comparisons(config.comparisons)
    if config.eval_comparisons:
        sides = [comparisons, load_comparisons([config.eval_comparisons])]
    else:
        split = split_by_prompt(
            [c.prompt for c in comparisons], fraction=config.eval_fraction, seed=config.seed
        )
        sides = [[comparisons[i] for i in side] for side in split]
    if not all(sides):
        raise DataError(
            f"{len(comparisons)} comparisons are too few to hold some out ({len(sides[0])} to "
            f"train on, {len(sides[1])} held out); add data, or name eval_comparisons"
        )
    train, held_out = (
        Pairs(
            encode_pairs(side, encoder, max_length=max_length), tensor([c.p_chosen for c in side])
        )
        for side in sides
    )
    return train, held_out


def pair_logps(
    model: nn.Module,
    pairs: Pairs,
    rows: Sequence[int],
    encoder: ChatEncoder,
    config: PairConfig,
    *,
    length_normalized: bool = False,
    alpha: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """(n,) log-probs of chosen and of rejected, in one forward; variants as `response_logps`."""
    sides = [pairs.encoded.chosen[i] for i in rows] + [pairs.encoded.rejected[i] for i in rows]
    logprobs, mask = response_logprobs(model, sides, encoder, config)
    lengths = mask.sum(dim=1)
    shorter = lengths.view(2, -1).amin(dim=0).repeat(2)
    logps = response_logps(
        logprobs, mask, length_normalized=length_normalized, public_lengths=shorter, alpha=alpha
    )
    return logps[: len(rows)], logps[len(rows) :]
