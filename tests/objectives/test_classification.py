"""The losses of labels: by hand, against torch's, with gradients, and in pieces."""

import math

import pytest
import torch

from accord.objectives.classification import label_loss


def test_exclusive_by_hand() -> None:
    logits = torch.tensor([[math.log(0.7), math.log(0.2), math.log(0.1)], [0.0, 0.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    out = label_loss(logits, targets, exclusive=True)
    assert out.loss.item() == pytest.approx((-math.log(0.7) + math.log(3)) / 2, abs=1e-6)
    assert out.accuracy.item() == 0.5  # of equal logits the first counts


def test_several_labels_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [-math.log(3), 200.0]])
    targets = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    out = label_loss(logits, targets, exclusive=False)
    expected = (math.log(2) - math.log(0.75) - math.log(0.75) + 200) / 4
    assert out.loss.item() == pytest.approx(expected, rel=1e-6)
    assert out.accuracy.item() == 0.5


@pytest.mark.parametrize("exclusive", [True, False])
def test_against_torch_and_gradients(exclusive: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.rand(6, 4, generator=generator, dtype=torch.float64)
    if exclusive:
        targets = targets / targets.sum(-1, keepdim=True)
        expected = torch.nn.functional.cross_entropy(logits, targets)
    else:
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    assert label_loss(logits, targets, exclusive=exclusive).loss.item() == pytest.approx(
        expected.item(), abs=1e-12
    )
    assert torch.autograd.gradcheck(
        lambda z: label_loss(z, targets, exclusive=exclusive).loss, (logits,)
    )


@pytest.mark.parametrize("exclusive", [True, False])
def test_pieces_sum_to_the_whole(exclusive: bool) -> None:
    logits, targets = torch.randn(5, 3), torch.eye(3)[[0, 1, 2, 0, 1]]
    whole = label_loss(logits, targets, exclusive=exclusive).loss
    pieces = [
        label_loss(logits[s], targets[s], exclusive=exclusive, denominator=5.0).loss
        for s in (slice(0, 2), slice(2, 5))
    ]
    assert sum(pieces).item() == pytest.approx(whole.item(), abs=1e-6)  # type: ignore[union-attr]


def test_shapes() -> None:
    with pytest.raises(ValueError, match=r"expected \(N, K\)"):
        label_loss(torch.zeros(2, 3), torch.zeros(2), exclusive=True)
