"""The ranking loop, which the stage and every fold of its cross-validation run."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from accord.core import processes
from accord.core.device import default_device
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.corpora.encoding import ChatEncoder
from accord.corpora.pairs import EncodedPairs
from accord.models.heads import init_reward_model, response_scores
from accord.models.lora import adapted
from accord.models.sharding import whole
from accord.objectives.bradley_terry import bradley_terry_loss
from accord.stages.reward_modeling.config import Config
from accord.stages.reward_modeling.encoded import Pairs, pair_batch
from accord.stages.reward_modeling.probe import fit_head
from accord.training.batches import (
    batch_at,
    micro_batches,
    steps_per_epoch,
    total_steps,
)
from accord.training.interrupt import stop_on_signal
from accord.training.state import Checkpoints, trained_weights
from accord.training.step import fine_tuning


def fit(
    train: Pairs, validation: Pairs, encoder: ChatEncoder, config: Config, run_dir: RunDir
) -> tuple[nn.Module, int]:
    """Minimise the ranking loss from a fresh head; resumes from `run_dir`'s last checkpoint.

    Returns:
        the model at the moment of its lowest validation loss, and the steps taken.
    """
    start = config.model_name_or_path
    fresh = init_reward_model(start, device=default_device(), seed=config.seed)
    if config.head_ridge is not None:
        fit_head(fresh, train, encoder, config, ridge=config.head_ridge)
    model = adapted(fresh, config)
    count = len(train.p_chosen)
    total = total_steps(count, config)
    optimizations = {"model": fine_tuning(model, config, total_steps=total, dump_dir=run_dir.path)}
    best: dict[str, Any] = {"loss": float("inf"), "weights": {}}
    checkpoints = Checkpoints(
        run_dir,
        modules={"model": model},
        optimizations=optimizations,
        every=config.save_steps,
        total=total,
        keep=config.save_total_limit,
    )
    done, best = checkpoints.restore() or (0, best)

    def evaluate() -> dict[str, float]:
        found = heldout_figures(model, validation, encoder, config)
        if found["loss"] < best["loss"]:
            best.update(loss=found["loss"], weights=trained_weights(model))
        return {f"validation/{key}": value for key, value in found.items()}

    with stop_on_signal() as stop, progress_bar("reward model", total) as bar:
        if done == 0:
            run_dir.log(0, evaluate())
        for step in range(done, total):
            batch = batch_at(train.encoded.lengths, step, config)
            metrics = measure(model, train, batch, encoder, config, learn=torch.Tensor.backward)
            report = optimizations["model"].step(metrics["loss"], {"rows": batch})
            done = step + 1
            metrics |= {"grad_norm": report.grad_norm, "learning_rate": report.learning_rate}
            metrics["epoch"] = done / steps_per_epoch(count, config)
            if done % config.eval_steps == 0 or done == total:
                metrics |= evaluate()
            run_dir.log(done, metrics)
            bar.update(done, {k: metrics[k] for k in ("loss", "reward/accuracy", "reward/margin")})
            checkpoints.after(done, best, stop, metrics)
    model.load_state_dict(best["weights"], strict=False)
    return whole(model), total


@torch.no_grad()
def heldout_figures(
    model: nn.Module, pairs: Pairs, encoder: ChatEncoder, config: Config
) -> dict[str, float]:
    """Loss and accuracy over all pairs."""
    return measure(model, pairs, range(len(pairs.p_chosen)), encoder, config, learn=None)


def measure(
    model: nn.Module,
    pairs: Pairs,
    rows: Sequence[int],
    encoder: ChatEncoder,
    config: Config,
    *,
    learn: Callable[[Tensor], Any] | None,
) -> dict[str, float]:
    """Means over `rows`; `learn` is called with each piece's share of the global mean loss."""
    totals = dict.fromkeys(("loss", "reward/margin", "right", "decided"), 0.0)
    budget = config.tokens_per_micro_batch // 2
    for piece in micro_batches(rows, pairs.encoded.lengths, token_budget=budget):
        scores = pair_scores(model, pairs.encoded, piece, encoder, config)
        p_chosen = pairs.p_chosen[piece].to(scores.device)
        out = bradley_terry_loss(
            scores[0],
            scores[1],
            p_chosen=p_chosen,
            margin=pairs.margin[piece].to(scores.device),
            denominator=float(len(rows)),
        )
        if learn is not None:
            learn(out.loss)
        totals["loss"] += out.loss.item()
        totals["reward/margin"] += out.score_margin.item() * len(piece) / len(rows)
        labelled = int((p_chosen != 0.5).sum())
        if labelled:
            totals["right"] += out.accuracy.item() * labelled
            totals["decided"] += labelled
    totals = processes.summed(totals)
    right, decided = totals.pop("right"), totals.pop("decided")
    return {**totals, "reward/accuracy": right / decided if decided else float("nan")}


def pair_scores(
    model: nn.Module, pairs: EncodedPairs, rows: Sequence[int], encoder: ChatEncoder, config: Config
) -> Tensor:
    """(2, n) scores of chosen and rejected, in one forward."""
    batch = pair_batch(pairs, rows, encoder)
    device = batch.input_ids.device.type
    with torch.autocast(device_type=device, dtype=torch.bfloat16, enabled=config.bf16):
        return response_scores(model, batch.input_ids, batch.attention_mask).view(2, -1)


@torch.no_grad()
def all_scores(model: nn.Module, pairs: Pairs, encoder: ChatEncoder, config: Config) -> Tensor:
    """(2, N) scores of every pair, in order, on the CPU."""
    found = torch.zeros(2, len(pairs.p_chosen))
    budget = config.tokens_per_micro_batch // 2
    for piece in micro_batches(
        range(len(pairs.p_chosen)), pairs.encoded.lengths, token_budget=budget
    ):
        found[:, piece] = pair_scores(model, pairs.encoded, piece, encoder, config).cpu()
    return processes.summed_tensor(found)
