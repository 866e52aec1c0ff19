"""A conversation: the policy answers, and perhaps a given user goes on."""

from collections.abc import Sequence

from accord.core.episodes import Reply
from accord.core.interfaces import Fits
from accord.core.types import Message, PromptRow
from accord.environments.answers import is_right
from accord.environments.opening import question_of, user


class Conversation:
    """Says what the row's `user_turns` say, one after each answer, and ends with the last answer.

    The reward is 1 where that is the row's `answer`, else 0; a row without one pays nothing, and
    serves for talking, or for a reward of another kind.
    """

    stops: Sequence[str] = ()

    def reset(self, row: PromptRow, fits: Fits) -> list[Message]:  # noqa: ARG002 (nothing to leave)
        """The row's own prompt."""
        question_of(row)
        self._expected = row.columns.get("answer")
        self._left = list(row.columns.get("user_turns") or ())
        return list(row.prompt)

    async def step(self, action: str) -> Reply:
        """The user's next words."""
        if self._left:
            return Reply((user(str(self._left.pop(0))),))
        answer = action.strip()
        return Reply(is_done=True, answer=answer, reward=float(is_right(answer, self._expected)))
