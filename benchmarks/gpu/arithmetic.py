"""Arithmetic that a step cannot do without: its FLOPs, and the bytes it reads.

Model FLOPs, as MFU is defined (Chowdhery et al. 2022, arXiv:2204.02311, appendix B): two for each
multiply-add, a backward is two forwards, attention without regard to its causal half; what an
implementation computes twice does not count.
"""

from accord.models.footprint import Footprint

BACKWARD_AND_FORWARD = 3
_PUBLISHED = {
    # dense bfloat16 FLOP/s and bytes/s of the memory, from NVIDIA's data sheets
    "A100-SXM4-80GB": (312e12, 2.039e12),
    "H100 80GB HBM3": (989e12, 3.35e12),
    "H200": (989e12, 4.8e12),
}


def published_limits(device: str) -> tuple[float, float] | None:
    """FLOP/s and bytes/s of a device by its name, where a data sheet is known."""
    return next((limits for name, limits in _PUBLISHED.items() if name in device), None)


def trunk_flops(model: Footprint, length: float) -> float:
    """FLOPs of one token's forward through the layers, in a row of `length` tokens.

    Two for each weight but the embeddings, which are looked up; and for each layer the products of
    queries with keys and of probabilities with values, 2 x 2 x length x heads x head size.
    """
    weights = model.trunk - model.vocabulary * model.hidden
    attention = 4 * length * model.layers * model.heads * model.head_dim
    return 2 * weights + attention


def head_flops(model: Footprint) -> float:
    """FLOPs of one token's logits."""
    return 2 * model.vocabulary * model.hidden


def training_flops(model: Footprint, *, tokens: float, targets: float, length: float) -> float:
    """FLOPs of a training step over `tokens`, of which `targets` are predicted."""
    forward = tokens * trunk_flops(model, length) + targets * head_flops(model)
    return BACKWARD_AND_FORWARD * forward


def ppo_update_flops(
    policy: Footprint,
    value: Footprint | None,
    *,
    tokens: float,
    responses: float,
    length: float,
    epochs: int,
) -> float:
    """FLOPs of an update's steps: the policy and a value model of its own, `epochs` times.

    Sampling and the passes that prepare the batch are not in it.

    Args:
        tokens: of all rollouts, prompts included.
        responses: tokens that the policy chose.
        length: mean tokens of a rollout.
    """
    flops = training_flops(policy, tokens=tokens, targets=responses, length=length)
    if value is not None:
        flops += training_flops(value, tokens=tokens, targets=0, length=length)
    return epochs * flops


def sampling_bytes(model: Footprint, *, rows: int, context: float, weight_bytes: int) -> float:
    """Bytes that one token a row cannot do without: every weight that is multiplied, once; and the
    keys and values of `context` tokens a row.

    Args:
        context: mean tokens that a row has behind it.
        weight_bytes: of one weight; keys and values are of the same type.
    """
    looked_up = model.vocabulary * model.hidden
    multiplied = model.trunk - looked_up + model.vocabulary * model.hidden
    cached = 2 * model.layers * model.groups * model.head_dim
    return weight_bytes * (multiplied + rows * context * cached)
