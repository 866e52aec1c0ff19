"""AlpacaEval 2: win rate against a baseline's outputs, raw and at equal length, by any judge.

Source: Li et al. 2023 (AlpacaEval), Dubois et al. 2024, arXiv:2404.04475. The official judge sees
each pair in one order, drawn at random; here every pair is judged in both.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accord.annotation.judge_bias import JudgeBias, judge_bias
from accord.annotation.length_control import (
    JudgedRows,
    LengthControlled,
    length_controlled_win_rate,
)
from accord.annotation.tables import Floats
from accord.annotation.win_rates import WinRate, win_rate
from accord.core.errors import DataError
from accord.core.interfaces import PairJudge
from accord.core.types import Message
from accord.judges.both_orders import TwoOrders, ask_both_orders
from accord.suites.alpaca_eval_files import BASELINE, AlpacaFiles, Annotations
from accord.suites.base import Answer, Figure, Outcome, Question, SuiteResult
from accord.suites.judging import (
    bias_figures,
    by_people,
    number_or_none,
    require_some,
    win_rate_figure,
)
from accord.suites.llmbar import JudgeCheck, validity_notes

OFFICIAL_JUDGE = "weighted_alpaca_eval_gpt4_turbo"
_OFFICIAL_COUNT = 805
_SAME_START = 100
"""Characters: responses that begin alike so far are taken for the same response."""
_SUSPICIOUS_SHARE = 0.2


@dataclass(frozen=True)
class AlpacaScores:
    """What the judgements of one model come to."""

    raw: WinRate
    controlled: LengthControlled | None
    """None with fewer than ten judgements"""
    mean_length: float
    """characters"""


def alpaca_scores(
    annotations: Annotations,
    difficulty: Floats | None,
    gamed: Sequence[JudgedRows],
    *,
    seed: int,
) -> AlpacaScores:
    """Raw and length-controlled win rates of one model; a model against itself has 1/2 exactly.

    Args:
        annotations: its judgements, the judge's own or stored ones.
        difficulty: (N,) of the instructions; None leaves it out of the regression.
        gamed: the baseline's gamed answers by the same judge.
        seed: of the bootstraps.
    """
    preferences = annotations.preferences
    raw = win_rate(preferences, range(len(preferences)), seed=seed)
    controlled = None
    if (~np.isnan(preferences)).sum() >= 10:
        rows = annotations.judged(difficulty)
        controlled = length_controlled_win_rate(rows, tuple(gamed), seed=seed)
    return AlpacaScores(raw, controlled, float(annotations.lengths.mean()))


@dataclass(frozen=True)
class AlpacaEval:
    """The benchmark with its files read, and a judge; a `Suite`."""

    files: AlpacaFiles
    judge: PairJudge
    """asked in both orders; one that does this itself would hide its bias for places"""
    check: JudgeCheck | None = None
    """whether the judge can judge at all"""
    people: PairJudge | None = None
    """what people said of some of the pairs"""
    max_new_tokens: int = 2048
    temperature: float = 0.0
    seed: int = 0
    name: str = "alpaca_eval"

    def questions(self) -> list[Question]:
        """One an instruction; the id is its place."""
        return [
            Question(
                id=str(place),
                prompt=prompt,
                max_new_tokens=self.max_new_tokens,
                temperature=self.temperature,
            )
            for place, prompt in enumerate(self._prompts)
        ]

    def follow_up(self, answers: Mapping[str, Answer]) -> list[Question]:  # noqa: ARG002
        """Nothing: there is one turn."""
        return []

    def grade(self, answers: Mapping[str, Answer]) -> SuiteResult:
        """Win rates of the answers, and what the judge prefers besides quality.

        Raises:
            DataError: an instruction was not answered, or the judge abstained on all.
        """
        texts = self._texts(answers)
        places = [str(place) for place in range(len(texts))]
        said = self._said(texts)
        require_some(said.mean(), self.judge.name)
        annotations = self._annotations("model", texts, said)
        scores = alpaca_scores(annotations, self.files.difficulty, self._gamed_rows, seed=self.seed)
        gaps = annotations.lengths - annotations.baseline_lengths
        bias = judge_bias(said.forth, said.back, places, seed=self.seed, length_gaps=gaps)
        rows = [
            {
                "id": place,
                "instruction": self.files.baseline.instructions[i],
                "response": texts[i],
                "preference": number_or_none(annotations.preferences[i]),
                "preference_first": number_or_none(said.forth[i]),
                "preference_second": number_or_none(1 - said.back[i]),
            }
            for i, place in enumerate(places)
        ]
        cut = sum(answers[place].was_cut for place in places)
        figures, told = by_people(
            self.people,
            self._prompts,
            texts,
            self.files.baseline.texts,
            annotations.preferences,
            places,
        )
        return SuiteResult(
            self.name,
            {**self._figures(scores, bias), **figures},
            rows,
            [*self._notes(scores, texts, cut), *told],
            outcomes=_outcomes(annotations.preferences),
        )

    def outcomes(self, answers: Mapping[str, Answer]) -> list[Outcome]:
        """What the judge says of each pair, and nothing else.

        Raises:
            DataError: an instruction was not answered.
        """
        return _outcomes(self._said(self._texts(answers)).mean())

    def _texts(self, answers: Mapping[str, Answer]) -> list[str]:
        places = [str(place) for place in range(len(self.files.baseline.texts))]
        missing = [place for place in places if place not in answers]
        if missing:
            raise DataError(
                f"{self.name}: {len(missing)} of {len(places)} instructions have no answer, "
                f"the first being {missing[0]}"
            )
        return [answers[place].texts[0] for place in places]

    def _said(self, texts: Sequence[str]) -> TwoOrders:
        """The judge on some texts, each against the baseline's."""
        return ask_both_orders(self.judge, self._prompts, texts, self.files.baseline.texts)

    @cached_property
    def _prompts(self) -> list[tuple[Message, ...]]:
        return [(Message(role="user", content=text),) for text in self.files.baseline.instructions]

    @cached_property
    def _gamed_rows(self) -> tuple[JudgedRows, ...]:
        """What this judge says of the gamed baselines; judged once for all models."""
        found = []
        for outputs in self.files.gamed:
            said = self._said(outputs.texts)
            annotations = self._annotations(outputs.generator, outputs.texts, said)
            found.append(annotations.judged(self.files.difficulty))
        return tuple(found)

    def _annotations(self, model: str, texts: Sequence[str], said: TwoOrders) -> Annotations:
        return Annotations(
            model=model,
            baseline=self.files.baseline.generator,
            preferences=said.mean(),
            lengths=np.array([float(len(text)) for text in texts]),
            baseline_lengths=np.array([float(len(text)) for text in self.files.baseline.texts]),
        )

    def _figures(self, scores: AlpacaScores, bias: JudgeBias) -> dict[str, Figure]:
        raw, controlled = scores.raw, scores.controlled
        figures = {"win_rate": win_rate_figure(raw)}
        if controlled is not None:
            figures["length_controlled_win_rate"] = Figure(
                controlled.rate,
                controlled.low,
                controlled.high,
                raw.prompts,
                controlled.standard_error,
            )
        return {**figures, **bias_figures(bias)}

    def _notes(self, scores: AlpacaScores, texts: Sequence[str], cut: int) -> list[str]:
        raw = scores.raw
        notes = [*self._comparability(), *validity_notes(self.judge.name, self.check)]
        if self.files.difficulty is None:
            notes.append("length control knows no difficulty of instructions")
        if len(self.files.gamed) < 2:
            notes.append("length control has no gamed baselines: it can be gamed by length")
        if raw.abstained:
            notes.append(f"the judge abstained on {raw.abstained} of {len(texts)} pairs")
        if cut:
            notes.append(f"{cut} prompts were cut to the model's context")
        if (alike := same_response_share(texts)) >= _SUSPICIOUS_SHARE:
            notes.append(
                f"{alike:.0%} of the responses are the same text, whatever was asked: "
                "its win rate says nothing of the model (a null model)"
            )
        notes.append(
            f"responses have {scores.mean_length:.0f} characters on average; "
            f"a win rate nearer to 50% than {100 * raw.minimum_detectable_effect:.1f} points may "
            "well go unseen (80% power)"
        )
        return notes

    def _comparability(self) -> list[str]:
        name, count = self.files.baseline.generator, len(self.files.baseline.texts)
        if (self.judge.name, name, count) == (OFFICIAL_JUDGE, BASELINE, _OFFICIAL_COUNT):
            return []
        return [
            f"not comparable with published scores: {count} instructions judged by "
            f"{self.judge.name} against {name}, officially {_OFFICIAL_COUNT} by {OFFICIAL_JUDGE} "
            f"against {BASELINE}"
        ]


def _outcomes(preferences: Floats) -> list[Outcome]:
    return [Outcome(str(place), float(p)) for place, p in enumerate(preferences)]


def same_response_share(texts: Sequence[str]) -> float:
    """Share of responses that are (or begin as) the most common one; 0 for a single response."""
    if len(texts) < 2:
        return 0.0
    starts = Counter(" ".join(text.split())[:_SAME_START] for text in texts)
    return starts.most_common(1)[0][1] / len(texts)
