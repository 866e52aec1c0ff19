"""How likely a local causal LM holds each of a few short answers, without sampling any.

The answers are teacher-forced: one forward pass reads the probabilities of all of them. Prompts are
packed without padding, and what they have in common (the instruction, the examples) is computed
once a batch.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from accord.core import processes
from accord.core.errors import ConfigError, ModelError
from accord.core.types import Message
from accord.corpora.encoding import ChatEncoder
from accord.judges.wording import MARK
from accord.models.loading import context_length, evaluating, load_policy, load_tokenizer
from accord.models.logprobs import bare_model, float32_logits, hidden_states
from accord.models.packing import pack_prompts, packed_states, packs_rows
from accord.rewards.batching import batches_by_length, padded

LocalModel = str | Path | tuple[nn.Module, Any]
"""A directory or hub name, or a model that is loaded already, with its tokenizer or encoder."""

_DECORATION = " \n\t([{*\"'`"
"""What may stand before an option in the token that says it."""


class OptionReader:
    """Reads log-probs of options, each summed over all single tokens that spell it.

    Attributes:
        name: of the model.
        encoder: of conversations.
        max_length: most tokens of a conversation.
    """

    def __init__(
        self,
        model: LocalModel,
        options: Sequence[str],
        *,
        device: torch.device,
        name: str | None = None,
        max_length: int | None = None,
        tokens_per_batch: int = 8192,
    ) -> None:
        """Load the model, or take one that is on `device` already.

        Args:
            model: a causal LM.
            options: single letters or digits, most likely.
            device: where to compute.
            name: of the model; None takes the directory's, or the class's.
            max_length: of a conversation in tokens; None takes the model's context.
            tokens_per_batch: tokens that are computed at one time; sets memory, not results.

        Raises:
            ModelError: no such model, or no token of it spells an option.
        """
        if isinstance(model, tuple):
            self.model, tokenizer = model
            self.name = name or type(self.model).__name__
        else:
            self.name = name or str(model)
            self.model, tokenizer = (
                load_policy(str(model), device=device),
                load_tokenizer(str(model)),
            )
        is_encoder = isinstance(tokenizer, ChatEncoder)
        self.encoder = tokenizer if is_encoder else ChatEncoder(tokenizer)
        self.device = device
        self.tokens_per_batch = tokens_per_batch
        base: Any = bare_model(self.model)
        context = context_length(base.config)
        limits = [n for n in (max_length, context) if n is not None]
        if not limits:
            raise ConfigError(f"{self.name}: the model names no context; give max_length")
        self.max_length = min(limits)
        self.spellings = [self._spellings(option) for option in options]

    def _spellings(self, option: str) -> tuple[int, ...]:
        found = _tokens_that_say(self.encoder, option)
        if not found:
            raise ModelError(f"{self.name}: no single token says {option!r}; use other options")
        return found

    def read(self, conversations: Sequence[Sequence[int]]) -> Tensor:
        """(N, options) float64 log-probs (nats) that the next token says each option.

        Args:
            conversations: token ids up to where the answer starts, none longer than `max_length`.
        """
        found = torch.zeros(len(conversations), len(self.spellings), dtype=torch.float64)
        if not conversations:
            return found
        shared = self._is_packed() * _common_start(conversations)
        own = [len(ids) - shared for ids in conversations]
        with torch.no_grad(), evaluating(self.model):
            for batch in processes.share(batches_by_length(own, self.tokens_per_batch)):
                found[batch] = self._read_batch([conversations[i] for i in batch])
        return processes.summed_tensor(found)

    def _is_packed(self) -> bool:
        return packs_rows(bare_model(self.model))

    def _read_batch(self, rows: Sequence[Sequence[int]]) -> Tensor:
        last = torch.tensor([len(row) - 1 for row in rows])
        base: Any = bare_model(self.model)
        if self._is_packed():
            packed = pack_prompts(rows, levels=2)  # the words around all, a pair's prompt
            states = packed_states(base, packed)[packed.place[torch.arange(len(rows)), last]]
        else:
            ids, mask = padded(rows, pad_id=self.encoder.pad_id, device=self.device)
            states = hidden_states(self.model, ids, mask)[torch.arange(len(rows)), last]
        logits = float32_logits(base.get_output_embeddings(), base.config, states)
        logprobs = torch.log_softmax(logits.double(), dim=-1).cpu()
        return torch.stack([logprobs[:, list(ids)].logsumexp(-1) for ids in self.spellings], dim=-1)

    def fitted(
        self, messages: Callable[[Sequence[str]], Sequence[Message]], texts: Sequence[str]
    ) -> tuple[tuple[int, ...], bool]:
        """Ids of `messages(texts)`, and whether texts had to be shortened to fit.

        The longest texts lose their middle, down to the same number of tokens, and say so.

        Raises:
            ConfigError: the words around the texts alone fill the model's context.
        """
        ids = self.encoder.encode_prompt(messages(texts))
        if len(ids) <= self.max_length:
            return ids, False
        parts = [self.encoder.encode_text(text) for text in texts]
        around = len(self.encoder.encode_prompt(messages([""] * len(texts))))
        mark = len(self.encoder.encode_text(MARK))
        room = self.max_length - around
        while (share := _share([len(part) for part in parts], room)) > mark:
            cut = [
                text if len(part) <= share else self._without_middle(part, share - mark)
                for text, part in zip(texts, parts, strict=True)
            ]
            ids = self.encoder.encode_prompt(messages(cut))
            if len(ids) <= self.max_length:
                return ids, True
            room -= len(ids) - self.max_length  # texts cut elsewhere need not encode as before
        raise ConfigError(
            f"{self.name}: the words around a pair need {around} of {self.max_length} tokens, "
            "which leaves nothing for what is judged; shorten the wording, or use a larger context"
        )

    def _without_middle(self, ids: Sequence[int], kept: int) -> str:
        head = kept - kept // 2
        tail = ids[len(ids) - kept // 2 :]
        return f"{self.encoder.decode(ids[:head])}{MARK}{self.encoder.decode(tail)}"


@functools.lru_cache(maxsize=64)
def _tokens_that_say(encoder: ChatEncoder, option: str) -> tuple[int, ...]:
    """All ids that spell an option; a search through the vocabulary, which many judges share."""
    special = set(encoder.tokenizer.all_special_ids)
    decode = encoder.tokenizer.decode
    return tuple(
        token
        for token in range(len(encoder.tokenizer))
        if token not in special and decode([token]).lstrip(_DECORATION).rstrip() == option
    )


def _common_start(rows: Sequence[Sequence[int]]) -> int:
    """Tokens with which all rows begin; the last of each row is never one of them."""
    shortest, first = min(map(len, rows)) - 1, rows[0]
    same = itertools.takewhile(
        lambda place: all(row[place] == first[place] for row in rows), range(shortest)
    )
    return sum(1 for _ in same)


def _share(lengths: Sequence[int], room: int) -> int:
    """The largest s for which the sum of min(length, s) is at most `room`; 0 if there is none."""
    left = max(0, room)
    for index, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - index)
        if length > share:
            return share
        left -= length
    return max(lengths)
