"""Instruction following: whether responses do what a program can check, on prompts of our own.

As in IFEval, an instruction is followed strictly if the response as it stands does what is asked,
and loosely if it does so without its first or last line or its emphasis; a prompt is followed if
all of its instructions are. The prompts are not IFEval's, so neither are the figures.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from accord.core.types import Message
from accord.suites.base import Answer, Figure, OneTurn, Question, SuiteResult
from accord.suites.estimates import estimate_mean, estimate_share
from accord.suites.instruction_prompts import InstructedPrompt, make_prompts


class InstructionFollowing(OneTurn):
    """The suite, with the prompts of the package unless others are given."""

    name = "instruction_following"

    def __init__(
        self, prompts: Sequence[InstructedPrompt] | None = None, *, max_new_tokens: int = 512
    ) -> None:
        self.prompts = make_prompts() if prompts is None else prompts
        self.max_new_tokens = max_new_tokens

    def questions(self) -> list[Question]:
        """A question a prompt, answered greedily."""
        return [
            Question(prompt.id, (Message(role="user", content=prompt.text),), self.max_new_tokens)
            for prompt in self.prompts
        ]

    def grade(self, answers: Mapping[str, Answer]) -> SuiteResult:
        """`prompt_strict`, `prompt_loose`: of prompts; `instruction_...`: of instructions.

        `kind/NAME` is the strict share of one kind of instruction. Instructions of one prompt are
        not independent: their intervals resample prompts.
        """
        rows = [
            _grade(prompt, answers[prompt.id].texts[0])
            for prompt in self.prompts
            if prompt.id in answers
        ]
        figures: dict[str, Figure] = {}
        for way in ("strict", "loose") if rows else ():
            figures[f"prompt_{way}"] = estimate_share([all(row[way]) for row in rows])
            grades = [(row["id"], float(met)) for row in rows for met in row[way]]
            figures[f"instruction_{way}"] = estimate_mean(
                [met for _, met in grades], [prompt for prompt, _ in grades]
            )
        by_kind: dict[str, list[bool]] = {}
        for row in rows:
            for kind, met in zip(row["kinds"], row["strict"], strict=True):
                by_kind.setdefault(kind, []).append(met)
        figures |= {f"kind/{kind}": estimate_share(met) for kind, met in sorted(by_kind.items())}
        return SuiteResult(self.name, figures, rows)


def _grade(prompt: InstructedPrompt, response: str) -> dict[str, Any]:
    strict = [check.is_met_by(response) for check in prompt.checks]
    nearly = [check.is_nearly_met_by(response) for check in prompt.checks]
    return {
        "id": prompt.id,
        "response": response,
        "kinds": [check.kind for check in prompt.checks],
        "strict": strict,
        "loose": nearly,
    }
