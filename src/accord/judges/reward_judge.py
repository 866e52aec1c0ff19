"""A judge made from any reward: of responses, and of pairs by the model of Bradley and Terry."""

import math
from collections import Counter
from collections.abc import Sequence

from accord.core.interfaces import Reward
from accord.core.types import Message, Row
from accord.judges.aspects import PairsByGrade
from accord.rewards.fitting import scores_that_fit


class RewardGrader:
    """A reward's scores as grades, on its own scale; a `RubricJudge`."""

    def __init__(self, reward: Reward, *, name: str) -> None:
        self.reward = reward
        self.name = name

    def grade(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """The scores; NaN where a response is too long for the reward model."""
        rows: Sequence[Row] = [{} for _ in prompts] if columns is None else columns
        return scores_that_fit(self.reward, prompts, responses, rows)


class RewardJudge(PairsByGrade):
    """Compares two responses by their scores; which of them comes first does not matter.

    The scores must be on the scale on which the reward model was trained, without a `scale`.

    Attributes:
        counts: pairs that were "judged", and those of them that were "too_long", on which it
            abstained.
    """

    def __init__(self, reward: Reward, *, name: str = "reward") -> None:
        super().__init__(RewardGrader(reward, name=name))
        self.counts: Counter[str] = Counter()

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """As of `PairsByGrade`; NaN where a response is too long for the reward model."""
        found = super().compare(prompts, a, b, columns)
        self.counts.update(judged=len(found), too_long=sum(map(math.isnan, found)))
        return found
