"""Direct losses: by hand, against formulas written once more, and where their optimum lies."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from accord.objectives.dpo import LOSS_TYPES, dpo_loss, response_logps
from accord.objectives.kto import kto_baseline, kto_loss
from accord.objectives.reference_free import orpo_loss, simpo_loss


def s(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# c, r are implicit rewards, b is beta, e the share of wrong judgements.
BY_HAND: dict[str, Callable[[float, float, float, float], float]] = {
    "sigmoid": lambda c, r, b, e: -math.log(s(c - r)),
    "robust": lambda c, r, b, e: (
        ((1 - e) * -math.log(s(c - r)) - e * -math.log(s(r - c))) / (1 - 2 * e)
    ),
    "ipo": lambda c, r, b, e: ((c - r) / b - 1 / (2 * b)) ** 2,
    "hinge": lambda c, r, b, e: max(0.0, 1 - (c - r)),
    "apo_zero": lambda c, r, b, e: 1 - s(c) + s(r),
    "apo_down": lambda c, r, b, e: s(c) + 1 - s(c - r),
}


def rows(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize("p", [1.0, 0.7, 0.5])
def test_every_loss_against_its_formula_in_one_piece_and_in_two(loss_type: str, p: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logps = [3 * torch.randn(5, generator=generator, dtype=torch.float64) for _ in range(4)]
    beta, noise = 0.4, 0.1
    expected = 0.0
    for pc, pr, rc, rr in zip(*(x.tolist() for x in logps), strict=True):
        c, r = beta * (pc - rc), beta * (pr - rr)
        q = p if loss_type == "robust" else p * (1 - noise) + (1 - p) * noise
        f = BY_HAND[loss_type]
        expected += (q * f(c, r, beta, noise) + (1 - q) * f(r, c, beta, noise)) / 5

    def loss(part: slice, denominator: float | None) -> float:
        return dpo_loss(
            *(x[part] for x in logps), beta=beta, loss_type=loss_type, label_smoothing=noise,
            p_chosen=torch.full((5,), p, dtype=torch.float64)[part], denominator=denominator,
        ).loss.item()  # fmt: skip

    assert loss(slice(5), None) == pytest.approx(expected, rel=1e-6)
    assert loss(slice(2), 5.0) + loss(slice(2, 5), 5.0) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_gradients_of_every_loss(loss_type: str) -> None:
    generator = torch.Generator().manual_seed(1)
    logps = [torch.randn(3, generator=generator, dtype=torch.float64) for _ in range(4)]
    inputs = [x.requires_grad_() for x in logps[:2]]
    assert torch.autograd.gradcheck(
        lambda a, b: (
            dpo_loss(a, b, *logps[2:], beta=0.3, loss_type=loss_type, label_smoothing=0.2).loss
        ),
        inputs,
    )


def test_ipo_has_its_optimum_at_half_over_beta() -> None:
    zero = rows(0.0)
    chosen = rows(1 / (2 * 0.2)).requires_grad_()
    dpo_loss(chosen, zero, zero, zero, beta=0.2, loss_type="ipo").loss.backward()
    assert chosen.grad is not None and chosen.grad.item() == pytest.approx(0.0, abs=1e-12)


def test_robust_is_unbiased_under_wrong_labels() -> None:
    """Averaged over labels that are wrong with probability e, it is the loss of the true ones."""
    zero, e = rows(0.0), 0.3
    for z in (-2.0, 0.5):
        seen = [
            dpo_loss(
                rows(x), zero, zero, zero, beta=1.0, loss_type="robust", label_smoothing=e
            ).loss.item()
            for x in (z, -z)
        ]
        true = dpo_loss(rows(z), zero, zero, zero, beta=1.0).loss.item()
        assert (1 - e) * seen[0] + e * seen[1] == pytest.approx(true)


def test_apo_pulls_the_chosen_up_and_down() -> None:
    def pull(loss_type: str) -> tuple[float, float]:
        zero = rows(0.0)
        c, r = (rows(0.0).requires_grad_() for _ in range(2))
        dpo_loss(c, r, zero, zero, beta=1.0, loss_type=loss_type).loss.backward()
        assert c.grad is not None and r.grad is not None
        return -c.grad.item(), -r.grad.item()

    assert pull("apo_zero") == pytest.approx((0.25, -0.25))
    chosen, rejected = pull("apo_down")
    assert chosen == pytest.approx(0.0) and rejected == pytest.approx(-0.25)


def test_hyperparameters_out_of_range_are_refused() -> None:
    four = [rows(0.0)] * 4
    for values, message in [
        ({"beta": 0.0}, "beta"),
        ({"beta": 1.0, "loss_type": "sigmod"}, "loss_type must be one of sigmoid"),
        ({"beta": 1.0, "label_smoothing": 0.5}, "label_smoothing"),
    ]:
        with pytest.raises(ValueError, match=message):
            dpo_loss(*four, **values)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="gamma"):
        simpo_loss(*four[:2], beta=1.0, gamma=-1.0)
    with pytest.raises(ValueError, match="beta"):
        orpo_loss(*four[:2], beta=-1.0)
    with pytest.raises(ValueError, match="weights"):
        kto_loss(*four[:2], rows(1.0).bool(), rows(0.0)[0], beta=1.0, desirable_weight=-1.0)
    with pytest.raises(ValueError, match="alpha"):
        response_logps(rows(0.0)[None], rows(1.0)[None].bool(), alpha=2.0)


def test_responses_as_sums_means_and_desensitised_sums() -> None:
    logprobs = torch.tensor([[9.0, -1.0, -2.0, -3.0], [9.0, -4.0, float("nan"), float("nan")]])
    mask = torch.tensor([[False, True, True, True], [False, True, False, False]])
    assert response_logps(logprobs, mask).tolist() == [-6.0, -4.0]
    assert response_logps(logprobs, mask, length_normalized=True).tolist() == [-2.0, -4.0]
    shorter = torch.tensor([1, 1])
    found = response_logps(logprobs, mask, public_lengths=shorter, alpha=0.5)
    assert found.tolist() == [-1.0 - 0.5 * 5.0, -4.0]


def test_simpo_by_hand() -> None:
    out = simpo_loss(rows(-1.0, -2.0), rows(-1.5, -1.0), beta=2.0, gamma=0.5, p_chosen=rows(1, 0.3))
    z = [1.0, -2.0]
    expected = -math.log(s(z[0] - 0.5)) / 2
    expected += (-0.3 * math.log(s(z[1] - 0.5)) - 0.7 * math.log(s(-z[1] - 0.5))) / 2
    assert out.loss.item() == pytest.approx(expected, rel=1e-6)
    assert out.accuracy.item() == 1.0 and out.margin.item() == pytest.approx(-0.5)


def test_orpo_by_hand_and_near_certainty() -> None:
    c, r = -0.5, -1.2
    odds = [math.exp(x) / (1 - math.exp(x)) for x in (c, r)]
    expected = 0.5 - 0.3 * math.log(s(math.log(odds[0] / odds[1])))
    out = orpo_loss(rows(c), rows(r), beta=0.3)
    assert out.loss.item() == pytest.approx(expected, rel=1e-6)
    assert out.log_odds_ratio.item() == pytest.approx(math.log(odds[0] / odds[1]))
    certain = torch.tensor([0.0], requires_grad=True)
    loss = orpo_loss(certain, torch.tensor([-1.0]), beta=1.0).loss
    loss.backward()
    assert torch.isfinite(loss) and certain.grad is not None and torch.isfinite(certain.grad).all()


def test_kto_by_hand() -> None:
    policy, reference = rows(-1.0, -4.0, -2.0), rows(-2.0, -3.0, -2.0)
    good = torch.tensor([True, False, False])
    z = kto_baseline(rows(-1.0, -2.0), rows(-1.5, -1.9))
    assert z.item() == pytest.approx(0.2)
    assert kto_baseline(rows(-3.0), rows(-1.0)).item() == 0.0
    out = kto_loss(policy, reference, good, z, beta=0.5, undesirable_weight=2.0)
    expected = (
        1 - s(0.5 * (1.0 - 0.2)) + 2 * (1 - s(0.5 * (0.2 + 1.0))) + 2 * (1 - s(0.5 * 0.2))
    ) / 3
    assert out.loss.item() == pytest.approx(expected, rel=1e-6)
    assert out.desirable_reward.item() == pytest.approx(0.5)
    assert out.undesirable_reward.item() == pytest.approx(-0.25)


def test_kto_pulls_good_responses_up_and_bad_ones_down() -> None:
    policy = rows(0.0, 0.0).requires_grad_()
    kto_loss(policy, rows(0.0, 0.0), torch.tensor([True, False]), rows(0.0)[0], beta=1.0)[
        0
    ].backward()
    assert policy.grad is not None
    assert policy.grad.tolist() == pytest.approx([-0.125, 0.125])


def test_gradients_of_the_others() -> None:
    generator = torch.Generator().manual_seed(2)
    a, b = (
        (-torch.rand(3, generator=generator, dtype=torch.float64) - 0.1).requires_grad_()
        for _ in range(2)
    )
    label = torch.tensor([0.2, 1.0, 0.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x, y: simpo_loss(x, y, beta=2.0, gamma=0.3, p_chosen=label).loss, (a, b)
    )
    assert torch.autograd.gradcheck(
        lambda x, y: orpo_loss(x, y, beta=0.7, p_chosen=label).loss, (a, b)
    )
    good = torch.tensor([True, False, True])
    assert torch.autograd.gradcheck(
        lambda x: kto_loss(x, b.detach(), good, rows(0.1)[0], beta=0.8).loss, (a,)
    )
