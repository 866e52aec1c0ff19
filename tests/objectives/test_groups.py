"""Advantages by groups, how token losses add up, and the clips beyond PPO's own."""

import math

import pytest
import torch

from accord.objectives.groups import group_advantages, has_contrast, token_weights
from accord.objectives.ppo import clipped_policy_loss


def test_advantages_by_hand() -> None:
    scores = torch.tensor([1.0, 2.0, 6.0, 5.0, 5.0, 5.0])
    found = {
        kind: group_advantages(scores, group_size=3, kind=kind).tolist()
        for kind in ("centred", "leave_one_out", "scaled")
    }
    assert found["centred"] == [-2, -1, 3, 0, 0, 0]
    assert found["leave_one_out"] == [1 - 4, 2 - 3.5, 6 - 1.5, 0, 0, 0]
    deviation = math.sqrt((4 + 1 + 9) / 2) + 1e-4
    expected = [-2 / deviation, -1 / deviation, 3 / deviation, 0, 0, 0]
    assert found["scaled"] == pytest.approx(expected, rel=1e-5)


def test_equal_scores_that_round_have_no_advantage() -> None:
    scores = torch.full((3,), 0.1)
    assert group_advantages(scores, group_size=3, kind="scaled").tolist() == [0, 0, 0]
    assert has_contrast(torch.tensor([0.1, 0.1, 0.1, 0.2]), group_size=2).tolist() == [False, True]


@pytest.mark.parametrize(
    ("count", "size", "kind"), [(5, 2, "centred"), (4, 1, "centred"), (4, 2, "mean")]
)
def test_wrong_groups_are_refused(count: int, size: int, kind: str) -> None:
    with pytest.raises(ValueError):
        group_advantages(torch.zeros(count), group_size=size, kind=kind)


def test_aggregations_by_hand() -> None:
    """Two responses of 1 and 3 tokens, of 4 that could be, and one that does not count."""
    mask = torch.tensor([[0, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]]).bool()
    losses = torch.tensor([[9.0, 6.0, 9.0, 9.0], [9.0, 1.0, 2.0, 3.0], [9.0] * 4])

    def aggregate(name: str) -> float:
        weights, denominator = token_weights(mask, aggregation=name, max_length=4)
        return float((weights * losses)[mask].sum() / denominator)

    assert aggregate("token") == (6 + 1 + 2 + 3) / 4
    assert aggregate("sequence") == (6 + 2) / 2
    assert aggregate("constant") == 12 / (2 * 4)
    with pytest.raises(ValueError, match="aggregation"):
        token_weights(mask, aggregation="mean", max_length=4)
    with pytest.raises(ValueError, match="no response"):
        token_weights(mask & False, aggregation="token", max_length=4)


def one(ratio: float, advantage: float, **values: float | str) -> float:
    """The loss of one token with that ratio."""
    return clipped_policy_loss(
        torch.tensor([[math.log(ratio)]]), torch.zeros(1, 1), torch.tensor([[advantage]]),
        torch.tensor([[True]]), cliprange=0.2, **values,  # type: ignore[arg-type]
    ).loss.item()  # fmt: skip


def test_clip_higher_by_hand() -> None:
    assert one(1.25, 2.0) == pytest.approx(-2.4)
    assert one(1.25, 2.0, cliprange_high=0.28) == pytest.approx(-2.5)
    assert one(1.5, 2.0, cliprange_high=0.28) == pytest.approx(-2.56)
    assert one(0.7, -1.0, cliprange_high=0.28) == pytest.approx(0.8)
    with pytest.raises(ValueError, match="cliprange_high"):
        one(1.0, 1.0, cliprange_high=0.0)


def test_dual_clip_by_hand() -> None:
    assert one(10.0, -1.0) == pytest.approx(10.0)
    assert one(10.0, -1.0, dual_clip=3.0) == pytest.approx(3.0)
    assert one(2.0, -1.0, dual_clip=3.0) == pytest.approx(2.0)
    assert one(10.0, 1.0, dual_clip=3.0) == pytest.approx(-1.2)
    with pytest.raises(ValueError, match="dual_clip"):
        one(1.0, 1.0, dual_clip=1.0)


def test_sequence_ratios_are_geometric_means_and_their_gradient_is_shared() -> None:
    log_ratio = torch.tensor([[0.0, 0.1, 0.3, 9.0]], requires_grad=True)
    mask = torch.tensor([[False, True, True, False]])
    out = clipped_policy_loss(
        log_ratio, torch.zeros(1, 4), torch.full((1, 4), 2.0), mask, cliprange=0.5, level="sequence"
    )
    ratio = math.exp(0.2)
    assert out.loss.item() == pytest.approx(-2.0 * ratio)
    out.loss.backward()
    assert log_ratio.grad is not None
    assert log_ratio.grad[0].tolist() == pytest.approx([0.0, -ratio, -ratio, 0.0])
    assert one(1.3, 1.0, level="sequence") == one(1.3, 1.0)
    with pytest.raises(ValueError, match="level"):
        one(1.0, 1.0, level="row")


def test_weights_multiply_each_token() -> None:
    generator = torch.Generator().manual_seed(0)
    new, old, advantages, weights = (torch.randn(2, 3, generator=generator) for _ in range(4))
    mask = torch.tensor([[True, True, False], [False, True, True]])
    weights = weights.abs()
    expected = 0.0
    for r, t in mask.nonzero().tolist():
        ratio = math.exp(float(new[r, t] - old[r, t]))
        near = min(max(ratio, 0.8), 1.3)
        a = float(advantages[r, t])
        surrogate = min(ratio * a, near * a)
        if a < 0:
            surrogate = max(surrogate, 2.0 * a)
        expected -= float(weights[r, t]) * surrogate / 7
    found = clipped_policy_loss(
        new, old, advantages, mask, cliprange=0.2, cliprange_high=0.3, dual_clip=2.0,
        weights=weights, denominator=7.0,
    )  # fmt: skip
    assert found.loss.item() == pytest.approx(expected, rel=1e-5)
