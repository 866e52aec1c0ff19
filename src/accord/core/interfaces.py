"""Protocols: where two layers meet. Each has one contract test that all implementations pass."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from accord.core.types import (
    Aggregation,
    ExportedComparisons,
    GeneratedToken,
    GenerationRequest,
    GenerationResult,
    Judgement,
    Lease,
    Message,
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

    def submit(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
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
    ) -> ExportedComparisons:
        """Aggregate what stands (of the tasks in `only`), and record it as an export for `run`."""


class PreferenceStoreFactory(Protocol):
    """Opens the store that a config names."""

    def __call__(self, own: Path) -> PreferenceStore:
        """`own` is the file of the step's own store, where the config names no project."""
