"""What PPO's loop carries from update to update, beside weights and optimizers."""

from dataclasses import asdict
from typing import Any, NamedTuple, Self

from torch import nn

from accord.stages.policy_training.ppo.config import Config
from accord.stages.policy_training.ppo.controllers import KlController, RunningMoments
from accord.stages.policy_training.progress import Progress
from accord.training.average import MovingAverage


class LoopState(NamedTuple):
    """All of it is in a checkpoint, so that a resumed run goes on bit for bit."""

    progress: Progress
    controller: KlController
    moments: RunningMoments
    average: MovingAverage

    @classmethod
    def begin(cls, config: Config, policy: nn.Module, saved: dict[str, Any] | None) -> Self:
        """As a config says, or as a checkpoint has it."""
        average = MovingAverage(policy, decay=config.ema_decay)
        if saved is None:
            controller = KlController(config.kl_coef, config.target_kl_nats, config.kl_horizon)
            return cls(Progress(config.kl_budget_nats), controller, RunningMoments(), average)
        average.load(saved["average"])
        return cls(
            Progress(**saved["progress"]),
            KlController(**saved["controller"]),
            RunningMoments(**saved["moments"]),
            average,
        )

    def saved(self) -> dict[str, Any]:
        """Plain values and tensors, for a checkpoint."""
        return {
            "progress": self.progress.state(),
            "controller": asdict(self.controller),
            "moments": asdict(self.moments),
            "average": self.average.weights,
        }
