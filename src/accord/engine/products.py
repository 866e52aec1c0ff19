"""Matrix products of a decoder's step: those that share an input joined, adapters beside them."""

from typing import Any

import torch
from torch import Tensor

from accord.models.adapters import AdaptedLinear
from accord.models.few_rows import FewRows
from accord.models.linear import Laid, linear


class Product:
    """Linear layers that read the same input, as one, with whatever peft's adapters add to them.

    Args:
        modules: bare, under peft, or with several adapters (`models.adapters`).
        dtype: in which they are multiplied.
    """

    def __init__(self, *modules: Any, dtype: torch.dtype) -> None:
        weights, biases = zip(*(_effective(module) for module in modules), strict=True)
        bias = None
        if any(b is not None for b in biases):
            zeros = [w.new_zeros(w.shape[0]) for w in weights]
            bias = torch.cat([z if b is None else b for b, z in zip(biases, zeros, strict=True)])
        self._laid = Laid(torch.cat(weights).to(dtype), None if bias is None else bias.to(dtype))
        self._low_rank = _low_rank(modules)

    @property
    def few(self) -> FewRows | None:
        """The bare product of a few rows, if that is all there is to it."""
        return None if self._low_rank is not None else self._laid.few

    def __call__(self, states: Tensor, parts: Tensor | None) -> Tensor:
        """(R, N) of (R, K).

        Args:
            states: what the layers read.
            parts: (R, ranks) of the rows' adapters; None where there are none.
        """
        product = self._laid(states)
        if self._low_rank is not None and parts is not None:
            down, up = self._low_rank
            low = linear(states, down).view(len(states), -1, parts.shape[1]) * parts[:, None]
            product.addmm_(low.flatten(1), up)
        return product


def _effective(module: Any) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a linear layer with whatever LoRA adds to it now."""
    base = module.base_layer if hasattr(module, "base_layer") else module
    weight: Tensor = base.weight.detach()
    if base is not module and not module.merged and not module.disable_adapters:
        for name in module.active_adapters:
            if name in module.lora_A:
                weight = weight + module.get_delta_weight(name).detach()
    return weight, None if base.bias is None else base.bias.detach()


def _low_rank(modules: tuple[Any, ...]) -> tuple[Tensor, Tensor] | None:
    """(n ranks, K) and (n ranks, N) of n modules, each with ranks of its own for every adapter."""
    adapted = [module for module in modules if isinstance(module, AdaptedLinear)]
    if not adapted:
        return None
    ranks = len(adapted[0].down)
    down = adapted[0].down.new_zeros(len(modules), ranks, modules[0].in_features)
    up = down.new_zeros(len(modules), ranks, sum(module.out_features for module in modules))
    end = 0
    for place, module in enumerate(modules):
        start, end = end, end + module.out_features
        if isinstance(module, AdaptedLinear):
            down[place], up[place, :, start:end] = module.down, module.up.t()
    return down.flatten(0, 1), up.flatten(0, 1)
