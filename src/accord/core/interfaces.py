"""Protocols: where two layers meet. Each has one contract test that all implementations pass."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

from accord.core.types import (
    GeneratedToken,
    GenerationRequest,
    GenerationResult,
    Message,
    Row,
    Scores,
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
