"""Thinking before answering: a plan, steps, a check; and a vote over several such thoughts."""

import re
from collections.abc import Sequence

from accord.core.episodes import Reply
from accord.core.interfaces import Fits
from accord.core.types import Message, PromptRow
from accord.corpora.final_numbers import final_number
from accord.environments.answers import as_number, is_right
from accord.environments.calculator import format_number
from accord.environments.opening import Exemplar, opening, user

PLAN = "First make a plan: what is asked for, and which steps lead there. Do not solve it yet."
SOLVE = "Now follow the plan step by step. End with a line that holds only `#### ` and the answer."
VERIFY = (
    "Check each step. If one is wrong, correct it. End again with a line that holds only `#### ` "
    "and the answer."
)
_MARKED = re.compile(r"^\s*####\s*(.+?)\s*$", re.MULTILINE)


class ChainOfThought:
    """Asks for a plan, for steps, and for a check of them, a turn each; the answer is the last.

    Source: Wei et al. 2022, arXiv:2201.11903; with a plan, Wang et al. 2023, arXiv:2305.04091.

    Args:
        exemplars: of whole conversations with these turns.
        plans: ask for a plan first.
        verifies: ask for a check at the end.
    """

    stops: Sequence[str] = ()

    def __init__(
        self, *, exemplars: Sequence[Exemplar] = (), plans: bool = True, verifies: bool = False
    ) -> None:
        self.exemplars = exemplars
        self._asks = [*([PLAN] if plans else []), SOLVE, *([VERIFY] if verifies else [])]

    def reset(self, row: PromptRow, fits: Fits) -> list[Message]:
        """The question with the first request."""
        self._expected = row.columns.get("answer")
        first, *self._left = self._asks
        self._answer: str | None = None
        self._words: str | None = None
        last = row.prompt[-1]
        asked = Message(role=last["role"], content=f"{last['content']}\n\n{first}")
        return opening("", self.exemplars, PromptRow((*row.prompt[:-1], asked)), fits)

    async def step(self, action: str) -> Reply:
        """The next request, or the end."""
        self._answer = marked_answer(action) or self._answer
        self._words = marked_words(action) or self._words
        if self._left:
            return Reply((user(self._left.pop(0)),))
        # "2 km" is a number in a vote, and words where words are expected.
        is_number = as_number(str(self._expected)) is not None
        said = self._answer if is_number else self._words or self._answer
        reward = float(is_right(said, self._expected))
        return Reply(is_done=True, answer=self._answer, reward=reward)


def marked_words(text: str) -> str | None:
    """What stands after the last `####`."""
    marked = _MARKED.findall(text)
    return str(marked[-1]) if marked else None


def marked_answer(text: str) -> str | None:
    """What stands after the last mark: a number if there is one, else the words."""
    words = marked_words(text)
    # Of the last `####` alone: "the answer is 12" may stand on the way to it.
    number = final_number(text if words is None else f"#### {words}")
    return words if number is None else format_number(number)
