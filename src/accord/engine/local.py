"""The local sampler: continuous batching over any `transformers` causal LM, in this process.

It is cooperative (see `requests`): asking a generation for its result or its next token advances
all running rows by one token at a time. Finished rows leave the batch and queued requests join it,
so nobody waits for the longest row. The policy's own weights are used: after an optimizer step the
next token comes from the new weights.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from accord.core.errors import ModelError
from accord.core.types import GeneratedToken, GenerationRequest
from accord.corpora.encoding import ChatEncoder
from accord.engine.admission import Admission
from accord.engine.controls import draw_controlled
from accord.engine.decoder import Decoder
from accord.engine.draw import draw
from accord.engine.prefixes import Prefixes
from accord.engine.requests import CooperativeGeneration, refuse_unfit
from accord.engine.rows import Rows
from accord.engine.weights import WeightsWatch, take_weights
from accord.models.adapters import adapters_of
from accord.models.loading import context_length, evaluating
from accord.models.logprobs import bare_model, float32_logits

PREFILL_TOKENS = 16_384
"""Prompt tokens, padding included, that are run at one time; bounds the memory of activations."""


class LocalEngine:
    """An `Engine` over a policy's own module.

    A response depends on its request and the weights alone: not on what shares its batch, but for
    draws that fall within float rounding of the border between two tokens. Log-probs are
    float32, by the trainer's own head code. Temperature 0 takes the likeliest token and reports
    its log-prob at temperature 1. Requests with `controls` cost a second product with the head.
    Built under autocast over a float32 policy on a CPU, it multiplies in bfloat16, as training does
    there, where it knows the policy's layers (`engine.decoder`).

    Args:
        policy: a causal LM, bare or under peft, on any device, in any precision and mode; dropout
            is off while it samples, and its mode is the same afterwards.
        tokenizer: its tokenizer, or a `ChatEncoder` over it.
        max_batch_size: rows that run together, at least 1.
        prefix_cache_mb: MiB of keys and values that are kept of prompts and responses, for prompts
            that begin with the same tokens; other weights forget them. 0 keeps none.
        cache_mb: MiB for keys and values of rows that run, counted by the most tokens they may get;
            who would not fit waits, and a row alone runs whatever it takes. None: no limit.
        is_alone: nobody but this engine touches the policy, which is not looked at before each
            step for other weights and its mode.
        most_held_up: steps after which who waits takes whatever room there is; None: he joins with
            others once a quarter is free, which gives the most tokens a second.
    """

    def __init__(
        self,
        policy: nn.Module,
        tokenizer: Any,
        *,
        max_batch_size: int = 128,
        prefix_cache_mb: int = 0,
        cache_mb: int | None = None,
        is_alone: bool = False,
        most_held_up: int | None = None,
    ) -> None:
        if prefix_cache_mb < 0:
            raise ValueError(f"prefix_cache_mb must be 0 (none) or more, got {prefix_cache_mb}")
        encoder = tokenizer if isinstance(tokenizer, ChatEncoder) else ChatEncoder(tokenizer)
        self.policy = policy
        self._admission = Admission(
            policy, max_batch_size=max_batch_size, cache_mb=cache_mb, most_held_up=most_held_up
        )
        self._end_of_turn_id = encoder.end_of_turn_id
        self._version = 0
        self._queue: list[CooperativeGeneration] = []
        self._rows: Rows | None = None
        self._prefixes = Prefixes(prefix_cache_mb * 2**20) if prefix_cache_mb else None
        self._is_closed = False
        self._is_alone = is_alone
        if is_alone:
            policy.eval()
        with evaluating(policy):
            self._decoder = Decoder.of(policy)
        uses_old_weights = self._decoder is not None or self._prefixes is not None
        self._weights = WeightsWatch(policy) if uses_old_weights else None

    def submit(self, requests: Sequence[GenerationRequest]) -> list[CooperativeGeneration]:
        """Queue requests; prompts of like length are admitted together.

        Raises:
            DataError: a prompt is empty, holds an id that is no token, or does not fit the context
                with its response; or a parameter is out of range. Nothing was queued then.
            RuntimeError: the engine is closed.
        """
        if self._is_closed:
            raise RuntimeError("this engine is closed; build a new one")
        base: Any = bare_model(self.policy)
        context = context_length(base.config)
        vocabulary = base.get_input_embeddings().weight.shape[0]
        refuse_unfit(
            requests,
            context=context,
            vocabulary=vocabulary,
            adapters=adapters_of(self.policy).ranks,
        )
        generations = [CooperativeGeneration(r, self._run_until) for r in requests]
        self._queue += sorted(generations, key=lambda g: len(g.request.prompt_ids))
        return generations

    def load_weights(self, weights: Mapping[str, Tensor], *, version: int) -> None:
        """Take weights and stamp `version` on every token from now on.

        Tensors that are the policy's own memory are not copied, so after an optimizer step
        `load_weights(policy.state_dict(), version=n)` costs next to nothing. Rows that are running
        keep the keys and values that older weights made.

        Raises:
            ModelError: names or shapes are not the policy's; its weights are as before.
        """
        take_weights(self.policy, weights)
        self._version = version
        if self._is_alone:
            self._notice_weights()

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more requests."""
        return self._is_closed

    def close(self) -> None:
        """Cancel what is queued or running, free the cache, and take no more requests."""
        self._is_closed = True
        self._cancel_all()
        self._prefixes = None

    def _cancel_all(self) -> None:
        running = self._rows.generations if self._rows else []
        for generation in [*self._queue, *running]:
            generation.cancel()
        self._queue, self._rows = [], None

    @torch.no_grad()
    def _run_until(self, is_done: Callable[[], bool]) -> None:
        """Run the scheduler, a token at a time, until the claim holds."""
        if is_done():
            return
        if not self._is_alone:
            self._notice_weights()
        with contextlib.nullcontext() if self._is_alone else evaluating(self.policy):
            try:
                while not is_done():
                    self._advance()
            except BaseException:
                # Stopped between two layers, the cache's layers differ: nothing can go on from it.
                self._cancel_all()
                raise

    def _notice_weights(self) -> None:
        """Drop whatever was made of weights that have changed since."""
        if self._weights is None or not self._weights.have_changed():
            return
        if self._decoder is not None:
            self._decoder.refresh()
        if self._prefixes is not None:
            self._prefixes.clear()
        if self._rows is not None:
            self._rows.is_stale = True

    def _advance(self) -> None:
        """Let rows leave and join, or else sample one token for every running row."""
        if self._reschedule() or self._rows is None:
            return
        self._take_tokens(self._rows, self._rows.step(self.policy, self._decoder))

    def _reschedule(self) -> bool:
        """Move rows once it is worth moving the cache: when a quarter has finished or is free.

        Returns:
            Whether requests joined; they have received their first token.
        """
        rows = self._rows.generations if self._rows else []
        running = [i for i, generation in enumerate(rows) if generation.finish is None]
        finished = len(rows) - len(running)
        self._queue = [generation for generation in self._queue if generation.finish is None]
        joining = self._admission.count([rows[i] for i in running], self._queue)
        is_joining = joining > 0
        if self._rows and finished and (is_joining or 4 * finished >= len(rows)):
            if self._prefixes is not None:
                gone = [i for i, generation in enumerate(rows) if generation.finish is not None]
                self._rows.remember(self._prefixes, gone)
            if running:
                self._rows.keep(running)
            else:
                self._rows = None
        if is_joining:
            self._admit(joining)
        return is_joining

    def _admit(self, count: int) -> None:
        """Prefill so many queued requests and add them to the running rows."""
        for group in _prefill_groups(self._queue[:count]):
            joining, hidden = Rows.prefill(
                self.policy, group, decoder=self._decoder, prefixes=self._prefixes
            )
            self._take_tokens(joining, hidden)
            if self._rows is None:
                self._rows = joining
            else:
                self._rows.merge(joining)
            del self._queue[: len(group)]

    def _take_tokens(self, rows: Rows, hidden: Tensor) -> None:
        """Sample from (R, H) hidden states and hand every unfinished row its token."""
        temperatures, uniforms = rows.temperatures, rows.take_uniforms()
        if self._decoder is not None:
            rows.last, logprobs = self._decoder.draw(hidden, temperatures, uniforms)
        else:
            rows.last, logprobs = draw(self._logits(hidden), temperatures, uniforms)
        top = self._control(rows, hidden, logprobs, uniforms) if rows.controlled else {}
        # The only wait for the device in a step; token ids are exact in float64.
        tokens, values = torch.stack([rows.last.double(), logprobs.double()]).tolist()
        rows_drawn = zip(rows.generations, tokens, values, strict=True)
        for place, (generation, token, logprob) in enumerate(rows_drawn):
            if generation.finish is not None:
                continue
            if not math.isfinite(logprob):
                raise ModelError(
                    "the policy's logits are not finite, so nothing can be sampled; expected "
                    f"weights without NaN or infinity (weights of version {self._version})"
                )
            taken = GeneratedToken(int(token), logprob, self._version, top.get(place, ()))
            generation.take(taken, end_of_turn_id=self._end_of_turn_id)

    def _control(
        self, rows: Rows, hidden: Tensor, logprobs: Tensor, uniforms: Tensor
    ) -> dict[int, tuple[tuple[int, float], ...]]:
        """Draw rows with controls again, in place; the likeliest tokens that they asked for."""
        mine = [i for i in rows.controlled if rows.generations[i].finish is None]
        if not mine:
            return {}
        places = torch.tensor(mine, device=hidden.device)
        drawn = draw_controlled(
            self._logits(hidden[places]),
            [rows.generations[i] for i in mine],
            uniforms[places],
            end_of_turn_id=self._end_of_turn_id,
        )
        rows.last[places], logprobs[places] = drawn.tokens, drawn.logprobs
        return dict(zip(mine, drawn.top, strict=True))

    def _logits(self, hidden: Tensor) -> Tensor:
        """(R, V) float32 logits of (R, H) states, at temperature 1."""
        if self._decoder is not None:
            return self._decoder.logits(hidden)
        base: Any = bare_model(self.policy)
        return float32_logits(base.get_output_embeddings(), base.config, hidden)


def _prefill_groups(
    generations: Sequence[CooperativeGeneration],
) -> Iterator[list[CooperativeGeneration]]:
    """Neighbours that fit PREFILL_TOKENS together, or a single one that does not."""
    group: list[CooperativeGeneration] = []
    width = 0
    for generation in generations:
        wider = max(width, len(generation.request.prompt_ids))
        if group and wider * (len(group) + 1) > PREFILL_TOKENS:
            yield group
            group, wider = [], len(generation.request.prompt_ids)
        group.append(generation)
        width = wider
    if group:
        yield group
