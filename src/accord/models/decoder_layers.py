"""The layers of decoders of the Llama kind (Llama, Mistral, Qwen 2 and 3) on a packed row.

A model's own forward computes all of its last layer for every token, though most losses read few:
a reward its row's last token, a policy its responses. Here the last layer takes keys and values
from all tokens, and queries, output and MLP for those that are read. Every product is still a call
of the model's own module, so adapters are in it. A family is run this way only after
`packing.use_packing` has seen that it comes out as by the model's own forward.
"""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from accord.models.native_attention import Layout, turned_attention
from accord.models.packed_attention import Piece
from accord.models.training_kernels import add_norm, gated


class PackedRow(Protocol):
    """What `packing.Packed` is."""

    @property
    def input_ids(self) -> Tensor:
        """(1, T)"""

    @property
    def position_ids(self) -> Tensor:
        """(1, T)"""

    @property
    def pieces(self) -> list[Piece]:
        """Of T tokens in all."""


def may_run(model: nn.Module) -> bool:
    """Whether nothing that a short probe cannot see speaks against it."""
    config: Any = model.config
    return not has_windows(config.get_text_config())


def looks_runnable(model: nn.Module) -> bool:
    """Whether a model has the layers that are run here; a probe with its weights decides."""
    trunk: Any = model.base_model
    layers = getattr(trunk, "layers", None)
    parts = ("self_attn.q_proj", "input_layernorm", "post_attention_layernorm", "mlp.gate_proj")
    names = {name for name, _ in layers[0].named_modules()} if layers else set()
    return may_run(model) and names.issuperset(parts)


def has_windows(config: Any) -> bool:
    """Whether some layers look back a limited number of tokens."""
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return kinds != {"full_attention"} or getattr(config, "sliding_window", None) is not None


def runs_layers(model: nn.Module) -> bool:
    """Whether this model's layers are run here; those that checkpoint run by themselves."""
    if not getattr(model, "runs_layers", False):
        return False
    trunk: Any = model.base_model
    return not getattr(trunk.layers[0], "gradient_checkpointing", False)


def run_layers(model: nn.Module, is_ours: bool) -> None:
    """Have them run here, or by the model's own forward."""
    model.runs_layers = is_ours  # type: ignore[assignment]


def last_states(model: nn.Module, packed: PackedRow, read: Tensor | None) -> Tensor:
    """(R, H) last hidden states of the places `read` of a packed row; (T, H) where it is None.

    Raises:
        AttributeError, RuntimeError, TypeError: the model is of another kind.
    """
    trunk: Any = model.base_model
    hidden = trunk.embed_tokens(packed.input_ids[0])
    cos, sin = trunk.rotary_emb(hidden, position_ids=packed.position_ids)
    row = _Row(packed.pieces, (cos[0], sin[0]), Layout.of(packed.pieces, None), None)
    delta: Any = None
    for layer in trunk.layers:
        if layer is trunk.layers[-1] and read is not None:
            row = row._replace(layout=Layout.of(packed.pieces, read), read=read)
        hidden, delta = _after(layer, hidden, delta, row)
    with torch.autocast("cpu", enabled=False):  # what is read stays in float32
        states: Tensor = add_norm(trunk.norm, hidden, delta.to(hidden.dtype))[1]
    return states


class _Row(NamedTuple):
    """What every layer has to know of a packed row."""

    pieces: list[Piece]
    turn: tuple[Tensor, Tensor]  # cosines and sines (T, D)
    layout: Layout
    read: Tensor | None


def _after(layer: Any, hidden: Tensor, delta: Tensor | None, row: _Row) -> tuple[Tensor, Tensor]:
    """(R, H) states after a layer, as a sum of two, of (T, H) before it."""
    attention = layer.self_attn
    hidden, normed = add_norm(layer.input_layernorm, hidden, delta)
    key = _heads(attention, "k", normed)
    value = attention.v_proj(normed).unflatten(-1, (-1, attention.head_dim))
    if row.read is not None:
        hidden, normed = (t.index_select(0, row.read) for t in (hidden, normed))
    query = _heads(attention, "q", normed)
    attended = turned_attention(
        (query, key, value),
        row.turn,
        row.pieces,
        layout=row.layout,
        scaling=attention.scaling,
        dropout=attention.attention_dropout if attention.training else 0.0,
        read=row.read,
    )
    hidden, normed = add_norm(
        layer.post_attention_layernorm, hidden, attention.o_proj(attended.flatten(1))
    )
    return hidden, gated(layer.mlp, normed)


def _heads(attention: Any, which: str, normed: Tensor) -> Tensor:
    """(T, heads, D) queries or keys, normed where the family norms them."""
    projected = getattr(attention, f"{which}_proj")(normed)
    heads: Tensor = projected.unflatten(-1, (-1, attention.head_dim))
    norm = getattr(attention, f"{which}_norm", None)
    return heads if norm is None else norm(heads)
