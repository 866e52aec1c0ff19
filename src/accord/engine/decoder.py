"""One token for every row, near the speed of the arithmetic: a decoder's step without its modules.

For a batch of a few tokens a model's own forward spends most of its time between the matrix
products. This step does the same arithmetic with the products that share an input joined, their
weights laid out once for the processor, and nothing built that a single token does not need. It
knows decoders of the Llama kind (Llama, Mistral, Qwen 2 and 3, SmolLM: pre-norm, rotary positions,
gated MLP), bare or with one or several LoRA adapters; it is used only where a probe gives the
model's own hidden states.
"""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from accord.engine.columns import Columns, new_cache
from accord.engine.kernels import Heads, Kernels, NativeKernels, TorchKernels
from accord.engine.products import Product
from accord.engine.whole_step import DecoderLayer, WholeStep
from accord.models.adapters import adapters_of, parts_of, reading
from accord.models.decoder_layers import has_windows
from accord.models.few_rows import MOST_ROWS
from accord.models.linear import Laid, product_dtype
from accord.models.logit_transform import LogitTransform
from accord.models.logprobs import bare_model, float32_head
from accord.models.packing import Packed

_PROBE_ROWS, _PROBE_COLUMNS = 3, 7
_BY_POSITION = ("default", "linear", "llama3", "yarn")
"""Rotary embeddings that depend on a position alone, and not on what else is there."""
_LONG = 1024
"""Tokens of a prompt beyond which PyTorch's blocked attention is the faster one."""


class Decoder:
    """The step of one policy; `refresh` reads its weights again when they have changed.

    Of a float32 policy without adapters that trains under autocast it takes bfloat16's products, as
    training does; the sum over layers and the head's product stay in float32.

    Attributes:
        dtype: in which it computes and keeps keys and values.
    """

    def __init__(self, policy: nn.Module, kernels: Kernels, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._policy = policy
        self._kernels = kernels
        base: Any = bare_model(policy)
        self._model = base.base_model
        self._config = self._model.config
        self._base = base
        self._head: Laid | None = None
        self._last_norm = self._model.norm.weight
        self._layers: list[DecoderLayer] = []
        self._whole: WholeStep | None = None
        self._table = torch.empty(0, 1), torch.empty(0, 1)

    @classmethod
    def of(cls, policy: nn.Module) -> Self | None:
        """A decoder whose step was seen to be the policy's own, or None; made under the autocast
        that the policy trains under.
        """
        if next(policy.parameters()).device.type != "cpu":
            return None
        own = next(policy.parameters()).dtype
        native = []
        if {p.dtype for p in policy.parameters()} == {own}:
            # Adapters merged into a rounded weight would be rounded with it, as nobody trains them.
            is_bare = bare_model(policy) is policy
            mixed = product_dtype("cpu") if own == torch.float32 and is_bare else own
            native = [(NativeKernels.of(dtype), dtype) for dtype in dict.fromkeys((mixed, own))]
        for kernels, dtype in (*native, (TorchKernels(), own)):
            if kernels is None:
                continue
            try:
                decoder = cls(policy, kernels, dtype)
                if has_windows(decoder._config):  # beyond what a short probe can see
                    return None
                with torch.autocast("cpu", enabled=False):  # as it will be stepped
                    if decoder._agrees():
                        return decoder
            except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
                continue  # another kind of model
        return None

    def autocast(self) -> torch.autocast:
        """Under which the policy's own modules compute as this step does."""
        is_mixed = self.dtype != next(self._policy.parameters()).dtype
        return torch.autocast("cpu", torch.bfloat16, enabled=is_mixed)

    def refresh(self) -> None:
        """Lay the weights out again, after something wrote to them."""
        stream = self._kernels.stream_of(self.dtype)
        self._layers = [_read_layer(layer, self.dtype, stream) for layer in self._model.layers]
        self._last_norm = self._model.norm.weight.to(stream)
        eps = self._config.rms_norm_eps
        self._whole = WholeStep.of(self._layers, self._last_norm, eps, self._kernels)
        weight, bias = float32_head(self._base.get_output_embeddings())
        self._head = Laid(weight.detach(), bias)

    def draw(self, hidden: Tensor, temperatures: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """The next tokens of (R, H) states, and their log-probs; see `draw`."""
        return self._kernels.draw(self.logits(hidden), temperatures, uniforms)

    def logits(self, hidden: Tensor) -> Tensor:
        """(R, V) float32 logits of (R, H) states, at temperature 1."""
        assert self._head is not None, "refresh comes first"
        return LogitTransform.of(self._base.config).apply_(self._head(hidden.float()))

    def new_cache(self) -> Any:
        """An empty cache, as `step` wants it."""
        return new_cache(torch.float32 if self._kernels.stores_float32 else self.dtype)

    def reads(self, mask: Tensor, *, room: int) -> Any:
        """What `step` reads of rows with this (R, T) mask, left-padded, while they are the same.

        Args:
            mask: 1 on the cache's real columns.
            room: columns that there will be at most.
        """
        return self._kernels.reads(mask, self._layers[0].heads, room=room)

    def step(
        self,
        tokens: Tensor,
        positions: Tensor,
        reads: Any,
        cache: Any,
        parts: Tensor | None = None,
    ) -> Tensor:
        """(R, H) hidden states after one more token a row, whose keys and values join the cache.

        Args:
            tokens: (R,) ids.
            positions: (R,).
            reads: of `reads`, with room for the new column; or of a packed row's kind.
            cache: of `new_cache`.
            parts: (R, ranks) of the rows' adapters (`models.adapters`), where there are several.
        """
        kernels, eps = self._kernels, self._config.rms_norm_eps
        hidden = embedding(tokens, self._model.embed_tokens.weight)
        hidden = hidden.to(kernels.stream_of(self.dtype))
        turn = self._turn(positions)
        if self._whole is not None and len(hidden) <= MOST_ROWS and reads.ranges is None:
            return self._whole(hidden, turn, reads, cache)
        delta: Tensor | None = None
        for layer, columns in zip(self._layers, cache.layers, strict=True):
            hidden, normed = kernels.add_norm(hidden, delta, layer.attention_norm, eps)
            joint = layer.query_key_value(normed, parts)
            attended = kernels.attend(joint, turn, layer.heads, eps, columns, reads)
            delta = layer.output(attended, parts)
            hidden, normed = kernels.add_norm(hidden, delta, layer.mlp_norm, eps)
            delta = layer.down(kernels.gate(layer.gate_up(normed, parts)), parts)
        return kernels.add_norm(hidden, delta, self._last_norm, eps, is_last=True)[1]

    def _turn(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(R, D) float32 cosines and sines of (R,) positions, from a table if there can be one."""
        rotary: Any = self._model.rotary_emb
        if getattr(rotary, "rope_type", None) not in _BY_POSITION:
            return _turn_of(rotary, positions)
        longest = int(positions.max()) + 1
        if len(self._table[0]) < longest:
            self._table = _turn_of(rotary, torch.arange(max(256, 2 * longest)))
        cos, sin = self._table
        return cos[positions], sin[positions]

    def reads_prompts(self, packed: Packed) -> bool:
        """Whether `prefill` is the faster way; attention to thousands of tokens is not its own."""
        longest = max(packed.pieces[i].length for i in packed.run)
        return isinstance(self._kernels, NativeKernels) and longest <= _LONG

    def is_own(self, rows: int) -> bool:
        """Whether products of so many rows are our own, and not the library's."""
        few = self._layers[0].gate_up.few
        return few is not None and rows <= few.most_rows

    def prefill(self, packed: Packed, cache: Any, parts: Tensor | None = None) -> Tensor:
        """(T, H) hidden states of a packed row, whose keys and values join what it knows.

        Args:
            packed: T tokens that are run.
            cache: of `new_cache`, with the columns that the row knows.
            parts: (T, ranks) as of `step`.
        """
        assert isinstance(self._kernels, NativeKernels)
        tokens, positions = packed.input_ids[0], packed.position_ids[0]
        for layer in self._layers if not packed.known else ():
            heads = layer.heads
            cache.layers.append(Columns.empty(heads.groups, len(tokens), heads.dim, self.dtype))
        return self.step(tokens, positions, self._kernels.reads_of(packed), cache, parts)

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
        names = [None, *adapters_of(self._policy).ranks]
        parts = parts_of(self._policy, [names[row % len(names)] for row in range(_PROBE_ROWS)])
        cache = self.new_cache()
        with reading(parts[:, None]), self.autocast():
            whole = self._model(
                input_ids=ids, attention_mask=mask, position_ids=positions, **arguments
            ).last_hidden_state[:, -1]
            self._model(
                input_ids=ids[:, :-1], attention_mask=mask[:, :-1], position_ids=positions[:, :-1],
                past_key_values=cache, **arguments,
            )  # fmt: skip
        reads = self.reads(mask, room=_PROBE_COLUMNS)
        found = self.step(ids[:, -1], positions[:, -1], reads, cache, parts)
        tolerance = 1e-4 if self.dtype == torch.float32 else 5e-2
        return bool((found - whole).abs().max() <= tolerance * whole.abs().max().clamp(min=1.0))


def _turn_of(rotary: Any, positions: Tensor) -> tuple[Tensor, Tensor]:
    cos, sin = rotary(torch.empty(1), positions[None])
    return cos[0].contiguous(), sin[0].contiguous()


def _read_layer(layer: Any, dtype: torch.dtype, stream: torch.dtype) -> DecoderLayer:
    attention, mlp = layer.self_attn, layer.mlp
    if not isinstance(mlp.act_fn, nn.SiLU) and type(mlp.act_fn).__name__ != "SiLUActivation":
        raise TypeError("the MLP's gate is not SiLU")
    modules = [getattr(attention, name, None) for name in ("q_norm", "k_norm")]
    norms = [None if module is None else module.weight.to(dtype) for module in modules]
    heads = Heads(
        attention.k_proj.out_features // int(attention.head_dim),
        int(attention.head_dim),
        norms[0],
        norms[1],
        float(attention.scaling),
    )
    # A layer that adds more norms than these two is of another kind, and the probe would show it.
    return DecoderLayer(
        layer.input_layernorm.weight.to(stream),
        Product(attention.q_proj, attention.k_proj, attention.v_proj, dtype=dtype),
        heads,
        Product(attention.o_proj, dtype=dtype),
        layer.post_attention_layernorm.weight.to(stream),
        Product(mlp.gate_proj, mlp.up_proj, dtype=dtype),
        Product(mlp.down_proj, dtype=dtype),
    )
