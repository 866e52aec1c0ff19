"""What an online loop remembers between updates; a checkpoint keeps all of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from accord.training.state import trained_weights


@dataclass
class Progress:
    """Updates done, the figures of the last held-out evaluation, and the KL budget.

    `kept` are the weights of the last evaluation within the budget, by module, when there is one.
    """

    budget_nats: float | None
    done: int = 0
    score_before: float = math.nan
    score: float = math.nan
    kl_nats: float = 0.0
    largest_gap_nats: float = 0.0
    is_over_budget: bool = False
    kept: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def evaluated(self, metrics: Mapping[str, float], modules: Mapping[str, nn.Module]) -> None:
        """Take the figures of a held-out evaluation; those beyond the budget are not kept."""
        score, kl_nats = metrics["heldout/score"], metrics["heldout/kl_nats"]
        self.is_over_budget = self.budget_nats is not None and kl_nats > self.budget_nats
        if self.done == 0:
            self.score_before = score
        if self.is_over_budget and self.done > 0:
            return
        self.score, self.kl_nats = score, kl_nats
        if self.budget_nats is not None:
            self.kept = {name: trained_weights(module) for name, module in modules.items()}

    def counted(self, metrics: Mapping[str, float]) -> Mapping[str, float]:
        """The metrics that a checkpoint is ranked by: none beyond the budget."""
        return {} if self.is_over_budget else metrics

    def updated(self, metrics: Mapping[str, float]) -> None:
        """Count an update, and take the largest gap between sampler and trainer in it."""
        self.done += 1
        self.largest_gap_nats = max(self.largest_gap_nats, metrics["sampler_gap_nats/max"])

    def bring_back(self, modules: Mapping[str, nn.Module]) -> None:
        """Load what was kept, if the budget was passed."""
        if self.is_over_budget:
            for name, module in modules.items():
                module.load_state_dict(self.kept[name], strict=False)

    def state(self) -> dict[str, Any]:
        """Plain values and tensors, for a checkpoint."""
        return dict(vars(self))
