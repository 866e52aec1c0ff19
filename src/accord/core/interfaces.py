"""Protocols: where two layers meet. Each has one contract test that all implementations pass."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from accord.core.chat import ChatFailure, ChatReply
from accord.core.episodes import Reply
from accord.core.types import (
    Aggregation,
    Answered,
    ExportedComparisons,
    GeneratedToken,
    GenerationRequest,
    GenerationResult,
    Judgement,
    Lease,
    Message,
    PromptRow,
    Receipt,
    Row,
    Scores,
    Submission,
    Task,
    ValueRule,
    Verdict,
)


class Generation(Protocol):
    """One submitted request."""

    def result(self) -> GenerationResult:
        """Wait for the whole response."""

    def stream(self) -> Iterator[GeneratedToken]:
        """Tokens as they come."""

    def cancel(self) -> None:
        """Stop soon; `result` then has finish "cancelled" and what was sampled so far."""


class Engine(Protocol):
    """Generates text with one model's weights."""

    def submit(self, requests: Sequence[GenerationRequest]) -> Sequence[Generation]:
        """Queue requests; they may run together in any grouping."""

    def load_weights(self, weights: Any, *, version: int) -> None:
        """Take new weights (a state dict); tokens sampled from now on carry `version`."""

    def close(self) -> None:
        """Cancel what is queued and free memory."""


class EngineFactory(Protocol):
    """Builds an engine once the policy exists."""

    def __call__(self, policy: Any, tokenizer: Any, *, max_batch_size: int = ...) -> Engine:
        """An engine over `policy`'s own weights: a later optimizer step is seen by it."""


class Reward(Protocol):
    """Scores whole responses."""

    def score(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        *,
        prompt_ids: Sequence[Sequence[int]],
        response_ids: Sequence[Sequence[int]],
        columns: Sequence[Row],
    ) -> Scores:
        """One score a response; every argument has one entry a response."""


Fits = Callable[[Sequence[Message]], bool]
"""Whether a conversation leaves room for the policy's first action: only the loop knows tokens."""


class Environment(Protocol):
    """What answers a policy in one episode, in texts; the rollout loop alone makes token ids."""

    @property
    def stops(self) -> Sequence[str]:
        """Texts that end an action where they begin, beside the end of turn."""

    def reset(self, row: PromptRow, fits: Fits) -> Sequence[Message]:
        """Begin an episode; the conversation that the policy's first action continues.

        It is shortened (fewer exemplars, fewer passages) until it `fits`, as far as it can be.
        """

    async def step(self, action: str) -> Reply:
        """Answer an action; a malformed one is answered too, never raised upon."""


class EnvironmentFactory(Protocol):
    """An environment for each episode."""

    def __call__(self) -> Environment:
        """One that shares what is large (an index, a sandbox) with the others."""


class Annotator(Protocol):
    """A person or a model who compares two responses; both write the same judgements."""

    @property
    def name(self) -> str:
        """Id in judgements."""

    @property
    def kind(self) -> Literal["person", "model", "simulated"]:
        """What is behind the name."""

    def judge(self, row: Row, response_a: str, response_b: str) -> Verdict:
        """Which response to `row`'s prompt is the better."""


class PairJudge(Protocol):
    """Says which of two responses is the better; it sees them in the order in which it is asked."""

    @property
    def name(self) -> str:
        """Of the judge in tables and records; another model or wording is another name."""

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """The probability, in [0, 1], that response a, which is shown first, is the better.

        NaN where the judge abstained: never a silent win for anybody.
        """


class RubricJudge(Protocol):
    """Grades single responses on a scale of its own."""

    @property
    def name(self) -> str:
        """As for `PairJudge`."""

    def grade(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """A grade each, higher is better; NaN where the judge abstained."""


class ChatClient(Protocol):
    """An endpoint that takes conversations and gives text, and perhaps some log-probs."""

    @property
    def name(self) -> str:
        """The model behind it."""

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        temperature: float,
        max_tokens: int,
        top_logprobs: int = 0,
        seed: int = 0,
    ) -> list[ChatReply | ChatFailure]:
        """One answer a conversation, in their order, or why there is none.

        Equal conversations have one answer; to draw another, ask with another seed.
        """


class TaskQueue(Protocol):
    """Hands every annotator the next task; a task is never handed out beyond its overlap."""

    def lease(self, annotator: str, *, project: str | None = None) -> Lease | None:
        """What this annotator should do next, or holds already; None when nothing is left."""

    def submit(self, lease: Lease, submission: Submission) -> Receipt:
        """Keep one judgement. The same key again gives the first receipt; another body under it
        raises ConflictError. Work that comes after its lease is kept, too.
        """

    def release(self, lease: Lease) -> None:
        """Give a task back undone."""


class TaskBoard(Protocol):
    """Where tasks are put up."""

    def add(self, tasks: Sequence[Task]) -> int:
        """Put tasks up; those that are there already stay as they are. Returns how many are new."""

    def progress(self, project: str) -> Mapping[str, int]:
        """Counts of tasks, slots, and slots that are free, leased and done."""


class PreferenceStore(Protocol):
    """A project: pairs that wait for judgements, and what stands, which becomes comparisons."""

    @property
    def project(self) -> str:
        """Whose tasks and judgements."""

    @property
    def location(self) -> str:
        """Which database, without a password."""

    def state(self) -> str:
        """A hash of what stands: it changes with every judgement, undo and erasure."""

    def put_up(self, tasks: Sequence[Task]) -> None:
        """Ask annotators; a task that is there already stays as it is."""

    def take(self, judgements: Sequence[Judgement]) -> None:
        """Keep what was said elsewhere, or by annotators made of code; the same again changes
        nothing.
        """

    def take_answers(self, answers: Sequence[Answered]) -> None:
        """Keep answers to tasks of any kind, as `take` keeps judgements of pairs."""

    def said(self) -> frozenset[tuple[str, str]]:
        """Task id and annotator of every standing judgement."""

    def unfilled(self, task_ids: Collection[str]) -> int:
        """Judgements that those tasks still wait for."""

    def export(
        self,
        *,
        aggregation: Aggregation,
        rule: ValueRule | None,
        seed: int,
        run: str,
        only: Collection[str] | None = None,
        calibrated: Mapping[str, float] | None = None,
    ) -> ExportedComparisons:
        """Aggregate what stands (of the tasks in `only`), and record it as an export for `run`.

        `calibrated` has probabilities by task that stand in place of what models said, where no
        person judged a pair; where one did, models are not heard.
        """


class TaskSource(Protocol):
    """A project's pairs, what people said of them, and a way to ask people."""

    def tasks(self) -> list[Task]:
        """All of them, in the order in which they were put up."""

    def by_people(self) -> Mapping[str, float]:
        """By task, the share of people's votes for the first response; a tie is half."""

    def ask_people(self, tasks: Sequence[Task]) -> None:
        """Put tasks up; where models have filled their places, there are more for people."""


class JudgedStore(PreferenceStore, TaskSource, Protocol):
    """A project whose pairs models judge, and people where it matters."""


class JudgedStoreFactory(Protocol):
    """As `PreferenceStoreFactory`."""

    def __call__(self, own: Path) -> JudgedStore:
        """`own` is the file of the step's own store, where the config names no project."""


class PreferenceStoreFactory(Protocol):
    """Opens the store that a config names."""

    def __call__(self, own: Path) -> PreferenceStore:
        """`own` is the file of the step's own store, where the config names no project."""
