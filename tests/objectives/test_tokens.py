"""Masked means, whitening, cross-entropy, KL estimators, GAE, per-token rewards."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.objectives.cross_entropy import token_cross_entropy
from accord.objectives.gae import gae
from accord.objectives.kl import kl_estimate, kl_k1, kl_k2, kl_k3
from accord.objectives.masked import masked_mean, masked_variance, whiten
from accord.objectives.rewards import per_token_rewards

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


def test_cross_entropy_by_hand_and_in_pieces() -> None:
    logprobs = torch.tensor([[-1.0, -2.0], [-6.0, 9.0]])
    mask = torch.tensor([[True, True], [True, False]])
    assert token_cross_entropy(logprobs, mask).loss.item() == 3.0
    pieces = [
        token_cross_entropy(logprobs[i : i + 1], mask[i : i + 1], denominator=3.0).loss.item()
        for i in (0, 1)
    ]
    assert sum(pieces) == 3.0
    with pytest.raises(ValueError, match="mask is empty"):
        token_cross_entropy(logprobs, torch.zeros_like(mask))


@pytest.mark.parametrize("absurd", ABSURD)
def test_whiten_by_hand(absurd: float) -> None:
    values = torch.tensor([[1.0, 3.0, absurd]])
    mask = torch.tensor([[True, True, False]])
    torch.testing.assert_close(whiten(values, mask), torch.tensor([[-1.0, 1.0, 0.0]]))
    kept = whiten(values, mask, shift_mean=False)
    torch.testing.assert_close(kept, torch.tensor([[1.0, 3.0, 0.0]]))


def test_equal_values_whiten_to_zero() -> None:
    assert whiten(torch.full((1, 3), 5.0), torch.ones(1, 3, dtype=torch.bool)).abs().max() == 0


def test_kl_estimators_in_expectation() -> None:
    """Exact sums over a categorical: k1 and k3 are unbiased, k2 is what its formula says."""
    pi = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    ref = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    kl = (pi * (pi / ref).log()).sum()
    k1, k2, k3 = (f(pi.log(), ref.log()) for f in (kl_k1, kl_k2, kl_k3))
    assert (pi * k1).sum().item() == pytest.approx(kl.item())
    assert (pi * k3).sum().item() == pytest.approx(kl.item())
    assert (pi * k2).sum().item() == pytest.approx(0.5 * (pi * (pi / ref).log() ** 2).sum().item())
    assert (k2 >= 0).all()
    assert (k3 >= 0).all()
    assert (k1 < 0).any()


def test_kl_by_name() -> None:
    a, b = torch.tensor([-1.0]), torch.tensor([-2.0])
    assert kl_estimate(a, b, estimator="k1").item() == 1.0
    assert kl_estimate(a, b, estimator="k2").item() == 0.5
    assert kl_estimate(a, b, estimator="k3").item() == pytest.approx(0.36787944, abs=1e-6)
    with pytest.raises(ValueError, match="k1, k2, k3"):
        kl_estimate(a, b, estimator="k4")


@pytest.mark.parametrize("absurd", ABSURD)
def test_gae_by_hand(absurd: float) -> None:
    """Prompt token, two actions, an observation between, padding at the end."""
    rewards = torch.tensor([[absurd, 1.0, absurd, 2.0, absurd]])
    values = torch.tensor([[absurd, 0.5, absurd, 1.0, absurd]])
    mask = torch.tensor([[False, True, False, True, False]])
    out = gae(rewards, values, mask, gamma=0.9, lam=0.8)
    last = 2.0 - 1.0
    first = (1.0 + 0.9 * 1.0 - 0.5) + 0.9 * 0.8 * last
    expected = torch.tensor([[0.0, first, 0.0, last, 0.0]])
    torch.testing.assert_close(out.advantages, expected)
    torch.testing.assert_close(out.returns, torch.tensor([[0.0, first + 0.5, 0.0, 2.0, 0.0]]))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.floats(0, 1), st.floats(0, 1), st.integers(0, 10_000))
def test_gae_against_its_definition(steps: int, gamma: float, lam: float, seed: int) -> None:
    """The weighted sum of deltas, written as a sum and not as a recursion."""
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.randn(1, steps, generator=generator, dtype=torch.float64)
    values = torch.randn(1, steps, generator=generator, dtype=torch.float64)
    r, v = rewards[0].tolist(), [*values[0].tolist(), 0.0]
    deltas = [r[t] + gamma * v[t + 1] - v[t] for t in range(steps)]
    expected = [
        sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, steps)) for t in range(steps)
    ]
    out = gae(rewards, values, torch.ones(1, steps, dtype=torch.bool), gamma=gamma, lam=lam)
    assert out.advantages[0].tolist() == pytest.approx(expected)


def test_gae_with_lambda_one_is_the_return() -> None:
    rewards = torch.tensor([[0.0, 0.0, 1.0]])
    out = gae(rewards, torch.randn(1, 3), torch.ones(1, 3, dtype=torch.bool), gamma=1.0, lam=1.0)
    torch.testing.assert_close(out.returns, torch.ones(1, 3))
    with pytest.raises(ValueError, match="gamma and lam"):
        gae(rewards, rewards, rewards > 0, gamma=1.1, lam=1.0)


@pytest.mark.parametrize("absurd", ABSURD)
def test_per_token_rewards_by_hand(absurd: float) -> None:
    kl = torch.tensor([[absurd, 2.0, -1.0, absurd], [absurd, absurd, 3.0, 4.0]])
    mask = torch.tensor([[False, True, True, False], [False, False, True, True]])
    out = per_token_rewards(kl, torch.tensor([10.0, -10.0]), mask, kl_coef=0.5)
    assert out.tolist() == [[0.0, -1.0, 10.5, 0.0], [0.0, 0.0, -1.5, -12.0]]


def test_per_token_rewards_refuse() -> None:
    with pytest.raises(ValueError, match="every row needs a chosen token"):
        per_token_rewards(
            torch.zeros(1, 2), torch.zeros(1), torch.zeros(1, 2, dtype=torch.bool), kl_coef=0.1
        )
    with pytest.raises(ValueError, match="not be negative"):
        per_token_rewards(
            torch.zeros(1, 2), torch.zeros(1), torch.ones(1, 2, dtype=torch.bool), kl_coef=-1.0
        )
