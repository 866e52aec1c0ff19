"""A judge of pairs made from any reward, by the model of Bradley and Terry."""

import math
from collections.abc import Sequence

from accord.core.errors import TooLongError
from accord.core.interfaces import Reward
from accord.core.types import Message, Row


class RewardJudge:
    """Compares two responses by their scores; which of them comes first does not matter.

    The scores must be on the scale on which the reward model was trained, without a `scale`:
    p(a is better) = sigmoid(score_a - score_b).
    """

    def __init__(self, reward: Reward, *, name: str = "reward") -> None:
        self.reward = reward
        self.name = name

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """The probability that response a is the better, in [0, 1], for each prompt; NaN where a
        response is too long for the reward model.

        Raises:
            ValueError: the arguments are not equally long.
        """
        count = len(prompts)
        rows: Sequence[Row] = [{} for _ in prompts] if columns is None else columns
        if not len(a) == len(b) == len(rows) == count:
            raise ValueError(
                f"expected one entry a pair: {count} prompts, {len(a)} and {len(b)} responses, "
                f"{len(rows)} rows of columns"
            )
        try:
            return self._preferred(prompts, a, b, rows)
        except TooLongError:  # found by halves, so that the others are still scored together
            if count == 1:
                return [math.nan]
            halves = (slice(count // 2), slice(count // 2, None))
            return [
                p
                for half in halves
                for p in self.compare(prompts[half], a[half], b[half], rows[half])
            ]

    def _preferred(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        rows: Sequence[Row],
    ) -> list[float]:
        count = len(prompts)
        no_ids: list[Sequence[int]] = [()] * (2 * count)
        scores = self.reward.score(
            [*prompts, *prompts],
            [*a, *b],
            prompt_ids=no_ids,
            response_ids=no_ids,
            columns=[*rows, *rows],
        ).values
        return [_sigmoid(scores[i] - scores[count + i]) for i in range(count)]


def _sigmoid(x: float) -> float:
    """The logistic function; odd about 1/2 and without overflow."""
    return 0.5 * (1 + math.tanh(x / 2))
