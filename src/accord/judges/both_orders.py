"""Every pair in both orders: what a judge says of the responses, and not of their places."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from accord.annotation.tables import Floats
from accord.annotation.win_rates import agreement_of_orders, mean_of_orders, verdicts
from accord.core.interfaces import PairJudge
from accord.core.types import Message, Row
from accord.judges.thinking import WITHIN

Bools = npt.NDArray[np.bool_]
_CERTAIN = (0.0, 0.5, 1.0, *WITHIN)


class TwoOrders(NamedTuple):
    """(N,) probabilities that what was shown first is the better; NaN is an abstention."""

    forth: Floats
    """a was shown first"""
    back: Floats
    """b was shown first"""

    def mean(self) -> Floats:
        """(N,) that a is the better."""
        return mean_of_orders(self.forth, self.back)

    def agreement(self) -> Floats:
        """(N,) 1 or 0 where both orders say so, 1/2 where they differ."""
        return agreement_of_orders(self.forth, self.back)

    def is_inconsistent(self) -> Bools:
        """(N,) bare verdicts that differ with the order: a win for neither.

        So do those of a judge that thinks first, as certain as its clamp lets it be.
        """
        certain = np.isin(self.forth, _CERTAIN) & np.isin(self.back, _CERTAIN)
        found: Bools = certain & (verdicts(self.forth) != 1 - verdicts(self.back))
        return found

    def judged(self) -> Floats:
        """(N,) that a is the better: the mean, and 1/2 where bare verdicts differ."""
        found: Floats = np.where(self.is_inconsistent(), 0.5, self.mean())
        return found


def ask_both_orders(
    judge: PairJudge,
    prompts: Sequence[Sequence[Message]],
    a: Sequence[str],
    b: Sequence[str],
    columns: Sequence[Row] | None = None,
) -> TwoOrders:
    """Every pair as (a, b) and as (b, a), in one call, so that a judge can batch them.

    Raises:
        ValueError: the judge gave too few numbers, or one outside [0, 1].
    """
    count = len(prompts)
    rows = None if columns is None else [*columns, *columns]
    said = np.array(judge.compare([*prompts, *prompts], [*a, *b], [*b, *a], rows), dtype=float)
    if said.shape != (2 * count,):
        raise ValueError(f"judge {judge.name} gave {said.size} numbers for {2 * count} pairs")
    if ((said < 0) | (said > 1)).any():
        raise ValueError(f"judge {judge.name} gave a probability outside [0, 1]")
    return TwoOrders(said[:count], said[count:])
