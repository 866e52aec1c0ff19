"""What an online loop remembers between updates; a checkpoint keeps all of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from accord.training.state import trained_weights


@dataclass
class Progress:
    """Updates done, the figures of the last held-out evaluation, the KL budget and the brake.

    `kept` are weights by module: those of the last evaluation within the budget, or of the best one
    by the gold scorer where the monitors may stop. `watched` is what the monitors remember, and
    `refreshes` tells when and by what the reward model was trained further.
    """

    budget_nats: float | None
    done: int = 0
    score_before: float = math.nan
    score: float = math.nan
    kl_nats: float = 0.0
    largest_gap_nats: float = 0.0
    is_over_budget: bool = False
    is_braked: bool = False
    kept: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    kept_step: int = 0
    kept_figures: list[float] = field(default_factory=list)
    watched: dict[str, Any] = field(default_factory=dict)
    refreshes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_stopped(self) -> bool:
        """Whether training ends before its last update, and goes back to what was kept."""
        return self.is_over_budget or self.is_braked

    def evaluated(
        self,
        metrics: Mapping[str, float],
        modules: Mapping[str, nn.Module],
        *,
        is_stopped: bool = False,
        is_kept: bool | None = None,
    ) -> None:
        """Take the figures of a held-out evaluation; those that stop training are not kept.

        Args:
            is_stopped: a monitor stops training.
            is_kept: whether to come back to this one (the first is always kept); None keeps each
                when there is a budget.
        """
        score, kl_nats = metrics["heldout/score"], metrics["heldout/kl_nats"]
        self.is_over_budget = self.budget_nats is not None and kl_nats > self.budget_nats
        self.is_braked = is_stopped
        if self.done == 0:
            self.score_before = score
        elif self.is_stopped:
            return
        self.score, self.kl_nats = score, kl_nats
        keeps = self.budget_nats is not None if is_kept is None else is_kept or self.done == 0
        if keeps:
            self.kept = {name: trained_weights(module) for name, module in modules.items()}
            self.kept_step, self.kept_figures = self.done, [score, kl_nats]

    def counted(self, metrics: Mapping[str, float]) -> Mapping[str, float]:
        """The metrics that a checkpoint is ranked by: none where training was stopped."""
        return {} if self.is_stopped else metrics

    def updated(self, metrics: Mapping[str, float]) -> None:
        """Count an update, and take the largest gap between sampler and trainer in it."""
        self.done += 1
        self.largest_gap_nats = max(self.largest_gap_nats, metrics["sampler_gap_nats/max"])

    def bring_back(self, modules: Mapping[str, nn.Module]) -> None:
        """Load what was kept, if training was stopped."""
        if self.is_stopped:
            for name, module in modules.items():
                module.load_state_dict(self.kept[name], strict=False)
            self.score, self.kl_nats = self.kept_figures

    def state(self) -> dict[str, Any]:
        """Plain values and tensors, for a checkpoint."""
        return dict(vars(self))
