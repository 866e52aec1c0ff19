"""HumanEval: functions written from their docstrings, graded by running their tests.

Procedure and data: Chen et al. 2021, arXiv:2107.03374, and github.com/openai/human-eval. As there,
text is continued up to the first of five stops, a sample passes if its tests run through, and
pass@k is the mean over problems of the unbiased estimate. The official three seconds are of CPU
time here, and twice that of time, so that a busy machine fails nothing; and what runs is shut in.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import uuid4

from accord.annotation.pass_at_k import pass_at_k
from accord.core.errors import ConfigError, DataError
from accord.core.types import Message
from accord.sandbox.process import Limits
from accord.sandbox.sandbox import Sandbox
from accord.suites.base import Answer, OneTurn, Question, SuiteResult
from accord.suites.estimates import estimate_mean, estimate_share
from accord.suites.rows import read_records
from accord.suites.texts import cut_at

STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
LIMITS = Limits(wall_s=6.0, cpu_s=3.0)
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Problem:
    """A signature with its docstring, and `check(candidate)` as source."""

    task_id: str
    prompt: str
    entry_point: str
    test: str
    canonical_solution: str


def load_problems(path: Path | str) -> list[Problem]:
    """The problems of a file such as `HumanEval.jsonl.gz`.

    Raises:
        DataError: a field is missing, or an id stands there twice.
    """
    fields = list(Problem.__dataclass_fields__)
    problems = [Problem(**{k: row.text(k) for k in fields}) for row in read_records(path)]
    if len({problem.task_id for problem in problems}) < len(problems):
        raise DataError(f"{path}: two problems have the same task_id")
    return problems


class HumanEval(OneTurn):
    """The suite.

    Args:
        sandbox: made with this module's `LIMITS`, to be comparable.
        style: `text` continues the function as plain text, as the official procedure does; `chat`
            asks for it in a message, and takes the code out of the response.
        samples: n, for each problem.
        temperature: the paper used 0.2 for pass@1 and 0.8 for pass@100.

    Raises:
        ConfigError: several samples would all be the same.
    """

    name = "human_eval"

    def __init__(
        self,
        problems: Sequence[Problem],
        sandbox: Sandbox,
        *,
        style: Literal["text", "chat"] = "text",
        samples: int = 1,
        temperature: float = 0.0,
        ks: Sequence[int] = (1, 10, 100),
        max_new_tokens: int = 512,
    ) -> None:
        if samples > 1 and temperature == 0:
            raise ConfigError(
                f"human_eval: {samples} samples at temperature 0 are all the same; "
                "set a temperature (0.2 for pass@1, 0.8 for many samples)"
            )
        self.problems = problems
        self.sandbox = sandbox
        self.style = style
        self.samples = samples
        self.temperature = temperature
        self.ks = ks
        self.max_new_tokens = max_new_tokens

    def questions(self) -> list[Question]:
        """A question a problem."""
        is_text = self.style == "text"
        return [
            Question(
                id=problem.task_id,
                prompt=(Message(role="user", content=self._ask(problem)),),
                max_new_tokens=self.max_new_tokens,
                temperature=self.temperature,
                stop=STOPS if is_text else (),
                samples=self.samples,
                is_text=is_text,
            )
            for problem in self.problems
        ]

    def _ask(self, problem: Problem) -> str:
        if self.style == "text":
            return problem.prompt
        return (
            "Complete this Python function. Answer with the whole function in one code block and "
            f"nothing else.\n\n```python\n{problem.prompt.strip()}\n```"
        )

    def grade(self, answers: Mapping[str, Answer]) -> SuiteResult:
        """pass@k for those k for which every problem has enough samples."""
        problems = [problem for problem in self.problems if problem.task_id in answers]
        completions = [(p, text) for p in problems for text in answers[p.task_id].texts]
        passed = grade_completions(
            [(p, self._completion(p, text)) for p, text in completions], self.sandbox
        )
        by_problem: dict[str, list[bool]] = {problem.task_id: [] for problem in problems}
        for (problem, _), result in zip(completions, passed, strict=True):
            by_problem[problem.task_id].append(result is None)
        figures = {}
        for k in self.ks:
            # A k beyond the samples that there are has no estimate, and is left out.
            if by_problem and all(len(results) >= k for results in by_problem.values()):
                values = [pass_at_k(len(r), sum(r), k) for r in by_problem.values()]
                # With a single try a problem these are zeros and ones, often all alike.
                figures[f"pass@{k}"] = (
                    estimate_share([value == 1 for value in values])
                    if set(values) <= {0.0, 1.0}
                    else estimate_mean(values, list(by_problem))
                )
        rows = [
            {"id": problem.task_id, "response": text, "passed": why is None, "why": why}
            for (problem, text), why in zip(completions, passed, strict=True)
        ]
        return SuiteResult(self.name, figures, rows, self._notes())

    def _completion(self, problem: Problem, text: str) -> str:
        if self.style == "text":
            return cut_at(text, STOPS)
        return code_of(text, problem)

    def _notes(self) -> list[str]:
        notes = [self.sandbox.describe()]
        if self.style == "chat":
            notes.append(
                "asked in a chat, with code taken from the response: not the official procedure, "
                "which continues the function as text"
            )
        return notes


def code_of(text: str, problem: Problem) -> str:
    """What a chat's response adds to the problem's prompt: its function, or a function's body.

    The first code block that holds the function counts, else the first block, else all of it.
    """
    blocks: list[str] = _FENCED.findall(text) or [text]
    defined = re.compile(rf"^(?:async )?def {re.escape(problem.entry_point)}\b", re.MULTILINE)
    whole = next((block for block in blocks if defined.search(block)), None)
    # The prompt ends with a docstring, which is a body: the function can be defined again.
    return f"\n\n{whole}" if whole is not None else blocks[0]


def grade_completions(
    completions: Sequence[tuple[Problem, str]], sandbox: Sandbox
) -> list[str | None]:
    """For each completion None if it passes its problem's tests, else why not."""
    done = uuid4().hex
    outcomes = sandbox.run_many(
        [tested_program(problem, completion, done) for problem, completion in completions]
    )
    found: list[str | None] = []
    for outcome in outcomes:
        # The exit code would pass an answer that ends the process before its tests have run.
        if outcome.stdout.rstrip().endswith(done):
            found.append(None)
        elif outcome.timed_out:
            found.append("timed out")
        else:
            last = outcome.stderr.strip().splitlines()[-1:]
            found.append(f"failed: {last[0]}" if last else f"ended with {outcome.exit_code}")
    return found


def tested_program(problem: Problem, completion: str, done: str) -> str:
    """A program whose last line of output is `done` if the tests run through."""
    return "\n".join(
        [
            problem.prompt + completion,
            problem.test,
            f"check({problem.entry_point})",
            f"print({done!r})",
        ]
    )
