"""The draw of a token: from the full distribution, exact for rare tokens."""

import torch
from torch import Tensor
from torch.nn.functional import pad

_BLOCK = 128
"""Tokens whose probabilities are added up before the sampler looks at each."""


def draw(logits: Tensor, temperatures: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens by inverse CDF from the full distribution, and their log-probs.

    The CDF is summed in float64, first over blocks of tokens, then inside the block that is hit: in
    float32 the sum's rounding would be larger than rare tokens.

    Args:
        logits: (R, V) float32.
        temperatures: (R,); 0 takes the likeliest token and reports its log-prob at temperature 1.
        uniforms: (R,) float64 in [0, 1).

    Returns:
        (R,) ids and (R,) float32 log-probs in nats at the sampling temperature.
    """
    is_greedy = temperatures == 0
    logits = logits / torch.where(is_greedy, 1.0, temperatures)[:, None]
    probabilities = torch.softmax(logits, dim=-1)
    rows, size = logits.shape
    whole = pad(probabilities, (0, -size % _BLOCK)).view(rows, -1, _BLOCK)
    up_to = whole.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    total = up_to[:, -1:]
    # Below the total, whatever the rounding: a token of probability zero is never taken.
    target = torch.minimum(uniforms[:, None] * total, total.nextafter(torch.zeros_like(total)))
    block = torch.searchsorted(up_to, target, right=True).clamp(max=up_to.shape[1] - 1)
    inside = whole[torch.arange(rows, device=logits.device), block[:, 0]]
    inside = inside.cumsum(dim=-1, dtype=torch.float64)
    target = target - pad(up_to, (1, 0)).gather(-1, block)
    # The two sums round apart: what is left of the target may reach the block's own total.
    target = torch.minimum(target, inside[:, -1:].nextafter(torch.zeros_like(target)))
    offset = torch.searchsorted(inside, target, right=True)
    drawn = (block * _BLOCK + offset).clamp(max=size - 1)  # beyond only for NaN, which is refused
    if bool(is_greedy.any()):
        drawn = torch.where(is_greedy[:, None], logits.argmax(dim=-1, keepdim=True), drawn)
    # The largest probability is never 0, so the normaliser is finite where the logits are.
    normaliser = logits.amax(dim=-1, keepdim=True) - probabilities.amax(-1, keepdim=True).log()
    return drawn.squeeze(-1), (logits.gather(-1, drawn) - normaliser).squeeze(-1)
