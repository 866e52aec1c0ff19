"""What a served request may ask of the sampler."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

TokenFilter = Callable[[Sequence[int]], Sequence[int]]
"""From the response's ids so far to the ids that may come next; none at all ends the turn."""


@dataclass(frozen=True)
class Controls:
    """What a served request may ask of the sampler; training samples the full distribution.

    In this order: penalties and bias change the logits, `token_filter` leaves the ids that may
    come, the temperature divides, and `top_k`, `top_p` and `min_p` cut what is unlikely.

    `presence_penalty` and `frequency_penalty` are subtracted from logits of ids that the response
    has, once and as often as it has them; `repetition_penalty` divides positive logits and
    multiplies negative ones of ids that prompt or response have; `top_k` 0 keeps all; `min_p` is
    a share of the likeliest token's probability; `top_logprobs` tokens are told beside each.
    """

    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    top_logprobs: int = 0
    token_filter: TokenFilter | None = None
