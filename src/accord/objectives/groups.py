"""Advantages of responses from the scores of other responses, without a value."""

import torch
from torch import Tensor

_EPS = 1e-4


@torch.no_grad()
def group_advantages(scores: Tensor, *, group_size: int, kind: str) -> Tensor:
    """How much better a response is than the others to its prompt.

    For the G scores of a prompt, with their mean m and standard deviation d (over G - 1):

        scaled          (r - m) / (d + 1e-4)    Shao et al. 2024, arXiv:2402.03300, eq. 4 (GRPO)
        centred         r - m                   Liu et al. 2025, arXiv:2503.20783 (Dr. GRPO)
        leave_one_out   r - mean of the others  Ahmadian et al. 2024, arXiv:2402.14740, eq. 6 (RLOO)

    Args:
        scores: (B,) the responses to a prompt beside each other.
        group_size: G, at least 2; B is a multiple of it.
        kind: one of the names above.

    Returns:
        (B,); 0 where all scores of a group are equal.

    Raises:
        ValueError: B is no multiple of G, G is below 2, or the name is unknown.
    """
    if group_size < 2 or scores.ndim != 1 or len(scores) % group_size:
        raise ValueError(
            f"expected (B,) scores in groups of at least 2, got {tuple(scores.shape)} in groups "
            f"of {group_size}"
        )
    groups = scores.view(-1, group_size)
    centred = groups - groups.mean(dim=1, keepdim=True)
    if kind == "scaled":
        # Equal scores differ from their mean by rounding, which must not be blown up.
        is_equal = groups.amax(dim=1, keepdim=True) == groups.amin(dim=1, keepdim=True)
        scaled = centred / (groups.std(dim=1, keepdim=True) + _EPS)
        return torch.where(is_equal, torch.zeros_like(scaled), scaled).view(-1)
    if kind == "centred":
        return centred.view(-1)
    if kind == "leave_one_out":
        return (centred * group_size / (group_size - 1)).view(-1)
    raise ValueError(f"kind must be scaled, centred or leave_one_out, got {kind!r}")


def has_contrast(scores: Tensor, *, group_size: int) -> Tensor:
    """(B / G,) whether a group's scores differ; one whose scores are equal teaches nothing.

    Source: arXiv:2503.14476, eq. 11 (DAPO's dynamic sampling keeps such groups alone).
    """
    groups = scores.view(-1, group_size)
    return groups.amax(dim=1) > groups.amin(dim=1)


def token_weights(mask: Tensor, *, aggregation: str, max_length: int) -> tuple[Tensor, float]:
    """How a batch's token losses make one loss: a factor a token, and what their sum divides by.

        token      the mean over all tokens of the batch                 arXiv:2503.14476, eq. 12
        sequence   the mean over responses of their tokens' means        arXiv:2402.03300, eq. 3
        constant   the sum over tokens by responses x longest response   arXiv:2503.20783

    Args:
        mask: (B, L) bool of the whole global batch, True where the policy chose the token; a row
            without such a token counts as no response.
        aggregation: one of the names above.
        max_length: tokens of the longest response that could be.

    Returns:
        (B, L) factors and the denominator, for `clipped_policy_loss` and the like.

    Raises:
        ValueError: the name is unknown, or the mask is empty.
    """
    lengths = mask.sum(dim=1)
    responses = float((lengths > 0).sum())
    if not responses:
        raise ValueError("no response has a token that counts")
    ones = torch.ones(mask.shape, device=mask.device)
    if aggregation == "token":
        return ones, float(lengths.sum())
    if aggregation == "sequence":
        return ones / lengths.clamp(min=1)[:, None], responses
    if aggregation == "constant":
        return ones, responses * max_length
    raise ValueError(f"aggregation must be token, sequence or constant, got {aggregation!r}")
