"""PPO's three phases: numbers worked out by hand, both signs of the advantage, absurd padding."""

from math import log

import pytest
import torch
from torch import Tensor

from accord.objectives.ppo import (
    clipped_policy_loss,
    clipped_value_loss,
    entropy_bonus,
    explained_variance,
    ppo_loss,
)

MASK = torch.tensor([[True, False]])
ABSURD = [1e9, float("nan"), float("inf")]


@pytest.mark.parametrize("absurd", ABSURD)
@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "slope", "clipped"),
    [
        (1.0, 2.0, -2.0, -2.0, 0.0),  # on policy: minus the advantage
        (1.5, 1.0, -1.2, 0.0, 1.0),  # good and already likelier: held at 1.2
        (0.5, 1.0, -0.5, -0.5, 0.0),  # good but rarer: no clip in the way back
        (1.5, -1.0, 1.5, 1.5, 0.0),  # bad and likelier: no clip
        (0.5, -1.0, 0.8, 0.0, 1.0),  # bad and already rarer: held at 0.8
    ],
)
def test_clipped_policy_loss_by_hand(
    ratio: float, advantage: float, expected: float, slope: float, clipped: float, absurd: float
) -> None:
    """`slope` is d loss / d logprob = -ratio * advantage where the clip does not hold it."""
    old = torch.tensor([[-1.0, 0.0]])
    new = torch.tensor([[-1.0 + log(ratio), absurd]], requires_grad=True)
    out = clipped_policy_loss(new, old, torch.tensor([[advantage, absurd]]), MASK, cliprange=0.2)
    out.loss.backward()
    assert out.loss.item() == pytest.approx(expected, abs=1e-6)
    assert out.clip_fraction.item() == clipped
    assert out.ratio_mean.item() == pytest.approx(ratio)
    assert out.ratio_max.item() == pytest.approx(ratio)  # also when a hidden ratio is larger
    assert out.approx_kl.item() == pytest.approx(ratio - 1 - log(ratio), abs=1e-6)
    assert not any(diagnostic.requires_grad for diagnostic in out[1:])
    assert new.grad is not None
    assert new.grad.tolist() == [[pytest.approx(slope, abs=1e-6), 0.0]]


@pytest.mark.parametrize("absurd", ABSURD)
@pytest.mark.parametrize(
    ("value", "old", "target", "expected", "clipped"),
    [
        (1.0, 1.0, 3.0, 2.0, 0.0),  # 1/2 (1 - 3)^2
        (2.0, 1.0, 3.0, 1.62, 1.0),  # moved too far towards the return: 1/2 (1.2 - 3)^2
        (0.0, 1.0, 3.0, 4.5, 0.0),  # moved away: the larger, unclipped error counts
        (1.1, 1.0, 0.0, 0.605, 0.0),  # inside the clip
    ],
)
def test_clipped_value_loss_by_hand(
    value: float, old: float, target: float, expected: float, clipped: float, absurd: float
) -> None:
    values = torch.tensor([[value, absurd]], requires_grad=True)
    out = clipped_value_loss(
        values,
        torch.tensor([[old, absurd]]),
        torch.tensor([[target, absurd]]),
        MASK,
        cliprange_value=0.2,
    )
    out.loss.backward()
    assert out.loss.item() == pytest.approx(expected, abs=1e-6)
    assert out.clip_fraction.item() == clipped
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()
    assert values.grad[0, 1] == 0


@pytest.mark.parametrize("absurd", ABSURD)
def test_entropy_bonus_is_over_actions_only(absurd: float) -> None:
    entropies = torch.tensor([[2.0, absurd], [1.0, absurd]], requires_grad=True)
    mask = torch.tensor([[True, False], [True, False]])
    bonus = entropy_bonus(entropies, mask)
    bonus.backward()
    assert bonus.item() == 1.5
    assert entropies.grad is not None
    assert entropies.grad.tolist() == [[0.5, 0.0], [0.5, 0.0]]


@pytest.mark.parametrize("absurd", ABSURD)
def test_explained_variance_by_hand(absurd: float) -> None:
    mask = torch.tensor([[True, True, False]])
    returns = torch.tensor([[1.0, 3.0, absurd]])
    for values, expected in (
        ([1.0, 3.0], 1.0),  # perfect
        ([7.0, 9.0], 1.0),  # a constant error is bias, not variance
        ([2.0, 2.0], 0.0),  # a constant
        ([2.0, 3.0], 0.75),  # errors -1 and 0: variance 1/4 of 1
        ([3.0, 1.0], -3.0),  # worse than a constant
    ):
        found = explained_variance(torch.tensor([[*values, absurd]]), returns, mask)
        assert found.item() == pytest.approx(expected)
    assert explained_variance(returns, torch.ones(1, 3), mask).isnan()


def test_ppo_loss_is_the_weighted_sum() -> None:
    one = torch.tensor(1.0)
    total = ppo_loss(3 * one, 5 * one, 7 * one, vf_coef=0.1, entropy_coef=0.01)
    assert total.item() == pytest.approx(3 + 0.5 - 0.07)


def oracle_policy(new: Tensor, old: Tensor, adv: Tensor, mask: Tensor, clip: float) -> float:
    total, count = 0.0, 0
    for n, o, a, m in zip(
        new.flatten().tolist(), old.flatten().tolist(), adv.flatten().tolist(),
        mask.flatten().tolist(), strict=True,
    ):  # fmt: skip
        if m:
            ratio = torch.tensor(n - o).exp().item()
            held = min(max(ratio, 1 - clip), 1 + clip)
            total -= min(ratio * a, held * a)
            count += 1
    return total / count


def test_policy_loss_against_a_loop_and_split_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    new, old, adv = (torch.randn(6, 9, generator=generator) for _ in range(3))
    mask = torch.rand(6, 9, generator=generator) > 0.4
    whole = clipped_policy_loss(new, old, adv, mask, cliprange=0.3).loss.item()
    assert whole == pytest.approx(oracle_policy(new, old, adv, mask, 0.3), rel=1e-5)
    tokens = float(mask.sum())
    halves = [
        clipped_policy_loss(new[s], old[s], adv[s], mask[s], cliprange=0.3, denominator=tokens)
        for s in (slice(0, 2), slice(2, 6))
    ]
    together = clipped_policy_loss(new, old, adv, mask, cliprange=0.3)
    for name in ("clip_fraction", "approx_kl", "ratio_mean"):
        added = sum(getattr(half, name).item() for half in halves)
        assert added == pytest.approx(getattr(together, name).item(), rel=1e-5)
    assert max(half.ratio_max.item() for half in halves) == together.ratio_max.item()
    pieces = [
        clipped_policy_loss(
            new[i : i + 2], old[i : i + 2], adv[i : i + 2], mask[i : i + 2],
            cliprange=0.3, denominator=tokens,
        ).loss.item()
        for i in (0, 2, 4)
    ]  # fmt: skip
    assert sum(pieces) == pytest.approx(whole, rel=1e-5)


def test_value_loss_against_a_loop_and_split_batches() -> None:
    generator = torch.Generator().manual_seed(2)
    new, old, target = (torch.randn(6, 9, generator=generator) for _ in range(3))
    mask = torch.rand(6, 9, generator=generator) > 0.4
    total, held, tokens = 0.0, 0, 0
    for row, column in mask.nonzero().tolist():
        v, o, r = (float(x[row, column]) for x in (new, old, target))
        near = min(max(v, o - 0.3), o + 0.3)
        total += 0.5 * max((v - r) ** 2, (near - r) ** 2)
        held += (near - r) ** 2 > (v - r) ** 2
        tokens += 1
    whole = clipped_value_loss(new, old, target, mask, cliprange_value=0.3)
    assert whole.loss.item() == pytest.approx(total / tokens, rel=1e-5)
    assert whole.clip_fraction.item() == pytest.approx(held / tokens, rel=1e-5)
    pieces = [
        clipped_value_loss(
            new[s], old[s], target[s], mask[s], cliprange_value=0.3, denominator=float(tokens)
        )
        for s in (slice(0, 1), slice(1, 6))
    ]
    assert sum(p.loss.item() for p in pieces) == pytest.approx(whole.loss.item(), rel=1e-5)
    assert sum(p.clip_fraction.item() for p in pieces) == pytest.approx(held / tokens, rel=1e-5)


def test_gradients() -> None:
    generator = torch.Generator().manual_seed(1)
    new, old, adv = (torch.randn(2, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    new.requires_grad_()
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert torch.autograd.gradcheck(
        lambda x: clipped_policy_loss(x, old, adv, mask, cliprange=0.2).loss, new
    )
    assert torch.autograd.gradcheck(
        lambda x: (
            clipped_policy_loss(
                x, old, adv, mask, cliprange=0.2, dual_clip=1.5, weights=adv.abs()
            ).loss
        ),
        new,
    )
    assert torch.autograd.gradcheck(
        lambda x: clipped_value_loss(x, old, adv, mask, cliprange_value=0.2).loss, new
    )
    assert torch.autograd.gradcheck(lambda x: entropy_bonus(x, mask), new)


@pytest.mark.parametrize("absurd", ABSURD)
@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "slope"),
    [
        (2.5, -1.0, 2.5, 2.5),  # bad and likelier, below the bound of 3: as without it
        (5.0, -1.0, 3.0, 0.0),  # bad and much likelier: its loss is held, and pulls no more
        (5.0, -2.0, 6.0, 0.0),  # the bound is of the ratio
        (0.5, -1.0, 0.8, 0.0),  # bad and rarer: the ordinary clip
        (5.0, 1.0, -1.2, 0.0),  # good: no second bound
        (0.5, 1.0, -0.5, -0.5),
    ],
)
def test_dual_clip_and_its_gradient_by_hand(
    ratio: float, advantage: float, expected: float, slope: float, absurd: float
) -> None:
    old = torch.tensor([[-9.0, 0.0]])
    new = torch.tensor([[-9.0 + log(ratio), absurd]], requires_grad=True)
    advantages = torch.tensor([[advantage, absurd]])
    out = clipped_policy_loss(new, old, advantages, MASK, cliprange=0.2, dual_clip=3.0)
    out.loss.backward()
    assert out.loss.item() == pytest.approx(expected, rel=1e-5)
    assert out.clip_fraction.item() == float(slope == 0)
    assert new.grad is not None
    assert new.grad.tolist() == [[pytest.approx(slope, rel=1e-5), 0.0]]


@pytest.mark.parametrize("cliprange", [0.0, 1.0, -0.1])
def test_wrong_clips_and_empty_masks_are_refused(cliprange: float) -> None:
    x = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="cliprange must lie in"):
        clipped_policy_loss(x, x, x, MASK, cliprange=cliprange)
    with pytest.raises(ValueError, match="cliprange_value must be above 0"):
        clipped_value_loss(x, x, x, MASK, cliprange_value=0.0)
    nothing = torch.zeros_like(MASK)
    with pytest.raises(ValueError, match="mask is empty"):
        clipped_policy_loss(x, x, x, nothing, cliprange=0.2)
    with pytest.raises(ValueError, match="mask is empty"):
        clipped_value_loss(x, x, x, nothing, cliprange_value=0.2)
    with pytest.raises(ValueError, match="mask is empty"):
        entropy_bonus(x, nothing)
    with pytest.raises(ValueError, match="mask is empty"):
        explained_variance(x, x, nothing)
