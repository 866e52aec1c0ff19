"""The moving average: its numbers by hand, and a module that gets its own weights back."""

import pytest
import torch
from torch import nn

from accord.training.average import MovingAverage


def linear(value: float) -> nn.Linear:
    module = nn.Linear(1, 1)
    nn.init.constant_(module.weight, value)
    module.bias.requires_grad_(False)
    return module


def test_numbers_by_hand() -> None:
    module = linear(4.0)
    average = MovingAverage(module, decay=0.75)
    for weight, expected in ((8.0, 5.0), (1.0, 4.0), (0.0, 3.0)):  # 3/4 average + 1/4 weight
        nn.init.constant_(module.weight, weight)
        average.update()
        assert average.weights["weight"].item() == expected
    assert list(average.weights) == ["weight"]  # what is frozen has no average


def test_against_the_sum_of_all_weights() -> None:
    """w_t weighs (1 - d) d^(T - t), the first of all d^T."""
    generator = torch.Generator().manual_seed(0)
    history = torch.randn(7, generator=generator, dtype=torch.float64)
    module = linear(0.0).double()
    nn.init.constant_(module.weight, history[0].item())
    average = MovingAverage(module, decay=0.9)
    for weight in history[1:]:
        nn.init.constant_(module.weight, weight.item())
        average.update()
    factors = [0.9**6] + [0.1 * 0.9 ** (6 - t) for t in range(1, 7)]
    expected = sum(f * w for f, w in zip(factors, history.tolist(), strict=True))
    assert average.weights["weight"].item() == pytest.approx(expected, rel=1e-12)


def test_the_module_gets_its_own_weights_back() -> None:
    module = linear(4.0)
    memory = module.weight.data_ptr()
    average = MovingAverage(module, decay=0.5)
    nn.init.constant_(module.weight, 0.1)
    average.update()
    with pytest.raises(RuntimeError, match="inside"), average.in_place():
        assert module.weight.item() == pytest.approx(2.05)
        raise RuntimeError("inside")
    assert module.weight.item() == torch.tensor(0.1).item()
    average.settle()
    assert module.weight.item() == pytest.approx(2.05)
    assert module.weight.data_ptr() == memory


def test_it_goes_on_from_a_checkpoint() -> None:
    first = MovingAverage(linear(4.0), decay=0.5)
    saved = {name: tensor.clone() for name, tensor in first.weights.items()}
    module = linear(8.0)
    again = MovingAverage(module, decay=0.5)
    again.load(saved)
    again.update()
    assert again.weights["weight"].item() == 6.0


def test_without_a_decay_it_is_nothing() -> None:
    module = linear(4.0)
    average = MovingAverage(module, decay=None)
    nn.init.constant_(module.weight, 1.0)
    average.update()
    with average.in_place():
        assert module.weight.item() == 1.0
    average.settle()
    assert module.weight.item() == 1.0 and average.weights == {}
    for decay in (0.0, 1.0):
        with pytest.raises(ValueError, match="decay must lie in"):
            MovingAverage(module, decay=decay)
