"""ReAct: the policy thinks and acts in turn, and reads what its actions gave.

Source: Yao et al. 2022, arXiv:2210.03629. There the whole episode is one text; here an action is a
turn of the policy and an observation one of the user, as chat templates have it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from accord.core.episodes import Reply
from accord.core.interfaces import Fits
from accord.core.types import Message, PromptRow
from accord.environments.answers import is_right
from accord.environments.opening import Exemplar, opening, user
from accord.environments.tools import Toolbox

INSTRUCTION = """\
Answer the question by turns of a Thought and an Action. After each action you are shown an \
Observation. Actions:
{tools}
finish[answer]: End with the answer.
Write exactly one action a turn, on a line of its own, as: Action: name[input]"""
_ACTION = re.compile(r"^[ \t]*(?:Action(?: ?\d+)?:[ \t]*)?([A-Za-z_][\w./-]*)\[", re.MULTILINE)
_STOPS = ("\nObservation",)
REPAIR = "Malformed action: {why}. Write one action, as: Action: name[input]"


class Malformed(ValueError):
    """A text that holds no action, or more than one."""


@dataclass(frozen=True)
class Act:
    """A call that a policy wrote."""

    name: str
    argument: str


def parse_action(text: str) -> Act:
    """The one action of a text: `name[input]` at the start of a line, after `Action:` or alone.

    The input may span lines and hold brackets. Lines that say `Action:` count before those that do
    not.

    Raises:
        Malformed: there is none, there are several, or a bracket is missing.
    """
    found = list(_ACTION.finditer(text))
    marked = [match for match in found if "Action" in match[0][: match.start(1) - match.start()]]
    found = marked or found
    if not found:
        raise Malformed("there is no action")
    start = found[0].end()
    end = _closing(text, start)
    if any(match.start() > end for match in found):
        raise Malformed("there is more than one action")
    return Act(found[0][1], text[start:end].strip())


def _closing(text: str, start: int) -> int:
    """Where the bracket before `start` is closed; inside there may be others."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"[": 1, "]": -1}.get(text[place], 0)
        if depth == 0:
            return place
    raise Malformed("the closing bracket is missing")


class ReAct:
    """Thought, action, observation, until `finish`.

    A malformed action is answered with what is wrong with it; a second one in a row ends the
    episode without an answer. How many actions there may be is the loop's limit.

    Args:
        toolbox: what may run, beside `finish`.
        exemplars: of whole conversations.
        instruction: with the tools in place of `{tools}`.
        call_reward: paid once an episode for a call that worked, beside 1 for the right answer:
            where success is rare at first, it is what there is to learn from.
    """

    stops: Sequence[str] = _STOPS

    def __init__(
        self,
        toolbox: Toolbox,
        *,
        exemplars: Sequence[Exemplar] = (),
        instruction: str = INSTRUCTION,
        call_reward: float = 0.0,
    ) -> None:
        self.toolbox, self.exemplars = toolbox, exemplars
        self.instruction, self.call_reward = instruction, call_reward

    def reset(self, row: PromptRow, fits: Fits) -> list[Message]:
        """The instruction with the tools that are allowed, exemplars, and the question."""
        self._expected = row.columns.get("answer")
        self._was_malformed = False
        self._was_paid = False
        instruction = self.instruction.replace("{tools}", self.toolbox.describe())
        return opening(instruction, self.exemplars, row, fits)

    async def step(self, action: str) -> Reply:
        """What the action gave."""
        try:
            act = parse_action(action)
        except Malformed as error:
            return self._malformed(str(error))
        self._was_malformed = False
        if act.name.lower() == "finish":
            reward = float(is_right(act.argument, self._expected))
            return Reply(is_done=True, answer=act.argument, reward=reward)
        result = await self.toolbox.call(act.name, act.argument)
        reward = 0.0
        if not result.is_error and not self._was_paid:
            reward, self._was_paid = self.call_reward, True
        notes = {"call": act, "result": result}
        return Reply((user(f"Observation: {result.text}"),), reward=reward, notes=notes)

    def _malformed(self, why: str) -> Reply:
        notes = {"malformed": why}
        if self._was_malformed:
            return Reply(is_done=True, notes=notes)
        self._was_malformed = True
        return Reply((user(REPAIR.format(why=why)),), notes=notes)
