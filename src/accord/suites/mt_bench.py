"""MT-Bench: two turns of 80 questions, graded one by one or against another model's answers.

Source: Zheng et al. 2023, arXiv:2306.05685.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from accord.annotation.judge_bias import judge_bias
from accord.annotation.tables import Floats
from accord.annotation.win_rates import known, win_rate
from accord.core.errors import DataError
from accord.core.interfaces import PairJudge, RubricJudge
from accord.core.types import Message, Row
from accord.judges.both_orders import TwoOrders, ask_both_orders
from accord.suites.base import Answer, Figure, Outcome, SuiteResult
from accord.suites.estimates import estimate_mean
from accord.suites.judging import (
    bias_figures,
    by_people,
    number_or_none,
    require_some,
    win_rate_figure,
)
from accord.suites.llmbar import JudgeCheck, validity_notes
from accord.suites.mt_bench_judge import joined_turns
from accord.suites.mt_bench_questions import MTQuestion, Turns, TwoTurns, second_prompt, user

OFFICIAL_JUDGE = "gpt-4"
_OFFICIAL_COUNT = 80


@dataclass(frozen=True)
class MTBench(TwoTurns):
    """Every answer is graded from 1 to 10; a `Suite`.

    Judges that do not read `references` of the columns grade without them.
    """

    judge: RubricJudge
    seed: int = 0
    name: str = "mt_bench"

    def grade(self, answers: Mapping[str, Answer]) -> SuiteResult:
        """Mean grades: over both turns (the score), by turn, and by category.

        Answers that the judge abstained on are left out, and counted.

        Raises:
            DataError: an answer is missing, or the judge abstained on all of them.
            ValueError: the judge gave too few grades.
        """
        turns = self.turns_of(answers)
        prompts = [
            prompt
            for item in self.items
            for prompt in ((user(item.turns[0]),), second_prompt(item, turns[item.id][0]))
        ]
        responses = [text for item in self.items for text in turns[item.id]]
        columns = [_columns(item) for item in self.items for _ in (1, 2)]
        grades = np.array(self.judge.grade(prompts, responses, columns), dtype=float)
        if grades.shape != (len(responses),):
            raise DataError(
                f"judge {self.judge.name} gave {grades.size} of {len(responses)} grades"
            )
        if np.isnan(grades).all():
            raise DataError(f"judge {self.judge.name} abstained on all of {len(grades)} answers")
        rows = [
            {
                "id": f"{item.id}/{turn}",
                "category": item.category,
                "response": responses[2 * i + turn - 1],
                "grade": number_or_none(grades[2 * i + turn - 1]),
            }
            for i, item in enumerate(self.items)
            for turn in (1, 2)
        ]
        return SuiteResult(self.name, self._figures(grades), rows, self._notes(grades, answers))

    def _figures(self, grades: Floats) -> dict[str, Figure]:
        ids = [item.id for item in self.items for _ in (1, 2)]
        categories = np.array([item.category for item in self.items for _ in (1, 2)])
        turn = np.tile([1, 2], len(self.items))
        parts = {"score": np.ones(len(ids), dtype=bool), "turn_1": turn == 1, "turn_2": turn == 2}
        parts |= {name: categories == name for name in dict.fromkeys(categories.tolist())}
        figures = {}
        for name, part in parts.items():
            there = part & ~np.isnan(grades)
            if there.any():
                clusters = [ids[i] for i in np.flatnonzero(there)]
                figures[name] = estimate_mean(grades[there], clusters, seed=self.seed)
        return figures

    def _notes(self, grades: Floats, answers: Mapping[str, Answer]) -> list[str]:
        notes = _comparability(self.judge.name, len(self.items))
        if abstained := int(np.isnan(grades).sum()):
            notes.append(f"the judge abstained on {abstained} of {len(grades)} answers")
        return [*notes, *_cut(answers)]


@dataclass(frozen=True)
class MTBenchPairs(TwoTurns):
    """Every turn is compared with another model's, in both orders; a `Suite`."""

    judge: PairJudge
    """of the second turn it sees whole conversations, joined as `joined_turns` says"""
    baseline: Mapping[int, Turns]
    baseline_name: str
    check: JudgeCheck | None = None
    seed: int = 0
    people: PairJudge | None = None
    """what people said of some of the pairs, which are those that the judge sees"""
    name: str = "mt_bench_pairs"

    def __post_init__(self) -> None:
        """Refuse a baseline that has not answered everything."""
        missing = [item.id for item in self.items if item.id not in self.baseline]
        if missing:
            raise DataError(f"{self.baseline_name} has no answer to question {missing[0]}")

    def grade(self, answers: Mapping[str, Answer]) -> SuiteResult:
        """Win rates over both turns and by turn; orders that disagree are a tie, which is half.

        Raises:
            DataError: an answer is missing, or the judge abstained on all.
        """
        ours = self._compared(self.turns_of(answers))
        said = self._said(ours)
        outcomes = said.agreement()
        require_some(outcomes, self.judge.name)
        ids = self._ids
        raw = win_rate(outcomes, ids, seed=self.seed)
        gaps = [len(a) - len(b) for a, b in zip(ours, self._compared(self.baseline), strict=True)]
        bias = judge_bias(
            said.forth, said.back, ids, seed=self.seed, length_gaps=np.array(gaps, dtype=float)
        )
        figures = {"win_rate": win_rate_figure(raw)}
        for turn in (1, 2):
            values, kept = outcomes[turn - 1 :: 2], ids[turn - 1 :: 2]
            if not np.isnan(values).all():
                judged = known(values, kept)
                figures[f"win_rate_turn_{turn}"] = estimate_mean(*judged, seed=self.seed)
        rows = [
            {
                "id": f"{number}/{i % 2 + 1}",
                "response": ours[i],
                "outcome": number_or_none(outcomes[i]),
            }
            for i, number in enumerate(ids)
        ]
        notes = _comparability(self.judge.name, len(self.items))
        notes += validity_notes(self.judge.name, self.check)
        if raw.abstained:
            notes.append(f"the judge abstained on {raw.abstained} of {len(ids)} pairs")
        notes.append(
            f"against {self.baseline_name}; a win rate nearer to 50% than "
            f"{100 * raw.minimum_detectable_effect:.1f} points may well go unseen (80% power)"
        )
        corrected, told = by_people(
            self.people, self._prompts, ours, self._compared(self.baseline), outcomes, self._ids
        )
        figures |= {**bias_figures(bias), **corrected}
        notes += [*told, *_cut(answers)]
        return SuiteResult(self.name, figures, rows, notes, outcomes=self._outcomes(said))

    def outcomes(self, answers: Mapping[str, Answer]) -> list[Outcome]:
        """What the judge says of each pair of turns, and nothing else.

        Raises:
            DataError: an answer is missing.
        """
        return self._outcomes(self._said(self._compared(self.turns_of(answers))))

    def _said(self, ours: Sequence[str]) -> TwoOrders:
        """The judge on some texts, each against the baseline's."""
        theirs = self._compared(self.baseline)
        return ask_both_orders(self.judge, self._prompts, ours, theirs, self._pair_columns)

    def _outcomes(self, said: TwoOrders) -> list[Outcome]:
        found = zip(self._ids, said.agreement(), strict=True)
        return [Outcome(str(number), float(value)) for number, value in found]

    @property
    def _ids(self) -> list[int]:
        return [item.id for item in self.items for _ in (1, 2)]

    @cached_property
    def _prompts(self) -> list[tuple[Message, ...]]:
        return [(user(item.turns[0]),) for item in self.items for _ in (1, 2)]

    @cached_property
    def _pair_columns(self) -> list[Row]:
        second: list[Row] = [{"questions": item.turns, **_columns(item)} for item in self.items]
        pairs = zip(self.items, second, strict=True)
        return [row for item, both in pairs for row in (_columns(item), both)]

    def _compared(self, turns: Mapping[int, Turns]) -> list[str]:
        """What the judge sees of each turn: the answer, then the whole conversation."""
        return [
            text
            for item in self.items
            for first, second in [turns[item.id]]
            for text in (first, joined_turns(first, item.turns[1], second))
        ]


def _columns(item: MTQuestion) -> dict[str, Any]:
    return {} if item.references is None else {"references": item.references}


def _comparability(judge: str, count: int) -> list[str]:
    if (judge, count) == (OFFICIAL_JUDGE, _OFFICIAL_COUNT):
        return []
    return [
        f"not comparable with published scores: {count} questions judged by {judge}, officially "
        f"{_OFFICIAL_COUNT} by {OFFICIAL_JUDGE}"
    ]


def _cut(answers: Mapping[str, Answer]) -> list[str]:
    count = sum(answer.was_cut for answer in answers.values())
    return [f"{count} prompts were cut to the model's context"] if count else []
