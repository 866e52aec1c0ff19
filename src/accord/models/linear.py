"""Float32 matrix products by oneDNN on CPUs that are not Intel's.

PyTorch multiplies float32 matrices by its BLAS, which is Intel's and runs at half the rate of
oneDNN or less on the processors of others; oneDNN ships with PyTorch and is used for bfloat16
anyway. On Intel's own it is the faster one, by a third for gradients of weights. Same precision,
same weights, same names: only the order of the sums differs.
"""

from typing import Any

import torch
from torch import Tensor, nn

from accord.models.few_rows import FewRows
from accord.models.native import is_intel


def _has_onednn() -> bool:
    """Whether the operator that `torch.compile` uses for linear layers is there and runs."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    try:
        _onednn(torch.ones(2, 3), torch.ones(4, 3))
    except (AttributeError, RuntimeError):
        return False
    return True


def _onednn(states: Tensor, weight: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, None, "none", [], "")
    return product


_IS_THERE = _has_onednn()
_IS_BLAS_AT_HOME = is_intel() and torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
_IS_FASTER = _IS_THERE and not _IS_BLAS_AT_HOME


class _Product(torch.autograd.Function):
    """states weight^T; its two gradients are products of the same kind."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(states, weight)
        return _onednn(states, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        states, weight = ctx.saved_tensors
        of_states = of_weight = None
        if ctx.needs_input_grad[0]:
            of_states = _onednn(gradient, weight.t())
        if ctx.needs_input_grad[1]:
            of_weight = weight_gradient(gradient, states)
        return of_states, of_weight


def weight_gradient(gradient: Tensor, states: Tensor) -> Tensor:
    """(N, K) gradient^T states of (T, N) and (T, K), without a gradient of its own.

    oneDNN copies a transposed factor on the left, so the narrower one goes there.
    """
    if gradient.shape[1] > states.shape[1]:
        return linear(states.t(), gradient.t()).t()
    return linear(gradient.t(), states.t())


def add_weight_gradient_(total: Tensor, gradient: Tensor, states: Tensor) -> None:
    """total (N, K) += gradient^T states of (T, N) and (T, K), which may be bfloat16."""
    if _IS_FASTER or states.dtype != total.dtype:
        total += weight_gradient(gradient, states)
    else:
        total.addmm_(gradient.t(), states)


def linear(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """states weight^T + bias, as `torch.nn.functional.linear`, which it is unless oneDNN is faster.

    Args:
        states: (..., K).
        weight: (N, K).
        bias: (N,) or None.

    Returns:
        (..., N), with gradients.
    """
    is_ours = (
        _IS_FASTER
        and states.dtype == weight.dtype == torch.float32
        and states.device.type == "cpu"
        and states.numel() > 0
        and not torch.is_autocast_enabled("cpu")
    )
    if not is_ours:
        return nn.functional.linear(states, weight, bias)
    flat = states.reshape(-1, states.shape[-1])
    product: Tensor = _Product.apply(flat, weight)  # type: ignore[no-untyped-call]
    product = product.view(*states.shape[:-1], weight.shape[0])
    return product if bias is None else product + bias


def product_dtype(device_type: str) -> torch.dtype:
    """What products of float32 are in: bfloat16 where autocast says so."""
    is_mixed = torch.is_autocast_enabled(device_type)
    is_brain = is_mixed and torch.get_autocast_dtype(device_type) == torch.bfloat16
    return torch.bfloat16 if is_brain else torch.float32


class FastLinear(nn.Linear):
    """`nn.Linear` whose float32 products on a CPU are oneDNN's."""

    def forward(self, states: Tensor) -> Tensor:
        """As `nn.Linear`."""
        return linear(states, self.weight, self.bias)


def use_fast_linear(model: nn.Module) -> None:
    """Give every plain `nn.Linear` of a model on the CPU the faster product, in place."""
    for module in model.modules():
        if type(module) is nn.Linear and module.weight.device.type == "cpu":
            module.__class__ = FastLinear


_LAID_FOR_ROWS = 32
"""Rows of a typical step; the layout is right for any number."""


class Laid:
    """A frozen product, its weight laid out for the processor where that helps.

    Where a few rows have a product of their own, it is laid out for that alone, and many rows are
    multiplied with the weight as it is: that costs them nothing where the BLAS is at home.

    Attributes:
        few: that product, or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._bias = bias
        self.few = FewRows.of(weight, bias)
        self._is_onednn = _IS_THERE and weight.device.type == "cpu" and self.few is None
        self._weight = (
            torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _LAID_FOR_ROWS)
            if self._is_onednn
            else weight
        )

    def __call__(self, states: Tensor) -> Tensor:
        """(R, N) of (R, K), without gradient."""
        if self.few is not None and 0 < len(states) <= self.few.most_rows:
            return self.few(states)
        if not self._is_onednn:
            return nn.functional.linear(states, self._weight, self._bias)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            states, self._weight, self._bias, "none", [], ""
        )
        return product
