"""Cross-entropy, KL estimators, GAE, per-token rewards."""

from math import exp, nan
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.objectives.cross_entropy import token_cross_entropy
from accord.objectives.gae import gae
from accord.objectives.importance import truncated_importance_weights
from accord.objectives.kl import kl_estimate, kl_k1, kl_k2, kl_k3, kl_loss
from accord.objectives.masked import masked_variance, whiten
from accord.objectives.rewards import per_token_rewards, shape_scores

ABSURD = [1e9, float("nan"), float("inf")]


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
def test_cross_entropy_and_its_gradient_ignore_the_absurd(absurd: float) -> None:
    logprobs = torch.tensor([[-1.0, -3.0, absurd]], requires_grad=True)
    loss = token_cross_entropy(logprobs, torch.tensor([[True, True, False]])).loss
    loss.backward()
    assert loss.item() == 2.0
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[-0.5, -0.5, 0.0]]


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


def test_kl_variance_and_bias_near_and_far() -> None:
    """What the docstrings say: near the reference k2 is nearly the KL and k3 steadier than k1."""
    pi = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    for ref, k2_error in (([0.69, 0.205, 0.105], 0.02), ([0.02, 0.08, 0.9], 0.2)):
        other = torch.tensor(ref, dtype=torch.float64)
        k1, k2, k3 = (f(pi.log(), other.log()) for f in (kl_k1, kl_k2, kl_k3))
        kl = (pi * k1).sum()
        is_near = bool(kl < 0.01)
        assert (abs((pi * k2).sum() / kl - 1) < k2_error) == is_near
        spread = [(pi * (k - (pi * k).sum()) ** 2).sum() for k in (k1, k3)]
        assert (spread[1] < 0.1 * spread[0]) == is_near


def test_mean_gradient_of_k2_is_that_of_the_kl() -> None:
    logits = torch.tensor([0.3, -0.2, 1.0], dtype=torch.float64, requires_grad=True)
    ref = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log()
    logprobs = logits.log_softmax(0)
    pi = logprobs.exp()
    (exact,) = torch.autograd.grad((pi * (logprobs - ref)).sum(), logits, retain_graph=True)
    (sampled,) = torch.autograd.grad((pi.detach() * kl_k2(logprobs, ref)).sum(), logits)
    torch.testing.assert_close(sampled, exact)


def test_gradients_of_token_functions() -> None:
    generator = torch.Generator().manual_seed(3)
    x, y = (torch.randn(2, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    x.requires_grad_()
    mask = torch.tensor([[True, True, False, True], [False, True, False, False]])
    for function in (
        lambda a: token_cross_entropy(a, mask).loss,
        lambda a: masked_variance(a, mask),
        lambda a: whiten(a, mask),
        lambda a: whiten(a, mask, shift_mean=False),
        lambda a: kl_k1(a, y),
        lambda a: kl_k2(a, y),
        lambda a: kl_k3(a, y),
    ):
        assert torch.autograd.gradcheck(function, x)


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


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_gae_of_a_batch_with_holes_is_that_of_its_chosen_tokens(
    seed: int, gamma: float, lam: float
) -> None:
    """Rows of other lengths and holes: each is as if its chosen tokens stood side by side."""
    generator = torch.Generator().manual_seed(seed)
    rewards, values = (
        torch.randn(3, 8, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    mask = torch.rand(3, 8, generator=generator) > 0.5
    hole = torch.tensor(float("nan"), dtype=torch.float64)
    out = gae(rewards.where(mask, hole), values.where(mask, hole), mask, gamma=gamma, lam=lam)
    for row in range(3):
        r, v = rewards[row][mask[row]].tolist(), [*values[row][mask[row]].tolist(), 0.0]
        for t in range(len(r)):
            expected = sum(
                (gamma * lam) ** (k - t) * (r[k] + gamma * v[k + 1] - v[k])
                for k in range(t, len(r))
            )
            assert out.advantages[row][mask[row]][t].item() == pytest.approx(expected)
            assert out.returns[row][mask[row]][t].item() == pytest.approx(expected + v[t])
    assert (out.advantages[~mask] == 0).all()
    assert (out.returns[~mask] == 0).all()


def test_gae_with_lambda_zero_is_one_step() -> None:
    values = torch.tensor([[1.0, 4.0, 2.0]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    out = gae(torch.tensor([[1.0, 1.0, 1.0]]), values, mask, gamma=0.5, lam=0.0)
    # 1 + 4/2 - 1, 1 + 2/2 - 4, 1 - 2
    torch.testing.assert_close(out.advantages, torch.tensor([[2.0, -2.0, -1.0]]))


def test_gae_refuses_grids_of_other_shapes() -> None:
    grid, mask = torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bool)
    for wrong in (torch.ones(2, 4), torch.ones(1, 3), torch.ones(3)):
        with pytest.raises(ValueError, match=r"expected three \(B, L\) tensors"):
            gae(wrong, grid, mask, gamma=1.0, lam=1.0)
        with pytest.raises(ValueError, match=r"expected three \(B, L\) tensors"):
            gae(grid, wrong, mask, gamma=1.0, lam=1.0)


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


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 2))
def test_per_token_rewards_add_up(seed: int, kl_coef: float) -> None:
    """However the mask lies, a row's rewards sum to its score less its KL penalty."""
    generator = torch.Generator().manual_seed(seed)
    kl = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    scores = torch.randn(4, generator=generator, dtype=torch.float64)
    mask = torch.rand(4, 6, generator=generator) > 0.5
    mask[torch.arange(4), torch.randint(6, (4,), generator=generator)] = True
    out = per_token_rewards(kl, scores, mask, kl_coef=kl_coef)
    for row in range(4):
        chosen = mask[row].nonzero().flatten().tolist()
        for t in range(6):
            penalty = -kl_coef * kl[row, t].item() if t in chosen else 0.0
            bonus = scores[row].item() if t == chosen[-1] else 0.0
            assert out[row, t].item() == pytest.approx(penalty + bonus)


def test_per_token_rewards_refuse() -> None:
    with pytest.raises(ValueError, match="every row needs a chosen token"):
        per_token_rewards(
            torch.zeros(1, 2), torch.zeros(1), torch.zeros(1, 2, dtype=torch.bool), kl_coef=0.1
        )
    with pytest.raises(ValueError, match=r"expected kl \(B, L\), scores \(B,\)"):
        per_token_rewards(
            torch.zeros(2, 2), torch.zeros(1), torch.ones(2, 2, dtype=torch.bool), kl_coef=0.1
        )
    with pytest.raises(ValueError, match="not be negative"):
        per_token_rewards(
            torch.zeros(1, 2), torch.zeros(1), torch.ones(1, 2, dtype=torch.bool), kl_coef=-1.0
        )


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_kl_as_a_loss_has_the_gradient_of_the_kl(estimator: str) -> None:
    """Over all tokens, weighted as they are sampled, the gradient is that of the exact KL."""
    logits = torch.tensor([0.3, -1.0, 0.8], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([0.1, 0.2, -0.5], dtype=torch.float64).log_softmax(-1)
    policy = logits.log_softmax(-1)
    exact = (policy.exp() * (policy - reference)).sum()
    (expected,) = torch.autograd.grad(exact, logits, retain_graph=True)
    found = torch.zeros_like(expected)
    for token, probability in enumerate(policy.detach().exp()):
        sampled = logits.log_softmax(-1)[token].reshape(1, 1)
        loss = kl_loss(
            sampled, reference[token].reshape(1, 1), torch.tensor([[True]]), estimator=estimator
        )
        found += probability * torch.autograd.grad(loss, logits)[0]
    torch.testing.assert_close(found, expected)


def test_kl_as_a_loss_is_the_estimate_over_the_mask() -> None:
    logprobs, reference = torch.tensor([[-1.0, -2.0, nan]]), torch.tensor([[-1.5, -1.0, nan]])
    mask = torch.tensor([[True, True, False]])
    loss = kl_loss(logprobs, reference, mask, estimator="k1", denominator=4.0)
    assert loss.item() == pytest.approx((0.5 - 1.0) / 4)
    loss = kl_loss(logprobs, reference, mask, estimator="k3")
    assert loss.item() == pytest.approx((exp(-0.5) - 1 + 0.5 + exp(1.0) - 1 - 1.0) / 2)


def test_importance_weights_by_hand() -> None:
    old, sampler = torch.tensor([[-1.0, -1.0, nan]]), torch.tensor([[-1.5, -3.0, nan]])
    mask = torch.tensor([[True, True, False]])
    weights = truncated_importance_weights(old, sampler, mask, cap=2.0)
    torch.testing.assert_close(weights, torch.tensor([[exp(0.5), 2.0, 1.0]]))
    with pytest.raises(ValueError, match="cap"):
        truncated_importance_weights(old, sampler, mask, cap=0.0)


def shaped(scores: list[float], finished: list[bool], **values: float | None) -> list[float]:
    defaults = {"shift": 0.0, "scale": 1.0, "clip": None, "missing_eos_penalty": 0.0}
    arguments: dict[str, Any] = {**defaults, **values}
    return shape_scores(torch.tensor(scores), torch.tensor(finished), **arguments).tolist()


def test_shaped_scores_by_hand() -> None:
    scores, finished = [1.0, 5.0, -7.0], [True, False, False]
    assert shaped(scores, finished) == scores
    assert shaped(scores, finished, shift=1.0, scale=2.0) == [0.0, 2.0, -4.0]
    assert shaped(scores, finished, shift=1.0, scale=2.0, clip=1.5) == [0.0, 1.5, -1.5]
    fined = shaped(scores, finished, scale=2.0, clip=1.5, missing_eos_penalty=4.0)
    assert fined == [0.5, -2.5, -5.5]  # no clip hides the fine


def test_shaped_scores_against_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(50, generator=generator, dtype=torch.float64).mul(3).tolist()
    finished = (torch.rand(50, generator=generator) > 0.5).tolist()
    expected = []
    for score, has_ended in zip(scores, finished, strict=True):
        value = min(max((score - 0.3) / 1.7, -0.9), 0.9)
        expected.append(value if has_ended else value - 0.4)
    found = shaped(scores, finished, shift=0.3, scale=1.7, clip=0.9, missing_eos_penalty=0.4)
    assert found == pytest.approx(expected, abs=1e-6)
    assert {value for value in expected if abs(value) == 0.9}


def test_wrong_shaping_is_refused() -> None:
    for values, match in (({"scale": 0.0}, "scale must be"), ({"clip": 0.0}, "clip must be")):
        with pytest.raises(ValueError, match=match):
            shaped([1.0], [True], **values)
    with pytest.raises(ValueError, match="two \\(B,\\) tensors"):
        shaped([1.0, 2.0], [True])
