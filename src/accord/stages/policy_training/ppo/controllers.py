"""What PPO adapts from update to update: the KL coefficient, and the scale of the scores."""

import math
from dataclasses import dataclass


@dataclass
class KlController:
    """Coefficient of the KL penalty, fixed or proportional to the error.

        coef <- coef * (1 + clamp(kl / target - 1, -0.2, 0.2) * rollouts / horizon)

    Source: Ziegler et al. 2019, arXiv:1909.08593, section 2.2.
    """

    coef: float
    target_nats: float | None
    horizon: int

    def update(self, kl_nats: float, rollouts: int) -> None:
        """Take a batch's mean KL in nats a response."""
        if self.target_nats is not None:
            error = max(-0.2, min(0.2, kl_nats / self.target_nats - 1))
            self.coef *= 1 + error * rollouts / self.horizon


@dataclass
class RunningMoments:
    """Mean and variance of all scores so far, merged batch by batch (Chan et al. 1979)."""

    count: float = 0.0
    mean: float = 0.0
    sum_squares: float = 0.0  # of deviations from the mean

    def update(self, values: list[float]) -> None:
        """Take one batch."""
        n = len(values)
        mean = sum(values) / n
        spread = sum((v - mean) ** 2 for v in values)
        delta, total = mean - self.mean, self.count + n
        self.sum_squares += spread + delta**2 * self.count * n / total
        self.mean += delta * n / total
        self.count = total

    @property
    def std(self) -> float:
        """Deviation of all scores so far; 1 when they vary by no more than rounding."""
        deviation = math.sqrt(self.sum_squares / self.count) if self.count else 0.0
        return deviation if deviation > 1e-8 * max(1.0, abs(self.mean)) else 1.0
