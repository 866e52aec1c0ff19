"""What a model weighs and what its forward keeps, from its config alone: no weight is read."""

from typing import Any, NamedTuple

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
)

from accord.models.adapter_files import base_of
from accord.models.decoder_layers import looks_runnable
from accord.models.loading import check_model_path, named_errors
from accord.models.training_kernels import training_library

FLOAT32 = 4
"""Bytes of a weight: every model that trains, and every frozen one beside it, is float32."""


class Footprint(NamedTuple):
    """Sizes of a model; counts of numbers, not bytes.

    `trunk` has the input embeddings; `head` is what an output embedding of its own adds to them, 0
    where it is tied. `lora_rank` are the weights of adapters of rank 1 on all linear layers.
    """

    trunk: int
    head: int
    lora_rank: int
    layers: int
    hidden: int
    inner: int
    heads: int
    groups: int  # of keys and values
    head_dim: int
    vocabulary: int
    context: int | None
    runs_layers: bool  # as `decoder_layers` runs them on a CPU, if it can

    @property
    def parameters(self) -> int:
        """Of the language model."""
        return self.trunk + self.head

    @property
    def embeddings(self) -> int:
        """Of input and output; where a model is sharded they are whole while it runs."""
        return self.vocabulary * self.hidden + self.head

    def kept_bytes(self, *, bf16: bool, device: str) -> int:
        """Bytes that a token's forward leaves for the backward pass, without checkpointing.

        A family's own layers: two norms keep their input, its normalised form and their output
        each (6 H); attention its queries, output and the output's transposed copy (3 A) with keys
        and values; a gated MLP four inner states. Under bfloat16 the residual stays float32, and
        products keep half-size copies. Layers that we run keep less: no normalised form, no
        transposed copy, one inner state fewer, and under bfloat16 nothing twice.
        """
        attention, shared = self.heads * self.head_dim, self.groups * self.head_dim
        products = 3 * attention + 2 * shared + 4 * self.inner
        last = 4 * self.hidden * FLOAT32
        if self.runs_layers and device == "cpu" and training_library() is not None:
            ours = 2 * self.hidden + products - attention - self.inner
            return (
                self.layers * (2 * self.hidden * FLOAT32 + ours * (2 if bf16 else FLOAT32)) + last
            )
        a_layer = 6 * self.hidden * FLOAT32 + products * FLOAT32
        if bf16:
            a_layer = (6 * self.hidden + attention + shared) * FLOAT32 + 2 * (
                products + 2 * self.hidden
            )
        return self.layers * a_layer + last

    def passing_bytes(self) -> int:
        """Bytes of a token while one layer is computed and nothing is kept."""
        return (4 * self.hidden + 3 * max(self.inner, self.heads * self.head_dim)) * FLOAT32

    def cache_bytes(self) -> int:
        """Bytes of a token's keys and values."""
        return 2 * self.layers * self.groups * self.head_dim * FLOAT32


def footprint(model_name_or_path: str) -> Footprint:
    """Sizes of the model that lies there.

    Raises:
        ModelError: there is none, or its config cannot be read.
    """
    check_model_path(model_name_or_path)
    with named_errors(model_name_or_path):
        config = AutoConfig.from_pretrained(base_of(model_name_or_path))
        # A classifier may be of a family that does not speak.
        speaks = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
        with torch.device("meta"):
            kind: Any = AutoModelForCausalLM if speaks else AutoModel
            model = kind.from_config(config)
        model.tie_weights()
        return _sizes(model)


def _sizes(model: Any) -> Footprint:
    text = model.config.get_text_config()
    hidden, heads = int(text.hidden_size), int(text.num_attention_heads)
    trunk = sum(p.numel() for p in model.base_model.parameters())
    linear = [m for m in model.base_model.modules() if isinstance(m, torch.nn.Linear)]
    context = getattr(text, "max_position_embeddings", None)
    return Footprint(
        trunk=trunk,
        head=sum(p.numel() for p in model.parameters()) - trunk,
        lora_rank=sum(m.in_features + m.out_features for m in linear),
        layers=int(text.num_hidden_layers),
        hidden=hidden,
        inner=int(getattr(text, "intermediate_size", None) or 4 * hidden),
        heads=heads,
        groups=int(getattr(text, "num_key_value_heads", None) or heads),
        head_dim=int(getattr(text, "head_dim", None) or hidden // heads),
        vocabulary=int(text.vocab_size),
        context=None if context is None else int(context),
        runs_layers=looks_runnable(model),
    )
