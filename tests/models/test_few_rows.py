"""Products of a few rows beside PyTorch's, in float64 and in the order of their sums."""

import pytest
import torch
from torch import Tensor

from accord.models import few_rows
from accord.models.few_rows import MOST_HALF_ROWS, MOST_ROWS, FewRows
from accord.models.linear import Laid

KINDS = [torch.float32, torch.bfloat16]


def laid(weight: Tensor) -> FewRows:
    found = FewRows.of(weight)
    if found is None:
        pytest.skip("this processor has no faster product")
    return found


def random(*shape: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator).to(dtype)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("rows", [1, 7, 8, 15, 16, 17, 31, 32, 33, 48, 100, MOST_ROWS, 1000])
def test_products_are_right(dtype: torch.dtype, rows: int) -> None:
    weight, states = random(96, 160, dtype=dtype), random(rows, 160, dtype=dtype)
    found = laid(weight)(states)
    exact = states.double() @ weight.double().t()
    assert found.dtype == dtype and found.shape == (rows, 96)
    # bfloat16 is summed in float32 and rounded once: to half of its 2^-8.
    tolerance = 1e-6 if dtype == torch.float32 else 2.0**-8
    sizes = states.double().abs() @ weight.double().abs().t()
    room = sizes * 1e-6 + exact.abs() * tolerance
    assert bool(((found.double() - exact).abs() <= room).all())


@pytest.mark.parametrize("dtype", KINDS)
def test_a_row_is_the_same_whatever_stands_beside_it(dtype: torch.dtype) -> None:
    product, states = laid(random(64, 96, dtype=dtype)), random(MOST_ROWS, 96, dtype=dtype)
    whole = product(states)
    for rows in (1, 9, 40):
        assert torch.equal(product(states[:rows]), whole[:rows])
    assert torch.equal(product(states[70:75]), whole[70:75])


@pytest.mark.parametrize("dtype", KINDS)
def test_nan_and_infinity_stay(dtype: torch.dtype) -> None:
    states = torch.ones(3, 32, dtype=dtype)
    states[1, 5], states[2, 7] = float("nan"), float("inf")
    found = laid(torch.ones(32, 32, dtype=dtype))(states)
    assert bool(found[0].isfinite().all())
    assert bool(found[1].isnan().all() and found[2].isinf().all())


def test_other_sizes_and_numbers_are_the_library_s() -> None:
    assert FewRows.of(torch.ones(33, 32)) is None
    assert FewRows.of(torch.ones(32, 33)) is None
    assert FewRows.of(torch.ones(32, 32, dtype=torch.float64)) is None


def test_without_a_compiler_or_on_other_processors_it_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(few_rows, "_library", lambda: None)
    few_rows._kinds.cache_clear()
    try:
        assert FewRows.of(torch.ones(32, 32)) is None
        weight, states, bias = torch.randn(64, 32), torch.randn(3, 32), torch.randn(64)
        expected = torch.nn.functional.linear(states, weight, bias)
        torch.testing.assert_close(Laid(weight, bias)(states), expected)
    finally:
        few_rows._kinds.cache_clear()


def test_a_system_without_proc_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", missing)
    few_rows._library.cache_clear()
    try:
        assert FewRows.of(torch.ones(32, 32)) is None
    finally:
        few_rows._library.cache_clear()


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("rows", [3, MOST_ROWS + 1, MOST_HALF_ROWS + 1])
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_laid_product_is_the_linear_layer_s(
    dtype: torch.dtype, rows: int, has_bias: bool
) -> None:
    weight, states = random(64, 32, dtype=dtype), random(rows, 32, dtype=dtype)
    bias = random(64, dtype=dtype) if has_bias else None
    exact = None if bias is None else bias.double()
    expected = torch.nn.functional.linear(states.double(), weight.double(), exact)
    found = Laid(weight, bias)(states).double()
    room = 2.0**-8 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(found, expected, rtol=room, atol=room)
