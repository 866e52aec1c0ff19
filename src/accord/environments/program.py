"""Program-aided answers: the policy writes Python, the sandbox runs it, its result is the answer.

Source: Gao et al. 2022, arXiv:2211.10435, and github.com/reasoning-machines/pal.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from accord.core.episodes import Reply
from accord.core.interfaces import Fits
from accord.core.types import Message, PromptRow
from accord.environments.answers import is_right
from accord.environments.opening import Exemplar, opening, user
from accord.environments.tools import Tool, ToolError, tool_of
from accord.sandbox.process import Limits
from accord.sandbox.sandbox import Sandbox

LIMITS = Limits(wall_s=20.0, cpu_s=10.0)
"""Ten seconds, as in the paper; of CPU time, so that a busy machine fails nothing."""
INSTRUCTION = (
    "Answer each question with a Python program in a code block: a function `solution()` that "
    "returns the answer."
)
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL | re.IGNORECASE)

_HARNESS = """\
import ast
tree = ast.parse({code!r})
last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
scope = {{"__name__": "__main__"}}
exec(compile(tree, "<program>", "exec"), scope)
value = None
if last is not None:
    value = eval(compile(ast.Expression(last.value), "<program>", "eval"), scope)
if callable(scope.get("solution")):
    value = scope["solution"]()
print()
print({mark!r} + ("" if value is None else str(value)))
"""


@dataclass(frozen=True)
class ProgramResult:
    """What a program came to: its value as text, or why there is none."""

    value: str | None
    why: str = ""


def program_of(text: str) -> str:
    """The code in a response: its last code block, or all of it."""
    blocks: list[str] = _FENCED.findall(text)
    return (blocks[-1] if blocks else text).strip("\n")


def harness(code: str, mark: str) -> str:
    """A program that runs `code` and prints `mark` with the value of `solution()`, or of the last
    expression.
    """
    return _HARNESS.format(code=code, mark=mark)


def run_programs(codes: Sequence[str], sandbox: Sandbox) -> list[ProgramResult]:
    """The values of several programs, in their order; what a program prints last counts where it
    has no value.
    """
    mark = uuid4().hex
    found: list[ProgramResult] = []
    for outcome in sandbox.run_many([harness(code, mark) for code in codes]):
        before, marked, value = outcome.stdout.rpartition(mark)
        printed = before.strip().splitlines()
        value = value.strip() or (printed[-1].strip() if printed else "")
        if marked and value:
            found.append(ProgramResult(value))
        elif outcome.timed_out:
            found.append(ProgramResult(None, "it took too long"))
        else:
            last = outcome.stderr.strip().splitlines()[-1:]
            found.append(ProgramResult(None, last[0] if last else "it has no value"))
    return found


def program_tool(sandbox: Sandbox) -> Tool:
    """The sandbox as a tool."""

    def program(code: str) -> str:
        """Run a Python program; its last expression, or what it prints last, is the result."""
        result = run_programs([program_of(code)], sandbox)[0]
        if result.value is None:
            raise ToolError(f"the program failed: {result.why}")
        return result.value

    return tool_of(program)


class ProgramAided:
    """One program an episode; where it fails, the policy may try again as often as `retries` says.

    The reward is 1 where the value is the row's `answer`. An episode whose program failed has no
    answer, so that a vote skips it.
    """

    stops: Sequence[str] = ()

    def __init__(
        self, sandbox: Sandbox, *, exemplars: Sequence[Exemplar] = (), retries: int = 0
    ) -> None:
        self.sandbox, self.exemplars, self.retries = sandbox, exemplars, retries

    def reset(self, row: PromptRow, fits: Fits) -> list[Message]:
        """The instruction, exemplars, and the question."""
        self._expected = row.columns.get("answer")
        self._failures = 0
        return opening(INSTRUCTION, self.exemplars, row, fits)

    async def step(self, action: str) -> Reply:
        """The program's value, or its error."""
        code = program_of(action)
        result = (await asyncio.to_thread(run_programs, [code], self.sandbox))[0]
        notes = {"program": code, "failed": result.why}
        if result.value is None and self._failures < self.retries:
            self._failures += 1
            asked = f"The program failed: {result.why}\nWrite it again."
            return Reply((user(asked),), notes=notes)
        reward = float(is_right(result.value, self._expected))
        return Reply(is_done=True, answer=result.value, reward=reward, notes=notes)
