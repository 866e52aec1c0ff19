"""Scores of texts, some of which may be too long for the reward's model."""

import math
from collections.abc import Sequence

from accord.core.errors import TooLongError
from accord.core.interfaces import Reward
from accord.core.types import Message, Row


def scores_that_fit(
    reward: Reward,
    prompts: Sequence[Sequence[Message]],
    responses: Sequence[str],
    columns: Sequence[Row],
) -> list[float]:
    """A score a response, NaN where it does not fit; the arguments are equally long."""
    count = len(responses)
    if not count:
        return []
    no_ids: list[Sequence[int]] = [()] * count
    try:
        return list(
            reward.score(
                prompts, responses, prompt_ids=no_ids, response_ids=no_ids, columns=columns
            ).values
        )
    except TooLongError:  # found by halves, so that the others are still scored together
        if count == 1:
            return [math.nan]
        halves = (slice(count // 2), slice(count // 2, None))
        return [
            score
            for half in halves
            for score in scores_that_fit(reward, prompts[half], responses[half], columns[half])
        ]
