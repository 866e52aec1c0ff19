"""Several LoRA adapters on one policy, each row of a batch read with its own.

All of them lie beside each other as one low-rank product of larger rank, of which a row keeps the
part that is its adapter's: base(x) + up (part * (down x)). So the weights of the base are there
once, a batch mixes adapters freely, and a row without one has the base alone.
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from accord.core.errors import ModelError
from accord.models.linear import FastLinear, linear
from accord.models.logprobs import bare_model

_PARTS: ContextVar[Tensor | None] = ContextVar("parts", default=None)

_LowRank = tuple[Tensor, Tensor]
"""(r, K) and (N, r), the second with the adapter's scale in it."""


class AdaptedLinear(FastLinear):
    """A linear layer with what the current rows' adapters add: see `reading`."""

    down: nn.Parameter
    """(ranks of all adapters, K)"""
    up: nn.Parameter
    """(N, ranks of all adapters)"""

    def forward(self, states: Tensor) -> Tensor:
        """As `nn.Linear` of (..., K)."""
        product, parts = super().forward(states), _PARTS.get()
        if parts is None:
            return product
        return product + linear(linear(states, self.down) * parts, self.up)


class Adapters:
    """Names of a policy's adapters, and which of all ranks are whose."""

    def __init__(self, ranks: Mapping[str, int]) -> None:
        ends = itertools.accumulate(ranks.values())
        self.ranks = {n: slice(e - r, e) for (n, r), e in zip(ranks.items(), ends, strict=True)}
        self.size = sum(ranks.values())

    def parts(self, names: Sequence[str | None], like: Tensor) -> Tensor:
        """(R, size) ones on the ranks of each row's adapter; None has none.

        Args:
            names: of R rows.
            like: of the type and on the device that it should have.
        """
        parts = torch.zeros(len(names), self.size, dtype=like.dtype, device=like.device)
        for row, name in enumerate(names):
            if name is not None:
                parts[row, self.ranks[name]] = 1
        return parts


def adapters_of(policy: nn.Module) -> Adapters:
    """What `add_adapters` gave a policy; none otherwise."""
    found: Adapters = getattr(bare_model(policy), "several_adapters", Adapters({}))
    return found


def parts_of(policy: nn.Module, names: Sequence[str | None]) -> Tensor:
    """(R, size) of rows with these adapters; size 0 where the policy has no adapters."""
    return adapters_of(policy).parts(names, next(policy.parameters()))


@contextlib.contextmanager
def reading(parts: Tensor | None) -> Iterator[None]:
    """The policy's forward has these rows, while the context lasts; None reads the base alone.

    Args:
        parts: of `parts_of`, in a shape that meets (..., size) states.
    """
    token = _PARTS.set(parts)
    try:
        yield
    finally:
        _PARTS.reset(token)


def add_adapters(policy: PreTrainedModel, directories: Mapping[str, str]) -> None:
    """Put adapters on a policy, in place; until `reading` it is the policy that it was.

    Args:
        policy: a causal LM without adapters.
        directories: of plain adapters (`adapter_files.is_plain`) on this policy, by name.

    Raises:
        ModelError: adapters cannot be read, are not finite, or change what is no linear layer of
            the trunk.
    """
    found = {name: _read(policy, directory) for name, directory in directories.items()}
    adapters = Adapters(
        {name: max(len(down) for down, _ in parts.values()) for name, parts in found.items()}
    )
    modules = dict(policy.named_modules())
    for path in dict.fromkeys(path for parts in found.values() for path in parts):
        module: Any = modules[path]
        down = module.weight.new_zeros(adapters.size, module.in_features)
        up = module.weight.new_zeros(module.out_features, adapters.size)
        for name, parts in found.items():
            if path in parts:
                first = adapters.ranks[name].start
                mine = slice(first, first + len(parts[path][0]))
                down[mine], up[:, mine] = parts[path]
        module.__class__ = AdaptedLinear
        module.down, module.up = (nn.Parameter(t, requires_grad=False) for t in (down, up))
    policy.several_adapters = adapters  # type: ignore[assignment]


def _read(policy: PreTrainedModel, directory: str) -> dict[str, _LowRank]:
    """What a directory's adapters add to each layer, by its path; the policy is as it was."""
    config = PeftConfig.from_pretrained(directory)
    config.task_type = None  # no wrapper of one kind of model
    with torch.random.fork_rng(devices=[]):
        wrapped: Any = PeftModel.from_pretrained(policy, directory, config=config)
    layers = {n: m for n, m in wrapped.base_model.model.named_modules() if hasattr(m, "lora_A")}
    found = {
        path: (
            layer.lora_A["default"].weight.detach(),
            layer.scaling["default"] * layer.lora_B["default"].weight.detach(),
        )
        for path, layer in layers.items()
        if isinstance(layer.get_base_layer(), nn.Linear)
    }
    wrapped.unload()
    # Heads are read without adapters, and another kind of layer has another arithmetic.
    base: Any = policy
    head = base.get_output_embeddings()
    if len(found) < len(layers) or any(base.get_submodule(path) is head for path in found):
        raise ModelError(
            f"{directory}: adapts more than linear layers of the trunk, so it cannot share its "
            "base with others; merge it (accord export --to hf) and serve the result"
        )
    if not all(bool(t.isfinite().all()) for pair in found.values() for t in pair):
        # Rows are told apart by products with 0, which a NaN would pass through.
        raise ModelError(f"{directory}: its adapters have numbers that are not finite")
    return found
