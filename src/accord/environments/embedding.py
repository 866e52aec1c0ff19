"""Embeddings of texts: by a policy's own states, or by a model made for it."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from accord.core.errors import ConfigError
from accord.core.files import hash_path
from accord.corpora.encoding import ChatEncoder
from accord.models.loading import context_length, evaluating, load_policy, load_tokenizer
from accord.models.logprobs import hidden_states

Vectors = npt.NDArray[np.float32]
_TOKENS = 4096


class Embedder(Protocol):
    """Makes vectors of texts."""

    @property
    def name(self) -> str:
        """Equal names make equal vectors of equal texts."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """(N, D), of any length each."""


class PooledStates:
    """The mean of a causal LM's last hidden states over a text's tokens.

    Args:
        model: directory or hub name.
        device: where it computes.
        most_tokens: of a text; its end is left out beyond them.
    """

    def __init__(self, model: str, *, device: torch.device, most_tokens: int = 512) -> None:
        self.name = f"states of {_identity(model)}"
        self._encoder = ChatEncoder(load_tokenizer(model))
        self._model: Any = load_policy(model, device=device)
        context = context_length(self._model.config)
        self._most = most_tokens if context is None else min(context, most_tokens)
        self._device = device

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Vectors:
        """(N, D); an empty text is the state of an end of turn."""
        end = self._encoder.end_of_turn_id
        ids = [self._encoder.encode_text(text)[: self._most] or [end] for text in texts]
        found: list[Any] = [None] * len(ids)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        with evaluating(self._model):
            while order:
                size = max(1, _TOKENS // len(ids[order[-1]]))
                batch, order = order[-size:], order[:-size]
                for place, vector in zip(batch, self._pooled([ids[i] for i in batch]), strict=True):
                    found[place] = vector
        return np.stack(found) if found else np.zeros((0, 1), dtype=np.float32)

    def _pooled(self, rows: list[list[int]]) -> Vectors:
        width = max(map(len, rows))
        pad = self._encoder.pad_id
        ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
        lengths = torch.tensor([len(row) for row in rows])
        mask = (torch.arange(width) < lengths[:, None]).long().to(self._device)
        states = hidden_states(self._model, ids.to(self._device), mask).float()
        states = torch.where(mask[..., None].bool(), states, torch.zeros_like(states))
        pooled = states.sum(1) / mask.sum(1, keepdim=True)
        return pooled.cpu().numpy()


class SentenceModel:
    """A model of sentence-transformers, which is an extra (`pip install 'accord[embeddings]'`).

    Args:
        model: directory or hub name.
        device: where it computes.

    Raises:
        ConfigError: the extra is not installed, or cannot read the model.
    """

    def __init__(self, model: str, *, device: torch.device) -> None:
        try:
            package: Any = importlib.import_module("sentence_transformers")
        except ImportError as error:
            raise ConfigError(
                f"{model}: is of sentence-transformers, which cannot be imported ({error}): "
                "pip install 'accord[embeddings]'"
            ) from error
        self.name = f"sentences by {_identity(model)}"
        try:
            self._model: Any = package.SentenceTransformer(model, device=str(device))
        except Exception as error:  # whatever the package makes of a broken folder
            raise ConfigError(f"{model}: cannot be loaded ({error})") from error

    def embed(self, texts: Sequence[str]) -> Vectors:
        """(N, D); what a text has beyond the model's context is left out, as the package does."""
        found = self._model.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(found, dtype=np.float32)


def is_sentence_model(model: str) -> bool:
    """Whether a directory is laid out as sentence-transformers has it."""
    return (Path(model) / "modules.json").is_file()


def _identity(model: str) -> str:
    """By its files and not their place: a copy of a model makes the same vectors."""
    place = Path(model)
    return hash_path(place)[:12] if place.exists() else model
