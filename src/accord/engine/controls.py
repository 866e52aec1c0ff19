"""Logits of served requests, changed as each asks: penalties, bias, a filter, and what is cut."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from accord.core.controls import Controls
from accord.core.types import GenerationRequest
from accord.engine.draw import draw
from accord.engine.requests import CooperativeGeneration


class Drawn(NamedTuple):
    """(R,) token ids, (R,) log-probs of the model's own at temperature 1, and the likeliest."""

    tokens: Tensor
    logprobs: Tensor
    top: list[tuple[tuple[int, float], ...]]


def draw_controlled(
    logits: Tensor,
    generations: Sequence[CooperativeGeneration],
    uniforms: Tensor,
    *,
    end_of_turn_id: int,
) -> Drawn:
    """The next token of rows that all have controls.

    Args:
        logits: (R, V) float32, the model's own at temperature 1.
        generations: the R requests with their tokens so far.
        uniforms: (R,) float64 in [0, 1).
        end_of_turn_id: what is left where a filter allows nothing.
    """
    own = logits.log_softmax(dim=-1)
    changed = torch.stack(
        [
            changed_logits(row, g.request, [t.token_id for t in g.tokens], end_of_turn_id)
            for row, g in zip(logits, generations, strict=True)
        ]
    )
    temperatures = [float(g.request.params.temperature) for g in generations]
    tokens, _ = draw(changed, torch.tensor(temperatures, device=logits.device), uniforms)
    logprobs = own.gather(-1, tokens[:, None]).squeeze(-1)
    asked = [g.request.controls.top_logprobs if g.request.controls else 0 for g in generations]
    return Drawn(tokens, logprobs, _likeliest(own, asked))


def changed_logits(
    logits: Tensor, request: GenerationRequest, response: Sequence[int], end_of_turn_id: int
) -> Tensor:
    """(V,) logits of one row as its controls change them; -inf on what may not come."""
    controls = request.controls or Controls()
    changed = _penalised(logits.clone(), controls, request.prompt_ids, response)
    for token, bias in controls.logit_bias.items():
        changed[token] += bias
    if controls.token_filter is not None:
        allowed = list(controls.token_filter(response)) or [end_of_turn_id]
        kept = changed[allowed]
        changed = torch.full_like(changed, -torch.inf)
        changed[allowed] = kept
    if request.params.temperature == 0:
        return changed
    return _cut(changed, controls, float(request.params.temperature))


def _penalised(
    logits: Tensor, controls: Controls, prompt: Sequence[int], response: Sequence[int]
) -> Tensor:
    if controls.repetition_penalty != 1:
        seen = torch.tensor(sorted({*prompt, *response}), device=logits.device)
        found, by = logits[seen], controls.repetition_penalty
        logits[seen] = torch.where(found > 0, found / by, found * by)
    if response and (controls.presence_penalty or controls.frequency_penalty):
        counts = Counter(response)
        ids = torch.tensor(list(counts), device=logits.device)
        often = torch.tensor(list(counts.values()), device=logits.device, dtype=logits.dtype)
        logits[ids] -= controls.presence_penalty + controls.frequency_penalty * often
    return logits


def _cut(logits: Tensor, controls: Controls, temperature: float) -> Tensor:
    """Without the unlikely; the likeliest always stays."""
    if 0 < controls.top_k < len(logits):
        least = logits.topk(controls.top_k).values[-1]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if controls.min_p > 0:
        probabilities = (logits / temperature).softmax(dim=-1)
        is_rare = probabilities < controls.min_p * probabilities.max()
        logits = logits.masked_fill(is_rare, -torch.inf)
    if controls.top_p < 1:
        ordered, order = (logits / temperature).softmax(dim=-1).sort(descending=True, stable=True)
        # Those before a token hold top_p already: it is not needed.
        is_beyond = ordered.cumsum(dim=-1) - ordered >= controls.top_p
        logits = logits.index_fill(0, order[is_beyond], -torch.inf)
    return logits


def _likeliest(own: Tensor, asked: Sequence[int]) -> list[tuple[tuple[int, float], ...]]:
    most = min(max(asked), own.shape[-1])
    if most == 0:
        return [()] * len(asked)
    values, ids = (found.tolist() for found in own.topk(most))
    return [
        tuple(zip(row_ids[:n], row_values[:n], strict=True))
        for n, row_ids, row_values in zip(asked, ids, values, strict=True)
    ]
