"""Judges whose verdicts were given elsewhere: a model's stored outputs, or people's votes."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from accord.core.files import hash_json
from accord.core.types import Judgement, Message, Row

_WORTH = {"a": 1.0, "b": 0.0, "tie": 0.5}


class RecordedJudge:
    """A `PairJudge` that repeats what one annotator said; NaN where it was not asked.

    A pair that was judged in one order alone has the same verdict in both: what the other would
    have been, nobody knows. A pair that was judged in both has both.
    """

    def __init__(self, name: str, judgements: Iterable[Judgement]) -> None:
        """Take the judge's name and what it said."""
        self.name = name
        self._said: dict[str, list[float]] = defaultdict(list)
        for said in judgements:
            p = _WORTH[said.verdict] if said.p_a is None else said.p_a
            self._said[_key(said.prompt, said.response_a, said.response_b)].append(p)

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,  # noqa: ARG002 (the protocol's)
    ) -> list[float]:
        """What was said: in this order, or else in the other."""
        return [self._one(*self._both(*three)) for three in zip(prompts, a, b, strict=True)]

    def _both(self, prompt: Sequence[Message], a: str, b: str) -> tuple[list[float], list[float]]:
        """Votes for a, by the order in which it was shown first and by the other."""
        forth = self._said.get(_key(prompt, a, b), [])
        back = [1 - p for p in self._said.get(_key(prompt, b, a), [])]
        return forth, back

    def _one(self, forth: list[float], back: list[float]) -> float:
        return _mean(forth or back)


class RecordedPeople(RecordedJudge):
    """The share of people's votes for a, a tie being half a vote, whatever order each saw."""

    def _one(self, forth: list[float], back: list[float]) -> float:
        return _mean(forth + back)


def _mean(votes: list[float]) -> float:
    return sum(votes) / len(votes) if votes else math.nan


def _key(prompt: Sequence[Message], a: str, b: str) -> str:
    return hash_json([[dict(message) for message in prompt], a, b])
