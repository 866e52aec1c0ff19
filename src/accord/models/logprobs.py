"""Log-probs of given tokens, in float32, without holding (batch, length, vocabulary) logits."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from accord.core.errors import ModelError
from accord.models.linear import add_weight_gradient_, linear, product_dtype
from accord.models.logit_transform import LogitTransform
from accord.models.packing import packed_hidden_states, packs_rows
from accord.models.training_kernels import logits_gradient, read_logits

CHUNK_LOGITS = 2**23
"""Logits that exist at one time, whatever the vocabulary: 32 MiB, and twice that in backward."""


VOCABULARY_BLOCK = 8192
"""Rows of the head that backward multiplies at one time; sets memory, not results."""


class TokenLogprobs(NamedTuple):
    """(B, L) grids; entry l speaks of token l given tokens before it; 0 outside the mask.

    `entropies` is all zero unless they were asked for.
    """

    logprobs: Tensor
    entropies: Tensor


def hidden_states(
    model: nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    position_ids: Tensor | None = None,
    *,
    read: Tensor | None = None,
) -> Tensor:
    """(B, L, H) last hidden states of a causal LM's (or classifier's) trunk.

    Padding is not computed where the model allows that (`packing`); its cells mean nothing. With
    `read` (B, L) bool, true on real tokens only, it is the states (N, H) of these, and the last
    layer leaves out what the others alone would need (`decoder_layers`).
    """
    trunk: Any = bare_model(model)
    # A sharded model has a method of its own, around which it gathers its weights.
    run = getattr(trunk, "run_trunk", partial(run_trunk, trunk))
    states: Tensor = run(input_ids, attention_mask, position_ids, read)
    return states


def run_trunk(
    trunk: Any,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    position_ids: Tensor | None,
    read: Tensor | None,
) -> Tensor:
    """`hidden_states` of a bare model."""
    if attention_mask is not None and position_ids is None and packs_rows(trunk):
        return packed_hidden_states(trunk, input_ids, attention_mask, read)
    states: Tensor = trunk.base_model(
        input_ids=input_ids,
        attention_mask=attention_mask,
        position_ids=position_ids,
        use_cache=False,
    ).last_hidden_state
    return states if read is None else states[read]


def before(target_mask: Tensor) -> Tensor:
    """(B, L) the cells whose states say what the targets will be, in the same order.

    Raises:
        ValueError: a row's first token is a target: nothing precedes it.
    """
    if bool(target_mask[:, 0].any()):
        raise ValueError("the first token of a row cannot be a target: nothing precedes it")
    return target_mask.roll(-1, 1)


def bare_model(model: nn.Module) -> nn.Module:
    """The `transformers` model inside a peft wrapper (its layers carry the adapters)."""
    get_base_model = getattr(model, "get_base_model", None)
    return get_base_model() if callable(get_base_model) else model


def token_logprobs(
    model: nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    target_mask: Tensor,
    *,
    temperature: float = 1.0,
    position_ids: Tensor | None = None,
    with_entropy: bool = False,
) -> TokenLogprobs:
    """log pi(token l | tokens before l) and the entropy there, where `target_mask` is True.

    Args:
        model: a `transformers` causal LM, bare or under peft.
        input_ids: (B, L), right-padded.
        attention_mask: (B, L), 1 on real tokens (by length, never by id); None for packed rows.
        target_mask: (B, L) bool; column 0 must be False, since nothing precedes it.
        temperature: divides the logits, as the sampler did.
        position_ids: (B, L), for packed rows.
        with_entropy: also compute entropies, which reads all logits once more.

    Returns:
        Log-probs in nats and entropies in nats; both carry gradients when the model does.
    """
    read = before(target_mask)
    states = hidden_states(model, input_ids, attention_mask, position_ids, read=read)
    return logprobs_from_states(
        model, states, input_ids, target_mask, temperature=temperature, with_entropy=with_entropy
    )


def logprobs_from_states(
    model: nn.Module,
    states: Tensor,
    input_ids: Tensor,
    target_mask: Tensor,
    *,
    temperature: float = 1.0,
    with_entropy: bool = False,
) -> TokenLogprobs:
    """The same from the states (N, H) before the targets, which a caller already has."""
    base: Any = bare_model(model)
    head = base.get_output_embeddings()
    transform = LogitTransform.of(base.config, temperature)
    products = product_dtype(states.device.type)
    with torch.autocast(device_type=states.device.type, enabled=False):
        # Autocast is off: a bfloat16 head would cost up to 0.05 nats a token.
        logprobs, entropies = _Readings.apply(  # type: ignore[no-untyped-call]
            states.float(), *float32_head(head), input_ids[target_mask], transform, with_entropy,
            products,
        )  # fmt: skip
    return TokenLogprobs(on_grid(logprobs, target_mask), on_grid(entropies, target_mask))


def on_grid(values: Tensor, mask: Tensor) -> Tensor:
    """(B, L) zeros with the (N,) values where the mask is true."""
    return values.new_zeros(mask.shape).masked_scatter(mask, values)


class _Readings(torch.autograd.Function):
    """(N,) log-probs of targets and entropies from (N, H) states; logits exist in chunks only.

    Chunks but the last are computed again in backward, whose products are in the dtype `products`:
    what is read has float32's precision, gradients that of all others under autocast. For upstream
    gradients g of a log-prob and h of an entropy H:  dz = g (onehot - p) - h p (log p + H)
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        transform: LogitTransform,
        with_entropy: bool,
        products: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        totals, logprobs, entropies = torch.zeros(3, len(states), device=states.device).unbind()
        ctx.logits = None
        for piece in _chunks(len(states), weight.shape[0]):
            logits = transform.apply_(linear(states[piece], weight, bias))
            totals[piece], found = read_logits(logits, with_entropy=with_entropy)
            logprobs[piece] = logits.gather(-1, targets[piece, None]).squeeze(-1) - totals[piece]
            if found is not None:
                entropies[piece] = found
            ctx.logits = logits  # the last chunk's stay, and backward begins with them
        ctx.save_for_backward(states, weight, bias, targets, totals, entropies)
        ctx.transform, ctx.with_entropy, ctx.products = transform, with_entropy, products
        return logprobs, entropies

    @staticmethod
    def backward(ctx: Any, of_logprobs: Tensor, of_entropies: Tensor) -> Any:
        states, weight, bias, targets, totals, entropies = ctx.saved_tensors
        needs_states, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        of_states = torch.zeros_like(states) if needs_states else None
        of_weight = torch.zeros_like(weight) if needs_weight else None
        of_bias = torch.zeros_like(bias) if needs_bias else None
        factor, factors = weight.to(ctx.products), states.to(ctx.products)
        for piece in reversed(_chunks(len(states), weight.shape[0])):
            logits, ctx.logits = ctx.logits, None
            if logits is None:
                logits = ctx.transform.apply_(linear(states[piece], weight, bias))
            kept = None if ctx.transform.softcap is None else logits.clone()
            pull = (entropies[piece], of_entropies[piece]) if ctx.with_entropy else None
            gradient = logits_gradient(
                logits, targets[piece], totals[piece], of_logprobs[piece], pull, ctx.products
            )
            ctx.transform.backward_(gradient, kept)
            for block in _blocks(weight.shape[0]):
                if of_states is not None:
                    of_states[piece] += linear(gradient[:, block], factor[block].t())
                if of_weight is not None:
                    add_weight_gradient_(of_weight[block], gradient[:, block], factors[piece])
            if of_bias is not None:
                of_bias += gradient.sum(0, dtype=of_bias.dtype)
        return of_states, of_weight, of_bias, None, None, None, None


def _chunks(count: int, vocabulary: int) -> list[slice]:
    most = max(1, CHUNK_LOGITS // vocabulary)
    size = -(-count // -(-count // most)) if count else 1  # as few, of like size
    return [slice(start, start + size) for start in range(0, count, size)]


def _blocks(vocabulary: int) -> Iterator[slice]:
    """A product with the whole matrix would lay out, and give, another one of its size."""
    return (
        slice(start, start + VOCABULARY_BLOCK) for start in range(0, vocabulary, VOCABULARY_BLOCK)
    )


def float32_head(head: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weight (V, H) and bias (V,) of a language model's head."""
    weight: Any = head.weight
    bias: Any = getattr(head, "bias", None)
    return weight.float(), None if bias is None else bias.float()


def float32_logits(head: nn.Module, config: Any, states: Tensor) -> Tensor:
    """(N, V) logits of (N, H) states in float32, as the model's family transforms them."""
    with torch.autocast(device_type=states.device.type, enabled=False):
        logits = linear(states.float(), *float32_head(head))
    return LogitTransform.of(config).apply_(logits)


@torch.no_grad()
def check_logits(model: nn.Module, *, where: str) -> None:
    """Refuse a model whose own logits are not those that `token_logprobs` would compute.

    Args:
        model: a causal LM in evaluation mode.
        where: the model's name in the error.

    Raises:
        ModelError: hidden states and head do not give the logits, or there is no head.
    """
    base: Any = bare_model(model)
    head = base.get_output_embeddings()
    if head is None:
        raise ModelError(f"{where}: has no language-model head; expected a causal language model")
    ids = torch.tensor([[1, 2, 3]], device=head.weight.device) % head.weight.shape[0]
    logits = base(input_ids=ids, use_cache=False).logits.float()
    ours = float32_logits(head, base.config, hidden_states(model, ids, None))
    # Half precision rounds the model's own logits; an unknown transform changes them by far more.
    tolerance = 1e-3 if head.weight.dtype == torch.float32 else 3e-2
    gap, size = float((logits - ours).abs().max()), float(logits.abs().max())
    if not gap <= tolerance * max(size, 1.0):
        raise ModelError(
            f"{where}: the family {base.config.model_type!r} changes its logits in a way that is "
            f"not known here (they differ by {gap:.3g}); use another model, or add the transform "
            "to accord.models.logit_transform"
        )
