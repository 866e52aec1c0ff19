"""Log-probs of given tokens, in float32, without holding (batch, length, vocabulary) logits."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from accord.core.errors import ModelError

CHUNK_TOKENS = 1024
"""Tokens whose logits exist at one time: 1024 x vocabulary x 4 bytes."""


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
) -> Tensor:
    """(B, L, H) last hidden states of a causal LM's (or classifier's) trunk."""
    trunk: Any = bare_model(model)
    outputs = trunk.base_model(
        input_ids=input_ids,
        attention_mask=attention_mask,
        position_ids=position_ids,
        use_cache=False,
    )
    return outputs.last_hidden_state  # type: ignore[no-any-return]


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
    hidden = hidden_states(model, input_ids, attention_mask, position_ids)
    return logprobs_from_hidden(
        model, hidden, input_ids, target_mask, temperature=temperature, with_entropy=with_entropy
    )


def logprobs_from_hidden(
    model: nn.Module,
    hidden: Tensor,
    input_ids: Tensor,
    target_mask: Tensor,
    *,
    temperature: float = 1.0,
    with_entropy: bool = False,
) -> TokenLogprobs:
    """The same from hidden states (B, L, H) that a caller already has (a shared value trunk)."""
    if bool(target_mask[:, 0].any()):
        raise ValueError("the first token of a row cannot be a target: nothing precedes it")
    base: Any = bare_model(model)
    head = base.get_output_embeddings()
    rows, columns = target_mask.nonzero(as_tuple=True)
    states = hidden[rows, columns - 1]
    targets = input_ids[rows, columns]
    parts = []
    for start in range(0, len(targets), CHUNK_TOKENS):
        piece = slice(start, start + CHUNK_TOKENS)
        arguments = (head, base.config, states[piece], targets[piece], temperature, with_entropy)
        if torch.is_grad_enabled():
            # The chunk's logits are recomputed in backward rather than kept.
            parts.append(checkpoint(_chunk, *arguments, use_reentrant=False))
        else:
            parts.append(_chunk(*arguments))
    grid = torch.zeros(target_mask.shape, dtype=torch.float32, device=hidden.device)
    if not parts:
        return TokenLogprobs(grid, grid.clone())
    logprobs = torch.cat([part[0] for part in parts])
    entropies = torch.cat([part[1] for part in parts])
    return TokenLogprobs(
        grid.index_put((rows, columns), logprobs), grid.index_put((rows, columns), entropies)
    )


def _chunk(
    head: nn.Module,
    config: Any,
    states: Tensor,
    targets: Tensor,
    temperature: float,
    with_entropy: bool,
) -> tuple[Tensor, Tensor]:
    logits = float32_logits(head, config, states) / temperature
    log_normaliser = torch.logsumexp(logits, dim=-1)
    logprobs = logits.gather(-1, targets[:, None]).squeeze(-1) - log_normaliser
    if not with_entropy:
        return logprobs, torch.zeros_like(logprobs)
    probabilities = torch.exp(logits - log_normaliser[:, None])
    entropies = log_normaliser - (probabilities * logits).sum(-1)
    return logprobs, entropies


def float32_logits(head: nn.Module, config: Any, states: Tensor) -> Tensor:
    """(N, V) logits of (N, H) states in float32, with the transforms that some families apply.

    Autocast is off here: a bfloat16 head would cost up to 0.05 nats a token.
    """
    with torch.autocast(device_type=states.device.type, enabled=False):
        weight: Any = head.weight
        bias = getattr(head, "bias", None)
        logits = nn.functional.linear(
            states.float(), weight.float(), None if bias is None else bias.float()
        )
    logits = logits * _multiplier(config)
    softcap = getattr(config, "final_logit_softcapping", None)  # Gemma 2 and 3
    if softcap:
        logits = softcap * torch.tanh(logits / softcap)
    return logits


def _multiplier(config: Any) -> float:
    """What a family multiplies its logits by."""
    family = str(getattr(config, "model_type", ""))
    if family.startswith("granite"):
        return 1 / float(config.logits_scaling)
    if family.startswith("cohere"):
        return float(config.logit_scale)
    if family.startswith("falcon_h1"):
        return float(config.lm_head_multiplier)
    return 1.0


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
            "to accord.models.logprobs"
        )
