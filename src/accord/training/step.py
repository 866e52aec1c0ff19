"""The optimizer step: schedule, clipping, and the guard against non-finite numbers."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from accord.core import processes
from accord.core.errors import TrainingError
from accord.core.train_config import TrainConfig
from accord.models.sharding import share_of

MAX_SKIPPED_IN_A_ROW = 3


class StepReport(NamedTuple):
    """What one call of `Optimization.step` did."""

    grad_norm: float
    learning_rate: float
    was_skipped: bool


def warmup_cosine(*, warmup_steps: int, total_steps: int, floor: float) -> Callable[[int], float]:
    """Factor on the peak rate: linear from 1/warmup to 1, then a cosine down to `floor`."""

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return factor


def constant_after_warmup(*, warmup_steps: int) -> Callable[[int], float]:
    """Factor on the peak rate: linear from 1/warmup to 1, then 1."""
    return lambda step: min(1.0, (step + 1) / max(1, warmup_steps))


class Optimization:
    """Optimizers of one model with their schedule, clipping and guard.

    Args:
        optimizers: stepped together; each group's `lr` at construction is its peak.
        schedule: factor on the peak by step, from 0.
        max_grad_norm: global norm above which gradients are scaled down.
        dump_dir: where the batch of a non-finite step goes.
    """

    def __init__(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        *,
        schedule: Callable[[int], float],
        max_grad_norm: float,
        dump_dir: Path,
    ) -> None:
        self.optimizers = list(optimizers)
        self.schedule = schedule
        self.max_grad_norm = max_grad_norm
        self.dump_dir = dump_dir
        self.step_index = 0
        self.skipped_in_a_row = 0
        self._peaks = [[group["lr"] for group in o.param_groups] for o in self.optimizers]

    def parameters(self) -> list[nn.Parameter]:
        """All parameters that are stepped."""
        return [p for o in self.optimizers for group in o.param_groups for p in group["params"]]

    def step(self, loss: float, batch: Any) -> StepReport:
        """Clip, step, clear gradients; call it after `backward` with the global batch's loss.

        A non-finite loss or gradient norm skips the step and saves `batch` (anything that
        `torch.save` keeps) to `dump_dir/nonfinite-STEP.pt`.

        Raises:
            TrainingError: the third such step in a row.
        """
        parameters = self.parameters()
        processes.sum_gradients(parameters)
        norm = self._clip(parameters)
        factor = self.schedule(self.step_index)
        for optimizer, peaks in zip(self.optimizers, self._peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
        rate = float(self.optimizers[0].param_groups[0]["lr"])
        is_finite = math.isfinite(loss) and math.isfinite(norm)
        if is_finite:
            for optimizer in self.optimizers:
                optimizer.step()
            # Fused steps do not count themselves, and samplers ask whether weights have changed.
            torch.autograd.graph.increment_version(parameters)
            self.skipped_in_a_row = 0
        else:
            self._skip(loss, norm, batch)
        self.discard()
        self.step_index += 1
        return StepReport(norm, rate, not is_finite)

    def _clip(self, parameters: list[nn.Parameter]) -> float:
        """Scale gradients down to the greatest norm, now or in the step; gives their norm."""
        groups = [group for o in self.optimizers for group in o.param_groups]
        if not all(group.get("fused") for group in groups):  # a loaded state says so, too
            return _number(nn.utils.clip_grad_norm_(parameters, self.max_grad_norm))
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = float(nn.utils.get_total_norm(gradients))
        # A fused step divides what it reads anyway; scaling first would pass over all of it.
        scale = torch.tensor((norm + 1e-6) / self.max_grad_norm)  # as torch's clipping
        for optimizer in self.optimizers:
            optimizer.grad_scale = scale if scale > 1 else None  # type: ignore[attr-defined]
        return norm

    def discard(self) -> None:
        """Drop the accumulated gradients without a step."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def _skip(self, loss: float, norm: float, batch: Any) -> None:
        path = self.dump_dir / f"nonfinite-{self.step_index}.pt"
        if processes.is_main():
            torch.save(batch, path)
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise TrainingError(
                f"loss {loss}, gradient norm {norm}: {MAX_SKIPPED_IN_A_ROW} non-finite steps in a "
                f"row; the batches are in {self.dump_dir}; lower learning_rate or look at them"
            )

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs to go on bit for bit."""
        return {
            "optimizers": [o.state_dict() for o in self.optimizers],
            "step_index": self.step_index,
            "skipped_in_a_row": self.skipped_in_a_row,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo `state_dict`."""
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(_shares(saved, optimizer))
        self.step_index = state["step_index"]
        self.skipped_in_a_row = state["skipped_in_a_row"]


def _number(norm: Tensor) -> float:
    """A norm, of which each process may have a part."""
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def _shares(saved: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's saved state, cut as its parameters are; what is no grid of one stays."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    state = dict(saved["state"])
    for number, parameter in zip(numbers, parameters, strict=True):
        if number in state:
            state[number] = {
                name: share_of(value, parameter)
                if isinstance(value, Tensor) and value.shape == parameter.shape
                else value
                for name, value in state[number].items()
            }
    return {**saved, "state": state}


def adamw(
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.95),
) -> torch.optim.Optimizer:
    """AdamW over the trainable parameters; matrices are decayed, vectors are not."""
    trainable = [p for _, p in named_parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    is_whole = all(p.device.type == "cpu" and not isinstance(p, DTensor) for p in trainable)
    return torch.optim.AdamW(
        [g for g in groups if g["params"]],
        lr=learning_rate,
        betas=betas,
        fused=is_whole or None,  # a third of the time on a CPU
    )


def constant_rate(model: nn.Module, config: TrainConfig, *, dump_dir: Path) -> Optimization:
    """AdamW with linear warm-up and then a constant rate, for what learns from its own samples."""
    optimizer = adamw(
        model.named_parameters(),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
    )
    return Optimization(
        [optimizer],
        schedule=constant_after_warmup(warmup_steps=config.warmup_steps),
        max_grad_norm=config.max_grad_norm,
        dump_dir=dump_dir,
    )


def fine_tuning(
    model: nn.Module, config: TrainConfig, *, total_steps: int, dump_dir: Path
) -> Optimization:
    """AdamW with linear warm-up and a cosine to a tenth, as a stage's config says."""
    optimizer = adamw(
        model.named_parameters(),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
    )
    return Optimization(
        [optimizer],
        schedule=warmup_cosine(
            warmup_steps=config.warmup_steps, total_steps=total_steps, floor=0.1
        ),
        max_grad_norm=config.max_grad_norm,
        dump_dir=dump_dir,
    )
