"""A suffix after a request, and how likely it makes a given beginning of the reply."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from accord.core.errors import ConfigError
from accord.core.types import Message
from accord.corpora.encoding import ChatEncoder
from accord.models.logprobs import bare_model, float32_logits, hidden_states
from accord.rewards.batching import batches_by_length

_FILLERS = (" !", "!", " x", "x")


@dataclass(frozen=True)
class Frame:
    """Token ids around the suffix: the template and the request, the rest of the template, and the
    beginning of the reply that is wanted.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    target: tuple[int, ...]


class SuffixLoss:
    """-log p(target | request, suffix) in nats a token, and its gradient.

    Args:
        model: a causal LM on its device; it is put into evaluation mode by the caller.
        encoder: of its conversations.
        request: what the user asks before the suffix.
        target: how the reply is to begin.
        length: of the suffix in tokens.

    Attributes:
        queries: forward passes of one sequence so far; a gradient counts as three.

    Raises:
        ConfigError: the target is empty, or the tokenizer makes no suffix of that length.
    """

    def __init__(
        self,
        model: nn.Module,
        encoder: ChatEncoder,
        request: str,
        target: str,
        *,
        length: int = 12,
        tokens_per_batch: int = 8192,
    ) -> None:
        self.model: Any = bare_model(model)
        self.encoder = encoder
        self.request = request
        self.tokens_per_batch = tokens_per_batch
        self.queries = 0
        self.request_ids = encoder.encode_text(request)
        self.start = self._filler(length)
        self.frame = self._frame(target)
        self.device = next(self.model.parameters()).device

    def _filler(self, length: int) -> tuple[int, ...]:
        """A plain suffix of that many tokens."""
        for filler, count in itertools.product(_FILLERS, range(1, length + 1)):
            ids = self.encoder.encode_text(self.request + filler * count)
            own = ids[len(self.request_ids) :]
            if ids[: len(self.request_ids)] == self.request_ids and len(own) == length:
                return tuple(own)
        raise ConfigError(
            f"the tokenizer makes no suffix of {length} tokens after {self.request!r}"
        )

    def _frame(self, target: str) -> Frame:
        target_ids = self.encoder.encode_text(target)
        if not target_ids:
            raise ConfigError(f"{self.request!r}: the target is empty")
        bare = self.encoder.encode_prompt([Message(role="user", content="")])
        whole = self.encoder.encode_prompt([Message(role="user", content=self.request)])
        for place in range(len(bare) + 1):
            if whole == (*bare[:place], *self.request_ids, *bare[place:]):
                before = (*bare[:place], *self.request_ids)
                return Frame(before, bare[place:], tuple(target_ids))
        raise ConfigError("the chat template changes what the user says; no suffix can be searched")

    @cached_property
    def allowed(self) -> Tensor:
        """(V,) True for tokens of printable ASCII that are not special."""
        tokenizer = self.encoder.tokenizer
        special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
        size = int(self.model.get_input_embeddings().weight.shape[0])
        texts = tokenizer.batch_decode([[i] for i in range(min(size, len(tokenizer)))])
        mask = torch.zeros(size, dtype=torch.bool)
        for i, text in enumerate(texts):
            mask[i] = i not in special and bool(text) and text.isascii() and text.isprintable()
        return mask

    def text(self, suffix: Sequence[int]) -> str:
        """The request with the suffix, as a user would type it."""
        return self.request + self.encoder.decode(suffix)

    def is_faithful(self, suffix: Sequence[int]) -> bool:
        """Whether the text is encoded as these very tokens: else it is another suffix."""
        return self.encoder.encode_text(self.text(suffix)) == [*self.request_ids, *suffix]

    @torch.no_grad()
    def losses(self, suffixes: Tensor) -> Tensor:
        """(B,) float32 of (B, n) suffixes."""
        ids = self._rows(suffixes)
        self.queries += len(ids)
        found = torch.empty(len(ids))
        for rows in batches_by_length([ids.shape[1]] * len(ids), self.tokens_per_batch):
            states = hidden_states(self.model, ids[rows], None)
            found[rows] = self._loss(states).cpu()
        return found

    def gradient(self, suffix: Sequence[int]) -> Tensor:
        """(n, V): the loss's slope in the one-hot rows of the suffix's tokens.

        Through the embedding E it is dL/d(one-hot) = dL/d(embedding) E^T.
        """
        self.queries += 3
        ids = self._rows(torch.tensor([list(suffix)]))
        table = self.model.get_input_embeddings().weight.detach()
        embedded = table[ids].clone().requires_grad_()
        states = self.model.base_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        (slope,) = torch.autograd.grad(self._loss(states).sum(), embedded)
        first = len(self.frame.before)
        own: Tensor = slope[0, first : first + len(suffix)].float() @ table.float().T
        return own.cpu()

    def _rows(self, suffixes: Tensor) -> Tensor:
        """(B, L) ids of template, request, suffix, template, target."""
        count = len(suffixes)
        parts = [
            torch.tensor(ids).expand(count, -1)
            for ids in (self.frame.before, self.frame.after, self.frame.target)
        ]
        return torch.cat([parts[0], suffixes, parts[1], parts[2]], 1).to(self.device)

    def _loss(self, states: Tensor) -> Tensor:
        """(B,) mean over the target's tokens, of (B, L, H) states."""
        length = len(self.frame.target)
        head = self.model.get_output_embeddings()
        logits = float32_logits(head, self.model.config, states[:, -length - 1 : -1])
        wanted = torch.tensor(self.frame.target, device=logits.device).expand(len(states), -1)
        return -logits.log_softmax(-1).gather(-1, wanted[..., None]).squeeze(-1).mean(-1)
