"""MT-Bench's own judge: its prompts, filled in, and the verdicts in what a model replies.

Source: Zheng et al. 2023, arXiv:2306.05685. Any model can be asked; the official one is GPT-4.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from accord.core.errors import DataError
from accord.core.types import Message, Row
from accord.suites.rows import read_records

NAN = float("nan")

_NAMES = [
    f"{kind}{turns}"
    for kind in ("single-v1", "single-math-v1", "pair-v2", "pair-math-v1")
    for turns in ("", "-multi-turn")
]
_RATINGS = (re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]"))
_SCALE = (1.0, 10.0)
_VERDICTS = {"[[A]]": 1.0, "[[B]]": 0.0, "[[C]]": 0.5}


Ask = Callable[[Sequence[Sequence[Message]]], Sequence[str | None]]
"""Conversations to replies, in their order; None where there was none."""


@dataclass(frozen=True)
class Template:
    """One of the judge's prompts; braces in `prompt` name what is filled in."""

    system: str
    prompt: str

    def filled(self, **parts: str) -> list[Message]:
        """The conversation that the judge answers."""
        return [
            Message(role="system", content=self.system),
            Message(role="user", content=self.prompt.format(**parts)),
        ]


def read_templates(path: str | Path) -> dict[str, Template]:
    """The judge's prompts by name, from its judge_prompts.jsonl.

    Raises:
        DataError: a field is missing, or one of the eight prompts.
    """
    found = {
        record.text("name"): Template(
            str(record.get("system_prompt", str)), record.text("prompt_template")
        )
        for record in read_records(path)
    }
    missing = [name for name in _NAMES if name not in found]
    if missing:
        raise DataError(f"{path}: no prompt {missing[0]!r}; found {', '.join(found)}")
    return found


def rating(text: str) -> float:
    """The number in [[n]], or else in [n]; NaN where there is none, or it is off the scale."""
    for pattern in _RATINGS:
        if match := pattern.search(text):
            value = float(match[1])
            return value if _SCALE[0] <= value <= _SCALE[1] else NAN
    return NAN


def verdict(text: str) -> float:
    """1 for [[A]], 0 for [[B]], 1/2 for [[C]]; of several the first of these; NaN without any."""
    return next((value for mark, value in _VERDICTS.items() if mark in text), NAN)


def joined_turns(first: str, question: str, second: str) -> str:
    """Both answers of a model as one text, for judges of pairs; `parted_turns` undoes it."""
    return f"{first}{_between(question)}{second}"


def parted_turns(text: str, question: str) -> tuple[str, str]:
    """The two answers in what `joined_turns` made with the same second question."""
    first, _, second = text.partition(_between(question))
    return first, second


def _between(question: str) -> str:
    return f"\n\n### User:\n{question}\n\n### Assistant:\n"


class PromptedJudge:
    """Grades single answers and pairs with the benchmark's prompts.

    It reads `references` of a row's columns, texts for both turns, where there are some; and, for
    pairs of the second turn, `questions`. What replies nothing, or nonsense, abstained.
    """

    def __init__(self, ask: Ask, templates: dict[str, Template], *, name: str) -> None:
        self.ask = ask
        self.templates = templates
        self.name = name

    def grade(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """A grade from 1 to 10 each: of the second turn where the prompt has one before."""
        rows: Sequence[Row] = columns if columns is not None else [{}] * len(prompts)
        asked = []
        for prompt, response, row in zip(prompts, responses, rows, strict=True):
            texts = [message["content"] for message in prompt if message["role"] != "system"]
            parts, math = _references(row)
            if len(texts) == 1:
                template = self.templates[f"single{math}-v1"]
                asked.append(template.filled(question=texts[0], answer=response, **parts))
            else:
                template = self.templates[f"single{math}-v1-multi-turn"]
                question_1, answer_1, question_2 = texts
                parts |= {"question_1": question_1, "answer_1": answer_1}
                asked.append(template.filled(question_2=question_2, answer_2=response, **parts))
        return [NAN if reply is None else rating(reply) for reply in self.ask(asked)]

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """1 where a, the first, is the better, 0 where b is, 1/2 for a tie."""
        rows: Sequence[Row] = columns if columns is not None else [{}] * len(prompts)
        asked = []
        for prompt, one, other, row in zip(prompts, a, b, rows, strict=True):
            parts, math = _references(row)
            base = f"pair{math}-v{1 if math else 2}"
            if "questions" not in row:
                parts |= {"question": prompt[-1]["content"], "answer_a": one, "answer_b": other}
                asked.append(self.templates[base].filled(**parts))
                continue
            question_1, question_2 = row["questions"]
            parts |= {"question_1": question_1, "question_2": question_2}
            for label, text in (("a", one), ("b", other)):
                first, second = parted_turns(text, question_2)
                parts |= {f"answer_{label}_1": first, f"answer_{label}_2": second}
            asked.append(self.templates[f"{base}-multi-turn"].filled(**parts))
        return [NAN if reply is None else verdict(reply) for reply in self.ask(asked)]


def _references(row: Row) -> tuple[dict[str, str], str]:
    """The parts for a template, and the mark of templates that have them."""
    if "references" not in row:
        return {}, ""
    first, second = row["references"]
    return {"ref_answer_1": first, "ref_answer_2": second}, "-math"
