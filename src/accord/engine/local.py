"""The local sampler: continuous batching over any `transformers` causal LM, in this process.

It is cooperative: asking a generation for its result (or its next token) runs the scheduler, which
advances all running rows by one token at a time. Finished rows leave the batch and queued requests
join it, so nobody waits for the longest row. The policy's own weights are used: after an optimizer
step the next token comes from the new weights.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from accord.core.errors import DataError
from accord.core.types import GeneratedToken, GenerationRequest, GenerationResult
from accord.corpora.encoding import ChatEncoder
from accord.models.loading import evaluating
from accord.models.logprobs import bare_model, float32_logits

Finish = Literal["stop", "length", "cancelled"]


class LocalGeneration:
    """One request and what it has received so far."""

    def __init__(self, engine: "LocalEngine", request: GenerationRequest) -> None:
        self._engine = engine
        self.request = request
        self.tokens: list[GeneratedToken] = []
        self.finish: Finish | None = None
        # One uniform a token, drawn now: a response does not depend on what shares its batch.
        self.uniforms = np.random.default_rng(request.seed).random(request.params.max_new_tokens)

    def result(self) -> GenerationResult:
        """Run the engine until this response is finished."""
        while self.finish is None:
            self._engine.advance()
        return GenerationResult(self.request.prompt_ids, tuple(self.tokens), self.finish)

    def stream(self) -> Iterator[GeneratedToken]:
        """Tokens as they come; the engine runs while they are asked for."""
        given = 0
        while True:
            while given < len(self.tokens):
                yield self.tokens[given]
                given += 1
            if self.finish is not None:
                return
            self._engine.advance()

    def cancel(self) -> None:
        """Stop; what was sampled so far is kept."""
        if self.finish is None:
            self.finish = "cancelled"


class LocalEngine:
    """An `Engine` over a policy's own module.

    Args:
        policy: a causal LM, bare or under peft, on any device and in any precision.
        tokenizer: its tokenizer.
        max_batch_size: rows that run together.
    """

    def __init__(self, policy: nn.Module, tokenizer: Any, *, max_batch_size: int = 128) -> None:
        self.policy = policy
        self.max_batch_size = max_batch_size
        self._end_of_turn_id = ChatEncoder(tokenizer).end_of_turn_id
        self._version = 0
        self._queue: deque[LocalGeneration] = deque()
        self._rows = _Rows.empty()

    def submit(self, requests: Sequence[GenerationRequest]) -> list[LocalGeneration]:
        """Queue requests; prompts of like length are admitted together.

        Raises:
            DataError: a prompt is empty, or does not fit the context with its response.
        """
        config: Any = bare_model(self.policy).config
        context = getattr(config.get_text_config(), "max_position_embeddings", None)
        for index, request in enumerate(requests):
            prompt, response = len(request.prompt_ids), request.params.max_new_tokens
            if prompt == 0 or response < 1:
                raise DataError(f"request {index}: needs a prompt and max_new_tokens of at least 1")
            if context is not None and prompt + response > context:
                raise DataError(
                    f"request {index}: a prompt of {prompt} tokens and a response of up to "
                    f"{response} do not fit the model's context of {context}"
                )
        generations = [LocalGeneration(self, request) for request in requests]
        self._queue.extend(sorted(generations, key=lambda g: len(g.request.prompt_ids)))
        return generations

    def load_weights(self, weights: Any, *, version: int) -> None:
        """Take weights and stamp `version` on every token from now on.

        Tensors that are the policy's own storage are not copied, so after an optimizer step this
        costs nothing. Rows that are running keep the cache that older weights made.
        """
        own = self.policy.state_dict()
        changed = {
            name: tensor
            for name, tensor in weights.items()
            if name not in own or own[name].data_ptr() != tensor.data_ptr()
        }
        if changed:
            self.policy.load_state_dict({**own, **changed})
        self._version = version

    def close(self) -> None:
        """Cancel what is queued or running and free the cache."""
        for generation in [*self._queue, *self._rows.generations]:
            generation.cancel()
        self._queue.clear()
        self._rows = _Rows.empty()

    @torch.no_grad()
    def advance(self) -> None:
        """Sample one token for every running row, after letting rows leave and join."""
        with evaluating(self.policy):
            self._reschedule()
            if self._rows.generations:
                hidden = self._rows.forward(self.policy)
                self._take_tokens(hidden)

    def _reschedule(self) -> None:
        """Let finished rows leave, and queued ones join, once that is worth moving the cache."""
        running = [i for i, g in enumerate(self._rows.generations) if g.finish is None]
        finished = len(self._rows.generations) - len(running)
        while self._queue and self._queue[0].finish is not None:
            self._queue.popleft()
        free = self.max_batch_size - len(running)
        is_due = 4 * finished >= len(self._rows.generations) or not running
        if finished and (is_due or (self._queue and 4 * free >= self.max_batch_size)):
            self._rows.keep(running)
        if self._queue and 4 * free >= self.max_batch_size:
            waiting = [g for g in self._queue if g.finish is None]
            joining, rest = waiting[:free], waiting[free:]
            self._queue = deque(rest)
            if joining:
                new = _Rows.prefill(self.policy, joining)
                self._take_tokens(new.first_hidden, new)
                self._rows.merge(new)

    def _take_tokens(self, hidden: Tensor, rows: "_Rows | None" = None) -> None:
        """Sample from (R, H) hidden states and hand every unfinished row its token."""
        rows = rows or self._rows
        base: Any = bare_model(self.policy)
        logits = float32_logits(base.get_output_embeddings(), base.config, hidden)
        tokens, logprobs = _sample(logits, rows.generations)
        rows.last = tokens
        for generation, token, logprob in zip(
            rows.generations, tokens.tolist(), logprobs.tolist(), strict=True
        ):
            if generation.finish is not None:
                continue
            generation.tokens.append(GeneratedToken(token, logprob, self._version))
            if token == self._end_of_turn_id:
                generation.finish = "stop"
            elif len(generation.tokens) == generation.request.params.max_new_tokens:
                generation.finish = "length"


def _sample(logits: Tensor, generations: Sequence[LocalGeneration]) -> tuple[Tensor, Tensor]:
    """(R,) tokens by inverse CDF, and their log-probs in nats at the sampling temperature.

    Temperature 0 takes the likeliest token and reports its log-prob at temperature 1.
    """
    temperatures = [g.request.params.temperature for g in generations]
    scale = torch.tensor([t or 1.0 for t in temperatures], device=logits.device)
    logprobs = torch.log_softmax(logits / scale[:, None], dim=-1)
    uniforms = torch.tensor(
        [g.uniforms[min(len(g.tokens), len(g.uniforms) - 1)] for g in generations],
        dtype=torch.float64,
        device=logits.device,
    )
    cumulative = logprobs.double().exp().cumsum(dim=-1)
    target = (uniforms * cumulative[:, -1])[:, None]
    sampled = torch.searchsorted(cumulative, target, right=True).squeeze(-1)
    sampled = sampled.clamp(max=logits.shape[-1] - 1)
    greedy = torch.tensor([t == 0 for t in temperatures], device=logits.device)
    tokens = torch.where(greedy, logits.argmax(dim=-1), sampled)
    return tokens, logprobs.gather(-1, tokens[:, None]).squeeze(-1)


class _Rows:
    """The running rows: left-padded, with one cache whose last column is everybody's last token."""

    def __init__(self, generations: list[LocalGeneration], cache: Any, mask: Tensor) -> None:
        self.generations = generations
        self.cache = cache
        self.mask = mask  # (R, T), 1 on real tokens of the cache
        self.last = torch.empty(0, dtype=torch.long)  # (R,) sampled, not yet in the cache
        self.first_hidden = torch.empty(0)

    @classmethod
    def empty(cls) -> "_Rows":
        return cls([], None, torch.empty(0, 0, dtype=torch.long))

    @classmethod
    def prefill(cls, policy: nn.Module, generations: list[LocalGeneration]) -> "_Rows":
        """Run the prompts; the responses' first tokens come from `first_hidden` (R, H)."""
        device = next(policy.parameters()).device
        lengths = [len(g.request.prompt_ids) for g in generations]
        ids = torch.zeros(len(generations), max(lengths), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, (generation, length) in enumerate(zip(generations, lengths, strict=True)):
            ids[row, -length:] = torch.tensor(generation.request.prompt_ids)
            mask[row, -length:] = 1
        rows = cls(generations, DynamicCache(), mask.to(device))
        positions = (rows.mask.cumsum(dim=1) - 1).clamp(min=0)
        rows.first_hidden = rows._run(policy, ids.to(device), positions)
        return rows

    def forward(self, policy: nn.Module) -> Tensor:
        """Run the last tokens; (R, H) hidden states of their successors."""
        positions = self.mask.sum(dim=1, keepdim=True)
        self.mask = nn.functional.pad(self.mask, (0, 1), value=1)
        return self._run(policy, self.last[:, None], positions)

    def _run(self, policy: nn.Module, ids: Tensor, positions: Tensor) -> Tensor:
        trunk: Any = bare_model(policy).base_model
        outputs = trunk(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        return outputs.last_hidden_state[:, -1]  # type: ignore[no-any-return]

    def keep(self, indices: list[int]) -> None:
        """Only these rows stay; padding that all of them share is dropped."""
        self.generations = [self.generations[i] for i in indices]
        if not indices:
            self.cache, self.mask = None, self.mask[:0, :0]
            return
        chosen = torch.tensor(indices, device=self.mask.device)
        self.mask, self.last = self.mask[chosen], self.last[chosen]
        start = int(self.mask.argmax(dim=1).min())
        self.mask = self.mask[:, start:]
        for layer in self.cache.layers:
            layer.keys = layer.keys[chosen, :, start:]
            layer.values = layer.values[chosen, :, start:]

    def merge(self, new: "_Rows") -> None:
        """Add rows; the shorter side is padded on the left."""
        if not self.generations:
            self.generations, self.cache, self.mask = new.generations, new.cache, new.mask
            self.last = new.last
            return
        width = max(self.mask.shape[1], new.mask.shape[1])

        def widen(states: Tensor, columns: int) -> Tensor:
            return nn.functional.pad(states, (0, 0, width - columns, 0))

        for mine, theirs in zip(self.cache.layers, new.cache.layers, strict=True):
            mine.keys, mine.values = (
                torch.cat([widen(a, self.mask.shape[1]), widen(b, new.mask.shape[1])])
                for a, b in ((mine.keys, theirs.keys), (mine.values, theirs.values))
            )
        masks = [nn.functional.pad(m, (width - m.shape[1], 0)) for m in (self.mask, new.mask)]
        self.mask = torch.cat(masks)
        self.last = torch.cat([self.last, new.last])
        self.generations = self.generations + new.generations
