"""Reductions under a mask: by hand, against loops, in pieces, with absurd hidden entries."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accord.objectives.masked import masked_mean, masked_sum, masked_variance, whiten

ABSURD = [1e9, float("nan"), float("inf")]


@pytest.mark.parametrize("absurd", ABSURD)
def test_masked_mean_and_its_gradient_ignore_the_absurd(absurd: float) -> None:
    values = torch.tensor([1.0, 3.0, absurd], requires_grad=True)
    mask = torch.tensor([True, True, False])
    mean = masked_mean(values, mask)
    mean.backward()
    assert mean.item() == 2.0
    assert values.grad is not None
    assert values.grad.tolist() == [0.5, 0.5, 0.0]
    assert masked_variance(values, mask).item() == 1.0


def test_masked_refusals() -> None:
    values, mask = torch.ones(2, 2), torch.ones(2, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="must have one shape"):
        masked_sum(values, mask[:, :1])  # would broadcast, and count each entry half
    for reduction in (masked_mean, masked_variance, whiten):
        with pytest.raises(ValueError, match="must have one shape"):
            reduction(values, mask[0])
        with pytest.raises(ValueError, match="mask is empty"):
            reduction(values, ~mask)
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="denominator must be"):
            masked_mean(values, mask, denominator=wrong)


def test_a_piece_without_tokens_adds_nothing_to_a_global_mean() -> None:
    nothing = torch.zeros(2, dtype=torch.bool)
    assert masked_mean(torch.ones(2), nothing, denominator=3.0).item() == 0.0
    assert masked_sum(torch.ones(2), nothing).item() == 0.0


entries = st.lists(st.tuples(st.floats(-100, 100), st.booleans()), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None)
@given(entries, st.integers(0, 12))
def test_reductions_against_a_loop_however_they_are_split(
    rows: list[tuple[float, bool]], cut: int
) -> None:
    kept = [value for value, is_kept in rows if is_kept]
    assume(kept)
    values = torch.tensor([v if k else float("nan") for v, k in rows], dtype=torch.float64)
    mask = torch.tensor([k for _, k in rows])
    mean = sum(kept) / len(kept)
    variance = sum((v - mean) ** 2 for v in kept) / len(kept)
    assert masked_mean(values, mask).item() == pytest.approx(mean, abs=1e-9)
    assert masked_variance(values, mask).item() == pytest.approx(variance, abs=1e-9)
    pieces = [
        masked_mean(values[s], mask[s], denominator=float(len(kept))).item()
        for s in (slice(cut), slice(cut, None))
    ]
    assert sum(pieces) == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize("absurd", ABSURD)
def test_whiten_by_hand(absurd: float) -> None:
    values = torch.tensor([[1.0, 3.0, absurd]])
    mask = torch.tensor([[True, True, False]])
    torch.testing.assert_close(whiten(values, mask), torch.tensor([[-1.0, 1.0, 0.0]]))
    kept = whiten(values, mask, shift_mean=False)
    torch.testing.assert_close(kept, torch.tensor([[1.0, 3.0, 0.0]]))


@pytest.mark.parametrize("shift_mean", [True, False])
@pytest.mark.parametrize("absurd", ABSURD)
def test_whitened_scale_and_gradient_ignore_the_absurd(absurd: float, shift_mean: bool) -> None:
    """Three entries, as the gradient of two whitened ones is zero whatever the code does."""
    mask = torch.tensor([True, True, True, False])
    weights = torch.tensor([1.0, 2.0, 0.0, 0.0])
    grads = []
    for hidden in (0.0, absurd):
        values = torch.tensor([1.0, 3.0, 8.0, hidden], requires_grad=True)
        out = whiten(values, mask, shift_mean=shift_mean)
        assert out[mask].std(correction=0).item() == pytest.approx(1.0)
        assert out[mask].mean().item() == pytest.approx(0.0 if shift_mean else 4.0, abs=1e-6)
        (out * weights).sum().backward()
        assert values.grad is not None
        grads.append(values.grad)
    assert grads[0].abs().max() > 0.01
    assert torch.equal(grads[0], grads[1])


def test_equal_values_whiten_to_zero() -> None:
    assert whiten(torch.full((1, 3), 5.0), torch.ones(1, 3, dtype=torch.bool)).abs().max() == 0
