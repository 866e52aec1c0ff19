"""One token for every row, near the speed of the arithmetic: a decoder's step without its modules.

For a batch of a few tokens a model's own forward spends most of its time between the matrix
products. This step does the same arithmetic with the products that share an input joined, their
weights laid out once for the processor, and nothing built that a single token does not need. It
knows decoders of the Llama kind (Llama, Mistral, Qwen 2 and 3, SmolLM: pre-norm, rotary positions,
gated MLP), bare or with LoRA; it is used only where a probe gives the model's own hidden states.
"""

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, rms_norm, scaled_dot_product_attention, silu

from accord.engine.columns import new_cache
from accord.engine.spans import Span, spans
from accord.models.linear import Laid
from accord.models.logprobs import LogitTransform, bare_model, float32_head

_PROBE_ROWS, _PROBE_COLUMNS = 3, 7


class _Layer(NamedTuple):
    attention_norm: Tensor
    query_key_value: Laid
    query_norm: Tensor | None
    key_norm: Tensor | None
    output: Laid
    mlp_norm: Tensor
    gate_up: Laid
    down: Laid
    scaling: float


class Decoder:
    """The step of one policy; `refresh` reads its weights again when they have changed."""

    def __init__(self, policy: nn.Module) -> None:
        self._policy = policy
        base: Any = bare_model(policy)
        self._model = base.base_model
        self._config = self._model.config
        self._head_dim = int(self._model.layers[0].self_attn.head_dim)
        half = self._head_dim // 2
        self._sign = torch.cat([-torch.ones(half), torch.ones(half)])
        self._base = base
        self._head: Laid | None = None
        self._read: Any = None  # what `refresh` saw last
        self._layers: list[_Layer] = []

    @classmethod
    def of(cls, policy: nn.Module) -> Self | None:
        """A decoder whose step was seen to be the policy's own, or None."""
        if next(policy.parameters()).device.type != "cpu":
            return None
        try:
            decoder = cls(policy)
            if _has_windows(decoder._config):  # beyond what a short probe can see
                return None
            return decoder if decoder._agrees() else None
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
            return None  # another kind of model

    def refresh(self) -> None:
        """Lay the weights out again if an optimizer or `load_weights` wrote to them."""
        weights = [(p._version, p.data_ptr()) for p in self._policy.parameters()]
        modules: list[Any] = [m for m in self._policy.modules() if hasattr(m, "lora_A")]
        adapters = [
            (module.disable_adapters, module.merged, tuple(module.active_adapters))
            for module in modules
        ]
        state = (weights, adapters)
        if state != self._read:
            self._layers = [_read_layer(layer) for layer in self._model.layers]
            weight, bias = float32_head(self._base.get_output_embeddings())
            self._head = Laid(weight.detach(), bias)
            self._read = state

    def logits(self, hidden: Tensor) -> Tensor:
        """(R, V) float32 logits of (R, H) states, at temperature 1."""
        assert self._head is not None, "refresh comes first"
        return LogitTransform.of(self._base.config).apply_(self._head(hidden.float()))

    def spans(self, mask: Tensor, *, room: int) -> list[Span]:
        """What `step` reads of rows with this (R, T) mask, left-padded, while they are the same.

        Args:
            mask: 1 on the cache's real columns.
            room: columns that there will be at most.
        """
        heads = self._config.num_key_value_heads
        return spans(
            mask.argmax(dim=1).tolist(), room=room, column_bytes=2 * 4 * heads * self._head_dim
        )

    def step(self, tokens: Tensor, positions: Tensor, reads: list[Span], cache: Any) -> Tensor:
        """(R, H) hidden states after one more token a row, whose keys and values join the cache.

        Args:
            tokens: (R,) ids.
            positions: (R,).
            reads: of `spans`, with room for the new column.
            cache: of `Float32Columns`.
        """
        hidden = embedding(tokens, self._model.embed_tokens.weight)
        rows, size = hidden.shape
        eps = self._config.rms_norm_eps
        cos, sin = (t[:, 0, None] for t in self._model.rotary_emb(hidden, positions[:, None]))
        sin = sin * self._sign.to(sin.dtype)
        for index, layer in enumerate(self._layers):
            joint = layer.query_key_value(rms_norm(hidden, (size,), layer.attention_norm, eps))
            heads = joint.view(rows, -1, self._head_dim)
            groups = self._config.num_key_value_heads
            query, key, value = heads.tensor_split([-2 * groups, -groups], dim=1)
            if layer.query_norm is not None and layer.key_norm is not None:
                query = rms_norm(query, (self._head_dim,), layer.query_norm, eps)
                key = rms_norm(key, (self._head_dim,), layer.key_norm, eps)
            query, key = (self._rotate(t, cos, sin).float() for t in (query, key))
            keys, values = cache.update(key[:, :, None], value[:, :, None].float(), index)
            # Heads that share keys stand beside each other, as so many queries of one head.
            query = query.reshape(rows, groups, -1, self._head_dim)
            found = [_attend(query, keys, values, span, layer.scaling) for span in reads]
            attended = torch.cat(found).reshape(rows, -1).to(hidden.dtype)
            hidden = hidden + layer.output(attended)
            gate_up = layer.gate_up(rms_norm(hidden, (size,), layer.mlp_norm, eps))
            gate, up = gate_up.chunk(2, dim=-1)
            hidden = hidden + layer.down(silu(gate) * up)
        return rms_norm(hidden, (size,), self._model.norm.weight, eps)

    def _rotate(self, heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotary positions of (R, heads, D); `sin` carries the sign of the swapped halves."""
        return heads * cos + heads.roll(self._head_dim // 2, dims=-1) * sin

    @torch.no_grad()
    def _agrees(self) -> bool:
        """Whether the last of a few random tokens has the state that the policy gives it."""
        self.refresh()
        generator = torch.Generator().manual_seed(0)
        size = self._model.embed_tokens.weight.shape[0]
        ids = torch.randint(size, (_PROBE_ROWS, _PROBE_COLUMNS), generator=generator)
        mask = torch.ones_like(ids)
        mask[0, :2] = 0
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        arguments: dict[str, Any] = {"use_cache": True}
        whole = self._model(
            input_ids=ids, attention_mask=mask, position_ids=positions, **arguments
        ).last_hidden_state[:, -1]
        cache = new_cache(float32=True)
        self._model(
            input_ids=ids[:, :-1], attention_mask=mask[:, :-1], position_ids=positions[:, :-1],
            past_key_values=cache, **arguments,
        )  # fmt: skip
        reads = self.spans(mask, room=_PROBE_COLUMNS)
        found = self.step(ids[:, -1], positions[:, -1], reads, cache)
        tolerance = 1e-4 if whole.dtype == torch.float32 else 5e-2
        return bool((found - whole).abs().max() <= tolerance * whole.abs().max().clamp(min=1.0))


def _attend(query: Tensor, keys: Tensor, values: Tensor, span: Span, scaling: float) -> Tensor:
    """Attention of a span's rows to the columns that are theirs."""
    bias = None if span.bias is None else span.bias[..., : keys.shape[2] - span.start]
    read, weighed = (t[span.rows, :, span.start :] for t in (keys, values))
    return scaled_dot_product_attention(
        query[span.rows], read, weighed, attn_mask=bias, scale=scaling
    )


def _has_windows(config: Any) -> bool:
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return kinds != {"full_attention"} or getattr(config, "sliding_window", None) is not None


def _read_layer(layer: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    if not isinstance(mlp.act_fn, nn.SiLU) and type(mlp.act_fn).__name__ != "SiLUActivation":
        raise TypeError("the MLP's gate is not SiLU")
    # A layer that adds more norms than these two is of another kind, and the probe would show it.
    return _Layer(
        layer.input_layernorm.weight,
        _joined(attention.q_proj, attention.k_proj, attention.v_proj),
        getattr(getattr(attention, "q_norm", None), "weight", None),
        getattr(getattr(attention, "k_norm", None), "weight", None),
        _joined(attention.o_proj),
        layer.post_attention_layernorm.weight,
        _joined(mlp.gate_proj, mlp.up_proj),
        _joined(mlp.down_proj),
        float(attention.scaling),
    )


def _joined(*modules: Any) -> Laid:
    """The products of modules that read the same input, as one."""
    weights, biases = zip(*(_effective(module) for module in modules), strict=True)
    has_bias = any(bias is not None for bias in biases)
    bias = None
    if has_bias:
        zeros = [w.new_zeros(w.shape[0]) for w in weights]
        bias = torch.cat([z if b is None else b for b, z in zip(biases, zeros, strict=True)])
    return Laid(torch.cat(weights), bias)


def _effective(module: Any) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a linear layer with whatever LoRA adds to it now."""
    base = module.base_layer if hasattr(module, "base_layer") else module
    weight: Tensor = base.weight.detach()
    if base is not module and not module.merged and not module.disable_adapters:
        for name in module.active_adapters:
            if name in module.lora_A:
                weight = weight + module.get_delta_weight(name).detach()
    return weight, None if base.bias is None else base.bias.detach()
