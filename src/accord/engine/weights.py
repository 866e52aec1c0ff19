"""Weights that an engine takes: checked against the policy, copied where they are not its own."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from accord.core.errors import ModelError


class WeightsWatch:
    """Notices that an optimizer or `take_weights` wrote to a policy's weights."""

    def __init__(self, policy: nn.Module) -> None:
        self._policy = policy
        self._seen = self._state()

    def have_changed(self) -> bool:
        """Whether they, or what adapters add to them, are others than at the last call."""
        before, self._seen = self._seen, self._state()
        return bool(self._seen != before)

    def _state(self) -> Any:
        weights = [(p._version, p.data_ptr()) for p in self._policy.parameters()]
        modules: list[Any] = [m for m in self._policy.modules() if hasattr(m, "lora_A")]
        adapters = [
            (module.disable_adapters, module.merged, tuple(module.active_adapters))
            for module in modules
        ]
        return weights, adapters


def take_weights(policy: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Make `weights` the policy's; tensors that are its own memory are not copied.

    Raises:
        ModelError: names or shapes are not the policy's; its weights are as before.
    """
    own = policy.state_dict()
    _refuse_other_weights(own, weights)
    with torch.no_grad():
        for name, tensor in weights.items():
            if not _is_same_memory(own[name], tensor):
                own[name].copy_(tensor)


def _refuse_other_weights(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    unknown = sorted(set(weights) - set(own))
    # A tied weight has two names, of which a saved file holds one.
    given = {own[name].data_ptr() for name in weights if name in own}
    missing = sorted(name for name in own if own[name].data_ptr() not in given)
    misshapen = [n for n in weights if n in own and own[n].shape != weights[n].shape]
    for names, what in ((unknown, "unknown"), (missing, "missing"), (misshapen, "misshapen")):
        if names:
            raise ModelError(
                f"load_weights: {len(names)} weights are {what} ({', '.join(names[:3])}); expected "
                "the state dict of a model that is built like the engine's policy"
            )


def _is_same_memory(a: Tensor, b: Tensor) -> bool:
    return (a.device, a.dtype, a.data_ptr(), a.stride()) == (
        b.device,
        b.dtype,
        b.data_ptr(),
        b.stride(),
    )
