"""The faster product is the same product."""

import copy

import pytest
import torch
from torch import nn

from accord.models import linear as module
from accord.models.linear import FastLinear, linear, use_fast_linear


@pytest.fixture(autouse=True, params=[True, False], ids=["onednn", "blas"])
def _whatever_the_processor(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_IS_FASTER", request.param and module._IS_THERE)


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (0, 3), (1, 3)])
@pytest.mark.parametrize("has_bias", [False, True])
def test_values_and_gradients_are_those_of_the_plain_product(
    shape: tuple[int, ...], has_bias: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(shape, generator=generator, requires_grad=True)
    weight = torch.randn(7, 3, generator=generator, requires_grad=True)
    bias = torch.randn(7, generator=generator, requires_grad=True) if has_bias else None
    inputs = [t for t in (states, weight, bias) if t is not None]
    upstream = torch.randn(*shape[:-1], 7, generator=generator)
    expected = nn.functional.linear(states, weight, bias)
    found = linear(states, weight, bias)
    torch.testing.assert_close(found, expected)
    for ours, plain in zip(
        torch.autograd.grad(found, inputs, upstream),
        torch.autograd.grad(expected, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(ours, plain)


def test_it_takes_views_and_expanded_gradients() -> None:
    states = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).t().requires_grad_()
    weight = torch.randn(5, 6, requires_grad=True)
    linear(states, weight).sum().backward()
    torch.testing.assert_close(weight.grad, states.detach().sum(0).expand(5, 6))
    torch.testing.assert_close(states.grad, weight.detach().sum(0).expand(4, 6))


def test_frozen_weights_get_no_gradient() -> None:
    layer = nn.Linear(3, 2, bias=False).requires_grad_(False)
    use_fast_linear(layer)
    states = torch.randn(4, 3, requires_grad=True)
    layer(states).sum().backward()
    assert layer.weight.grad is None and states.grad is not None


def test_autocast_still_decides_the_precision() -> None:
    layer = FastLinear(3, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.randn(4, 3)).dtype == torch.bfloat16
    assert layer(torch.randn(4, 3)).dtype == torch.float32
    assert layer.double()(torch.randn(4, 3).double()).dtype == torch.float64


def test_names_and_copies_stay() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    use_fast_linear(model)
    assert all(isinstance(m, FastLinear) for m in (model[0], model[2]))
    copied = copy.deepcopy(model)
    assert isinstance(copied[0], FastLinear)
    assert before.keys() == copied.state_dict().keys()
    assert all(torch.equal(before[name], t) for name, t in copied.state_dict().items())
