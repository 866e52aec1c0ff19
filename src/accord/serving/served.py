"""A model that is loaded to be served, and what can be asked of it beside responses."""

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from accord.core.errors import DataError
from accord.core.interfaces import Reward
from accord.core.types import GenerationRequest, Message, Scores
from accord.corpora.encoding import ChatEncoder
from accord.models.adapters import parts_of, reading
from accord.models.loading import context_length, evaluating
from accord.models.logprobs import bare_model, float32_logits, hidden_states
from accord.serving.scheduler import Scheduler
from accord.serving.text import ByteReader, Reader, TokenReader
from accord.serving.tickets import Busy, Ticket, Watch
from accord.serving.vocabulary import is_byte_level, token_bytes

DEFAULT_MAX_TOKENS = 4096
"""Room is kept for as many tokens as an answer may get: the whole of a long context, kept for each
of two answers, is more memory than most machines have."""
_LOGITS = 2**22
"""Logits of a prompt that exist at one time."""
_MOST_SCORES = 64
"""Requests that wait for one reward model."""

_T = TypeVar("_T")

TokenReading = tuple[float, tuple[tuple[int, float], ...]]
"""A prompt token's log-prob in nats and the likeliest tokens at its place."""


@dataclass
class Served:
    """A policy under the name that clients ask for.

    `version` is a hash of the files that were loaded; `context` is in tokens. Several may run on
    one policy with one scheduler, each with its own `adapter` (None is the policy as it is);
    `watch` is told of this one's requests. `default_max_tokens` may an answer have where the client
    names no number.
    """

    name: str
    version: str
    policy: nn.Module
    encoder: ChatEncoder
    scheduler: Scheduler
    watch: Watch | None = None
    adapter: str | None = None
    default_max_tokens: int = DEFAULT_MAX_TOKENS
    created: int = field(default_factory=lambda: int(time.time()))

    @functools.cached_property
    def context(self) -> int | None:
        """Most tokens of a prompt with its response."""
        base: Any = bare_model(self.policy)
        return context_length(base.config)

    @functools.cached_property
    def vocabulary(self) -> int:
        """Number of token ids."""
        base: Any = bare_model(self.policy)
        return int(base.get_input_embeddings().weight.shape[0])

    @functools.cached_property
    def bytes_of(self) -> list[bytes | None]:
        """What each token writes; None for special ones."""
        return token_bytes(self.encoder.tokenizer, self.vocabulary)

    @functools.cached_property
    def longest_token(self) -> int:
        """Bytes of the longest token."""
        return max((len(b) for b in self.bytes_of if b), default=1)

    @functools.cached_property
    def _is_byte_level(self) -> bool:
        tokenizer = self.encoder.tokenizer
        return is_byte_level(tokenizer) and not tokenizer.clean_up_tokenization_spaces

    def reader(self) -> Reader:
        """Turns one response's tokens into text."""
        # The tokenizer's own way costs as much as sampling the token.
        return (
            ByteReader(self.bytes_of) if self._is_byte_level else TokenReader(self.encoder.decode)
        )

    @property
    def under_way(self) -> int:
        """Requests to it that wait or run."""
        return self.scheduler.under_way_of(self.adapter)

    def submit(
        self, requests: Sequence[GenerationRequest], *, has_place: bool = False
    ) -> list[Ticket]:
        """`Scheduler.submit`, to this one."""
        mine = [replace(request, adapter=self.adapter) for request in requests]
        return self.scheduler.submit(mine, watch=self.watch, has_place=has_place)

    def places(self, count: int) -> AbstractContextManager[None]:
        """`Scheduler.places`, for requests to this one."""
        return self.scheduler.places(count, self.adapter)

    async def read_prompt(self, ids: Sequence[int], top: int) -> list[TokenReading]:
        """Of every token of a prompt but the first."""
        return await self._call(lambda: _read_prompt(self.policy, ids, top))

    async def embed(self, ids: Sequence[int]) -> list[float]:
        """The mean of a text's last hidden states, of length 1."""
        return await self._call(lambda: _embed(self.policy, ids))

    async def _call(self, function: Callable[[], _T]) -> _T:
        def work() -> _T:
            with reading(parts_of(self.policy, [self.adapter])):
                return function()

        return await self.scheduler.call(work)


@dataclass
class ServedReward:
    """A reward model under the name that clients ask for. It has one thread of its own."""

    name: str
    version: str
    reward: Reward
    created: int = field(default_factory=lambda: int(time.time()))
    threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="accord-reward")
    )

    waiting: int = 0

    async def score(self, prompts: Sequence[Sequence[Message]], responses: Sequence[str]) -> Scores:
        """Of each response.

        Raises:
            Busy: too many wait.
        """
        if self.waiting >= _MOST_SCORES:
            raise Busy(f"{self.waiting} requests wait for {self.name} already; try again soon")
        nothing: list[tuple[int, ...]] = [()] * len(responses)
        work = functools.partial(
            self.reward.score,
            prompts,
            responses,
            prompt_ids=nothing,
            response_ids=nothing,
            columns=[{} for _ in responses],
        )
        self.waiting += 1
        try:
            # Who leaves before his turn is not scored.
            return await asyncio.get_running_loop().run_in_executor(self.threads, work)
        finally:
            self.waiting -= 1


@torch.no_grad()
def _read_prompt(policy: nn.Module, ids: Sequence[int], top: int) -> list[TokenReading]:
    base: Any = bare_model(policy)
    with evaluating(policy):
        states = _states(policy, ids)[:-1]
        readings: list[TokenReading] = []
        size = max(1, _LOGITS // base.get_input_embeddings().weight.shape[0])
        for start in range(0, len(states), size):
            piece = states[start : start + size]
            logits = float32_logits(base.get_output_embeddings(), base.config, piece)
            own = logits.log_softmax(dim=-1)
            targets = torch.tensor(ids[start + 1 : start + 1 + len(piece)], device=own.device)
            found = own.gather(-1, targets[:, None]).squeeze(-1).tolist()
            values, tokens = (t.tolist() for t in own.topk(top))
            readings += [
                (logprob, tuple(zip(tokens[i], values[i], strict=True)))
                for i, logprob in enumerate(found)
            ]
    return readings


@torch.no_grad()
def _embed(policy: nn.Module, ids: Sequence[int]) -> list[float]:
    with evaluating(policy):
        mean = _states(policy, ids).float().mean(dim=0)
    length = mean.norm()
    if not bool(length.isfinite()) or not length:
        raise DataError("the text's states are not finite, or all 0; the model cannot embed it")
    found: list[float] = (mean / length).tolist()
    return found


def _states(policy: nn.Module, ids: Sequence[int]) -> Tensor:
    device = next(policy.parameters()).device
    row = torch.tensor([list(ids)], device=device)
    return hidden_states(policy, row, torch.ones_like(row))[0]
