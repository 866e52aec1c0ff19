"""Five simulated annotators: the scorer's opinion through a taste of one's own and through noise.

They stand in for people, so that the whole loop can be tried at once and its truth is known. Each
record that they leave says so (`annotator_kind` is "simulated").
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Literal

from accord.corpora.sample_set.rows import JudgementRecord, Row
from accord.corpora.sample_set.scoring import score

Verdict = Literal["a", "b", "tie"]

# Utilities closer than this look alike to an annotator.
_TIE_WIDTH = 0.04
# The most that a taste can add; below the gap between good (0.8) and curt (0.6), so that a taste
# decides only between responses of about the same quality.
_TASTE = 0.1

_PAIRS_PER_ROW = 1
_ANNOTATORS_PER_PAIR = 3


@dataclass(frozen=True)
class SimulatedAnnotator:
    """Prefers the better response, and says the opposite at a rate of their own."""

    kind: ClassVar[Literal["simulated"]] = "simulated"

    name: str
    error_rate: float  # probability of a verdict against their own opinion, 0..0.5
    taste: Callable[[str], float]  # a response's text -> 0..1, what this one likes

    def judge(
        self, row: Mapping[str, Any], response_a: str, response_b: str, *, seed: int = 0
    ) -> Verdict:
        """Which response is better; the same for the same arguments, and mirrored when swapped."""
        if response_a == response_b:
            return "tie"
        first, second = sorted((response_a, response_b))
        gap = self._utility(row, first) - self._utility(row, second)
        luck = _uniform(self.name, seed, row["id"], first, second)
        if luck < self.error_rate:
            # who errs turns the verdict round; who sees no difference picks one by accident
            accident = first if luck < self.error_rate / 2 else second
            preferred = accident if abs(gap) < _TIE_WIDTH else second if gap > 0 else first
        elif abs(gap) < _TIE_WIDTH:
            return "tie"
        else:
            preferred = first if gap > 0 else second
        return "a" if preferred == response_a else "b"

    def _utility(self, row: Mapping[str, Any], response: str) -> float:
        return score(response, row) + _TASTE * self.taste(response)


def _likes_length(text: str) -> float:
    return min(len(text.split()) / 25, 1.0)


def _likes_brevity(text: str) -> float:
    return 1 - _likes_length(text)


def _likes_courtesy(text: str) -> float:
    lowered = text.lower()
    return float(any(word in lowered for word in ("please", "thank", "sorry", "dear", "glad")))


def _likes_questions(text: str) -> float:
    return float("?" in text)


def _likes_plainness(text: str) -> float:
    return float(not any(mark in text for mark in '!?;"'))


ANNOTATORS = (
    SimulatedAnnotator("simulated-1", 0.05, _likes_courtesy),
    SimulatedAnnotator("simulated-2", 0.10, _likes_length),
    SimulatedAnnotator("simulated-3", 0.15, _likes_plainness),
    SimulatedAnnotator("simulated-4", 0.20, _likes_brevity),
    SimulatedAnnotator("simulated-5", 0.30, _likes_questions),
)


def judgements(rows: Sequence[Row], seed: int = 0) -> list[JudgementRecord]:
    """A pair of candidates for every training or validation row, with three judgements.

    Test rows are left out: their candidates are nobody's training data.
    """
    records: list[JudgementRecord] = []
    for row in rows:
        if row["split"] == "test":
            continue
        rng = Random(f"pairs/{seed}/{row['id']}")
        texts = [candidate["text"] for candidate in row["candidates"]]
        pairs = [(a, b) for i, a in enumerate(texts) for b in texts[i + 1 :]]
        for number, pair in enumerate(rng.sample(pairs, _PAIRS_PER_ROW)):
            response_a, response_b = rng.sample(pair, 2)
            for annotator in rng.sample(ANNOTATORS, _ANNOTATORS_PER_PAIR):
                records.append(
                    JudgementRecord(
                        task_id=f"{row['id']}-pair-{number + 1}",
                        row_id=row["id"],
                        kind=row["kind"],
                        split=row["split"],
                        annotator=annotator.name,
                        annotator_kind="simulated",
                        prompt=row["prompt"],
                        response_a=response_a,
                        response_b=response_b,
                        display_order="ab" if rng.random() < 0.5 else "ba",
                        verdict=annotator.judge(row, response_a, response_b, seed=seed),
                    )
                )
    return records


def _uniform(*key: object) -> float:
    """A number in [0, 1) that depends on the key alone."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
