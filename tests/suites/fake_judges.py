"""Judges whose biases are known, because they are planted."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import expit

from accord.core.types import Message, Row

Prompts = Sequence[Sequence[Message]]


class FakeJudge:
    """Flips a coin with log-odds of place, length (a hundred characters) and what is better.

    Args:
        better: of a prompt and a response, how good it is in log-odds.
        abstains: the share of questions that it does not answer.
        is_soft: it gives the coin's probability instead of flipping it.
    """

    def __init__(
        self,
        *,
        position: float = 0.0,
        length: float = 0.0,
        better: Callable[[str, str], float] = lambda prompt, response: 0.0,
        abstains: float = 0.0,
        is_soft: bool = False,
        seed: int = 0,
        name: str = "fake",
    ) -> None:
        self.position, self.length, self.better = position, length, better
        self.abstains, self.is_soft, self.name = abstains, is_soft, name
        self.rng = np.random.default_rng(seed)
        self.calls = 0

    def compare(
        self,
        prompts: Prompts,
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        self.calls += 1
        return [
            self._one(prompt[-1]["content"], *pair)
            for prompt, *pair in zip(prompts, a, b, strict=True)
        ]

    def _one(self, prompt: str, first: str, second: str) -> float:
        merit = self.better(prompt, first) - self.better(prompt, second)
        longer = (len(first) - len(second)) / 100
        p = float(expit(self.position + self.length * longer + merit))
        if self.rng.random() < self.abstains:
            return float("nan")
        return p if self.is_soft else float(self.rng.random() < p)


class FixedJudge:
    """Gives the same answers, whatever it is asked."""

    name = "fixed"

    def __init__(self, *answers: float) -> None:
        self.answers = answers

    def compare(
        self,
        prompts: Prompts,
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        return list(self.answers)
