"""The loop of what is fitted to the minimum of a held-out loss."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.core.train_config import TrainConfig
from accord.training.batches import batch_at, steps_per_epoch, total_steps
from accord.training.interrupt import stop_on_signal
from accord.training.state import Checkpoints, trained_weights
from accord.training.step import fine_tuning


def fit_to_minimum(
    model: nn.Module,
    config: TrainConfig,
    run_dir: RunDir,
    *,
    name: str,
    lengths: Sequence[int],
    learn: Callable[[Sequence[int]], dict[str, float]],
    validate: Callable[[], dict[str, float]],
    shown: Sequence[str],
) -> tuple[float, int]:
    """Train, and leave the weights of the lowest validation loss; resumes from `run_dir`.

    Args:
        model: what trains.
        name: on the progress bar.
        lengths: tokens of each unit that a batch is drawn from.
        learn: leaves the gradients of the mean loss over some units, and gives their figures.
        validate: figures of all that is held out; called without gradient, also before step 1.
        shown: names of the figures on the progress bar.

    Returns:
        that loss, and the steps taken.
    """
    total = total_steps(len(lengths), config)
    optimization = fine_tuning(model, config, total_steps=total, dump_dir=run_dir.path)
    checkpoints = Checkpoints(
        run_dir,
        modules={"model": model},
        optimizations={"model": optimization},
        every=config.save_steps,
        total=total,
        keep=config.save_total_limit,
    )
    done, best = checkpoints.restore() or (0, {"loss": float("inf"), "weights": {}})

    @torch.no_grad()
    def evaluate() -> dict[str, float]:
        found = validate()
        if found["loss"] < best["loss"]:
            best.update(loss=found["loss"], weights=trained_weights(model))
        return {f"validation/{key}": value for key, value in found.items()}

    with stop_on_signal() as stop, progress_bar(name, total) as bar:
        if done == 0:
            run_dir.log(0, evaluate())
        for step in range(done, total):
            units = batch_at(lengths, step, config)
            metrics = learn(units)
            report = optimization.step(metrics["loss"], {"rows": units})
            done = step + 1
            metrics |= {"grad_norm": report.grad_norm, "learning_rate": report.learning_rate}
            metrics["epoch"] = done / steps_per_epoch(len(lengths), config)
            if done % config.eval_steps == 0 or done == total:
                metrics |= evaluate()
            run_dir.log(done, metrics)
            bar.update(done, {key: metrics[key] for key in shown})
            checkpoints.after(done, best, stop, metrics)
    model.load_state_dict(best["weights"], strict=False)
    return best["loss"], total
