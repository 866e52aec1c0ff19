"""Bradley-Terry and DPO: by hand, with soft labels, against an oracle, with exact optima."""

import math
from math import exp, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.objectives.bradley_terry import bradley_terry_loss
from accord.objectives.dpo import dpo_loss
from accord.objectives.length_disentangled import correlation, length_disentangling_loss


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


@pytest.mark.parametrize(
    ("difference", "p", "margin", "expected"),
    [
        (0.0, 1.0, 0.0, log(2)),
        (2.0, 1.0, 0.0, -log(sigmoid(2.0))),
        (-2.0, 1.0, 0.0, -log(sigmoid(-2.0))),
        (2.0, 1.0, 0.5, -log(sigmoid(1.5))),  # a margin asks for more
        (2.0, 0.75, 0.0, -0.75 * log(sigmoid(2.0)) - 0.25 * log(sigmoid(-2.0))),
        (2.0, 0.0, 0.5, -log(sigmoid(-1.5))),  # the same shift in the other side's term
        (-2.0, 1.0, -0.5, -log(sigmoid(-1.5))),  # which is that pair the other way round
        (2.0, 0.75, 0.5, -0.75 * log(sigmoid(1.5)) - 0.25 * log(sigmoid(-1.5))),
    ],
)
def test_bradley_terry_by_hand(difference: float, p: float, margin: float, expected: float) -> None:
    out = bradley_terry_loss(
        torch.tensor([10.0 + difference]),
        torch.tensor([10.0]),
        p_chosen=torch.tensor([p]),
        margin=torch.tensor([margin]),
    )
    assert out.loss.item() == pytest.approx(expected, rel=1e-5)


def test_accuracy_leaves_out_ties_of_the_label_and_halves_those_of_the_score() -> None:
    chosen = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0])
    rejected = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0])
    p = torch.tensor([1.0, 0.9, 0.8, 0.5, 0.1])
    # right, wrong, half, left out, right (the label prefers "rejected")
    out = bradley_terry_loss(chosen, rejected, p_chosen=p)
    assert out.accuracy.item() == pytest.approx(2.5 / 4)


def test_soft_label_has_its_optimum_at_the_logit() -> None:
    p = torch.tensor([0.8])
    difference = torch.tensor([log(0.8 / 0.2)], requires_grad=True)
    bradley_terry_loss(difference, torch.zeros(1), p_chosen=p).loss.backward()
    assert difference.grad is not None
    assert difference.grad.item() == pytest.approx(0.0, abs=1e-6)


def test_margin_moves_the_optimum() -> None:
    """d = m + logit(p), here 0.5 + log 4."""
    difference = torch.tensor([0.5 + log(4)], requires_grad=True)
    out = bradley_terry_loss(
        difference, torch.zeros(1), p_chosen=torch.tensor([0.8]), margin=torch.tensor([0.5])
    )
    out.loss.backward()
    assert difference.grad is not None
    assert difference.grad.item() == pytest.approx(0.0, abs=1e-6)


finite = st.floats(-20, 20)


@given(finite, finite, st.floats(0, 1), st.floats(-3, 3))
@settings(max_examples=50, deadline=None)
def test_a_pair_written_the_other_way_round_has_the_same_loss(
    a: float, b: float, p: float, margin: float
) -> None:
    one, other, label, m = (torch.tensor([x], dtype=torch.float64) for x in (a, b, p, margin))
    here = bradley_terry_loss(one, other, p_chosen=label, margin=m)
    there = bradley_terry_loss(other, one, p_chosen=1 - label, margin=-m)
    assert here.loss.item() == pytest.approx(there.loss.item(), abs=1e-9)
    assert here.score_margin.item() == -there.score_margin.item()


def test_scores_far_apart_stay_finite() -> None:
    """Written as log(sigmoid(x)), the first would be infinite."""
    far = torch.tensor([-1e4], requires_grad=True)
    loss = bradley_terry_loss(far, torch.zeros(1)).loss
    loss.backward()
    assert loss.item() == 1e4
    assert far.grad is not None
    assert far.grad.item() == -1.0


def test_dpo_by_hand() -> None:
    out = dpo_loss(
        torch.tensor([-1.0]), torch.tensor([-5.0]), torch.tensor([-2.0]), torch.tensor([-4.0]),
        beta=0.5,
    )  # fmt: skip
    # chosen: 0.5 (-1 + 2) = 0.5; rejected: 0.5 (-5 + 4) = -0.5
    assert out.chosen_reward.item() == pytest.approx(0.5)
    assert out.rejected_reward.item() == pytest.approx(-0.5)
    assert out.margin.item() == pytest.approx(1.0)
    assert out.loss.item() == pytest.approx(-log(sigmoid(1.0)), rel=1e-6)
    assert out.accuracy.item() == 1.0


def test_dpo_at_the_reference_is_log_two_and_pulls_the_right_way() -> None:
    chosen = torch.tensor([-3.0], requires_grad=True)
    rejected = torch.tensor([-3.0], requires_grad=True)
    out = dpo_loss(chosen, rejected, chosen.detach(), rejected.detach(), beta=0.1)
    out.loss.backward()
    assert out.loss.item() == pytest.approx(log(2), rel=1e-6)
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert chosen.grad.item() == pytest.approx(-0.05)  # -beta sigmoid(0)
    assert rejected.grad.item() == pytest.approx(0.05)


def test_both_against_a_loop_and_split_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b, c, d = (3 * torch.randn(8, generator=generator) for _ in range(4))
    p = torch.rand(8, generator=generator)
    expected_bt, expected_dpo = 0.0, 0.0
    for i in range(8):
        z = (a - b)[i].item()
        w = 0.3 * ((a - c) - (b - d))[i].item()
        q = p[i].item()
        expected_bt -= (q * log(sigmoid(z)) + (1 - q) * log(sigmoid(-z))) / 8
        expected_dpo -= (q * log(sigmoid(w)) + (1 - q) * log(sigmoid(-w))) / 8
    assert bradley_terry_loss(a, b, p_chosen=p).loss.item() == pytest.approx(expected_bt, rel=1e-5)
    assert dpo_loss(a, b, c, d, beta=0.3, p_chosen=p).loss.item() == pytest.approx(
        expected_dpo, rel=1e-5
    )
    halves = [
        dpo_loss(a[s], b[s], c[s], d[s], beta=0.3, p_chosen=p[s], denominator=8.0).loss.item()
        for s in (slice(0, 3), slice(3, 8))
    ]
    assert sum(halves) == pytest.approx(expected_dpo, rel=1e-5)


def test_gradients() -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = (
        torch.randn(3, generator=generator, dtype=torch.float64, requires_grad=True)
        for _ in range(2)
    )
    p = torch.tensor([1.0, 0.3, 0.5], dtype=torch.float64)
    margin = torch.tensor([0.0, -0.7, 2.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda a, b: bradley_terry_loss(a, b, p_chosen=p, margin=margin).loss, (x, y)
    )
    assert torch.autograd.gradcheck(
        lambda a, b: dpo_loss(a, b, p, p.flip(0), beta=0.2, p_chosen=p).loss, (x, y)
    )


NAN = float("nan")


@pytest.mark.parametrize("p", [1.2, -0.1, NAN])
def test_labels_that_are_no_probability_are_refused(p: float) -> None:
    one = torch.ones(2)
    labels = torch.tensor([0.5, p])
    with pytest.raises(ValueError, match="p_chosen must lie in"):
        bradley_terry_loss(one, one, p_chosen=labels)
    with pytest.raises(ValueError, match="p_chosen must lie in"):
        dpo_loss(one, one, one, one, beta=0.1, p_chosen=labels)


@pytest.mark.parametrize("shape", [(1,), (2, 1), ()])
def test_shapes_that_would_broadcast_are_refused(shape: tuple[int, ...]) -> None:
    pair, odd = torch.ones(2), torch.ones(shape)
    for scores in ((pair, odd), (odd, pair)):
        with pytest.raises(ValueError, match=r"expected \(B,\) tensors of one length, got chosen_"):
            bradley_terry_loss(*scores)
    with pytest.raises(ValueError, match=r"got scores \(2,\), p_chosen"):
        bradley_terry_loss(pair, pair, p_chosen=odd)
    with pytest.raises(ValueError, match=r"got chosen_scores \(2,\), margin"):
        bradley_terry_loss(pair, pair, margin=odd)
    for position in range(4):
        logps = [pair] * 4
        logps[position] = odd
        with pytest.raises(ValueError, match=r"expected \(B,\) tensors of one length"):
            dpo_loss(*logps, beta=0.1)


@pytest.mark.parametrize("margin", [NAN, float("inf")])
def test_margins_that_are_no_number_are_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="margin must be finite"):
        bradley_terry_loss(torch.ones(1), torch.ones(1), margin=torch.tensor([margin]))


@pytest.mark.parametrize("beta", [0.0, -1.0, NAN])
def test_wrong_betas_are_refused(beta: float) -> None:
    one = torch.ones(1)
    with pytest.raises(ValueError, match="beta must be above 0"):
        dpo_loss(one, one, one, one, beta=beta)


def test_nothing_to_average_is_refused() -> None:
    one, none = torch.ones(1), torch.ones(0)
    with pytest.raises(ValueError, match="nothing to average"):
        bradley_terry_loss(none, none)
    with pytest.raises(ValueError, match="nothing to average"):
        dpo_loss(none, none, none, none, beta=0.1)
    with pytest.raises(ValueError, match="denominator must be"):
        bradley_terry_loss(one, one, denominator=0.0)
    with pytest.raises(ValueError, match="denominator must be"):
        dpo_loss(one, one, one, one, beta=0.1, denominator=NAN)


# Weights, centering, length ----------------------------------------------------------------------


def test_a_ranking_weighs_what_a_pair_does() -> None:
    """Three pairs of a ranking, a third each, beside one pair: (mean of three + one) / 2."""
    chosen, rejected = torch.tensor([1.0, 2.0, 3.0, -1.0]), torch.zeros(4)
    weights = torch.tensor([1 / 3, 1 / 3, 1 / 3, 1.0])
    found = bradley_terry_loss(chosen, rejected, weights=weights).loss.item()
    nats = [math.log1p(math.exp(-d)) for d in (1.0, 2.0, 3.0, -1.0)]
    assert found == pytest.approx((sum(nats[:3]) / 3 + nats[3]) / 2, abs=1e-6)
    split = sum(
        bradley_terry_loss(
            chosen[part], rejected[part], weights=weights[part], denominator=2.0
        ).loss.item()
        for part in ([0, 3], [1, 2])
    )
    assert split == pytest.approx(found, abs=1e-6)


def test_centering_by_hand() -> None:
    """Sums 3 and -1, squared 9 and 1: a mean of 5 times 0.01 beside the pairs' loss."""
    chosen, rejected = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 0.0])
    plain = bradley_terry_loss(chosen, rejected).loss.item()
    centred = bradley_terry_loss(chosen, rejected, centering=0.01).loss.item()
    assert centred - plain == pytest.approx(0.05, abs=1e-6)


def test_length_is_disentangled_by_hand() -> None:
    """Quality runs against length (rho -1), the length head does not (rho 0), cosine 0.6."""
    lengths = torch.tensor([1, 2, 3])
    found = length_disentangling_loss(
        torch.tensor([3.0, 2.0, 1.0]), torch.tensor([1.0, 0.0, 1.0]), lengths,
        quality_weight=torch.tensor([3.0, 4.0]), length_weight=torch.tensor([2.0, 0.0]),
    )  # fmt: skip
    assert found.loss.item() == pytest.approx(1.0 - 0.0 + 0.6, abs=1e-6)
    assert found.quality_correlation.item() == pytest.approx(-1.0, abs=1e-6)
    best = length_disentangling_loss(
        torch.tensor([1.0, 0.0, 1.0]), lengths.float(), lengths,
        quality_weight=torch.tensor([0.0, 1.0]), length_weight=torch.tensor([2.0, 0.0]),
    )  # fmt: skip
    assert best.loss.item() == pytest.approx(-1.0, abs=1e-6)


def test_correlation_is_numpys_and_0_for_a_constant() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 20, generator=generator, dtype=torch.float64)
    assert correlation(x, y).item() == pytest.approx(float(np.corrcoef(x, y)[0, 1]), abs=1e-12)
    constant = torch.full((20,), 0.1).requires_grad_()
    assert correlation(constant, y.float()).item() == 0.0
    assert torch.autograd.gradcheck(correlation, (x.requires_grad_(), y.requires_grad_()))
