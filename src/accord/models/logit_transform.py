"""What families of models do to their logits before the softmax."""

from typing import Any, NamedTuple

from torch import Tensor


class LogitTransform(NamedTuple):
    """What some families do to `states weight^T`, and the temperature, in this order."""

    multiplier: float
    softcap: float | None  # Gemma 2 and 3: cap * tanh(logits / cap)
    temperature: float

    @classmethod
    def of(cls, config: Any, temperature: float = 1.0) -> "LogitTransform":
        """That of a model's config."""
        softcap = getattr(config, "final_logit_softcapping", None)
        return cls(_multiplier(config), float(softcap) if softcap else None, temperature)

    def apply_(self, logits: Tensor) -> Tensor:
        """The transform, in place."""
        if self.multiplier != 1:
            logits *= self.multiplier
        if self.softcap is not None:
            logits.div_(self.softcap).tanh_().mul_(self.softcap)
        return logits if self.temperature == 1 else logits.div_(self.temperature)

    def backward_(self, gradient: Tensor, logits: Tensor | None) -> Tensor:
        """The gradient before the transform, in place; `logits` is what the transform gave."""
        if self.softcap is not None and logits is not None:
            tanh = logits * (self.temperature / self.softcap)
            gradient *= 1 - tanh.square()
        factor = self.multiplier / self.temperature
        return gradient if factor == 1 else gradient.mul_(factor)


def _multiplier(config: Any) -> float:
    """What a family multiplies its logits by."""
    family = str(getattr(config, "model_type", ""))
    if family.startswith("granite"):
        return 1 / float(config.logits_scaling)
    if family.startswith("cohere"):
        return float(config.logit_scale)
    if family.startswith("falcon_h1"):
        return float(config.lm_head_multiplier)
    return 1.0
