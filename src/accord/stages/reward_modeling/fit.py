"""The ranking loop, which the stage and every fold of its cross-validation run."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from accord.core.device import default_device
from accord.core.errors import DataError, Interrupted
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.core.types import Comparison
from accord.corpora.encoding import ChatEncoder
from accord.corpora.pairs import EncodedPairs, encode_pairs
from accord.models.heads import init_reward_model, response_scores
from accord.models.lora import add_lora
from accord.objectives.bradley_terry import bradley_terry_loss
from accord.stages.reward_modeling.config import Config
from accord.training.batches import TokenBatch, collate, epoch_batches, micro_batches
from accord.training.interrupt import stop_on_signal
from accord.training.state import load_checkpoint, save_checkpoint
from accord.training.step import Optimization, adamw, warmup_cosine


class Pairs(NamedTuple):
    """Encoded pairs and their labels, (N,) each."""

    encoded: EncodedPairs
    p_chosen: Tensor
    margin: Tensor

    @classmethod
    def encode(
        cls, comparisons: Sequence[Comparison], encoder: ChatEncoder, config: Config
    ) -> "Pairs":
        """Token ids and labels of comparisons."""
        if not comparisons:
            raise DataError("reward: no comparisons on one side of the split; add some")
        return cls(
            encode_pairs(comparisons, encoder, max_length=config.max_length),
            torch.tensor([c.p_chosen for c in comparisons]),
            torch.tensor([c.margin for c in comparisons]),
        )


class Fitted(NamedTuple):
    """A reward model at its best, that moment's held-out figures, and the steps taken."""

    model: nn.Module
    heldout: dict[str, float]
    steps: int


def fit(
    train: Pairs, held_out: Pairs, encoder: ChatEncoder, config: Config, run_dir: RunDir
) -> Fitted:
    """Minimise the ranking loss from a fresh head; resumes from `run_dir`'s last checkpoint."""
    start = config.model_name_or_path
    model: nn.Module = init_reward_model(start, device=default_device(), seed=config.seed)
    if config.use_peft:
        model = add_lora(model, r=config.lora_r, alpha=config.lora_alpha, seed=config.seed)  # type: ignore[arg-type]
    per_epoch = -(-len(train.p_chosen) // config.per_device_train_batch_size)
    total = config.max_steps if config.max_steps > 0 else int(config.num_train_epochs * per_epoch)
    optimizer = adamw(
        model.named_parameters(),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
    )
    optimizations = {
        "model": Optimization(
            [optimizer],
            schedule=warmup_cosine(warmup_steps=config.warmup_steps, total_steps=total, floor=0.1),
            max_grad_norm=config.max_grad_norm,
            dump_dir=run_dir.path,
        )
    }
    modules = {"model": model}
    best: dict[str, Any] = {"loss": float("inf"), "heldout": {}, "weights": {}}
    restored = load_checkpoint(run_dir, modules=modules, optimizations=optimizations)
    if restored:
        best = restored[1]
    with stop_on_signal() as stop, progress_bar("reward model", total) as bar:
        for step in range(restored[0] if restored else 0, total):
            epoch, index = divmod(step, per_epoch)
            batch = epoch_batches(
                train.encoded.lengths,
                batch_size=config.per_device_train_batch_size,
                seed=config.seed,
                epoch=epoch,
            )[index]
            metrics = measure(model, train, batch, encoder, config, learn=torch.Tensor.backward)
            report = optimizations["model"].step(metrics["loss"], {"rows": batch})
            done = step + 1
            metrics |= {"grad_norm": report.grad_norm, "learning_rate": report.learning_rate}
            metrics["epoch"] = done / per_epoch
            if done % config.eval_steps == 0 or done == total:
                found = heldout_figures(model, held_out, encoder, config)
                metrics |= {f"validation/{key}": value for key, value in found.items()}
                if found["loss"] < best["loss"]:
                    best = {"loss": found["loss"], "heldout": found, "weights": _copy(model)}
            run_dir.log(done, metrics)
            bar.update(done, {k: metrics[k] for k in ("loss", "reward/accuracy", "reward/margin")})
            if (done % config.save_steps == 0 and done < total) or stop:
                save_checkpoint(
                    run_dir, done, modules=modules, optimizations=optimizations, loop=best
                )
            if stop and done < total:
                raise Interrupted(f"{run_dir.path}: stopped after step {done}; run again to resume")
    model.load_state_dict(best["weights"], strict=False)
    return Fitted(model, best["heldout"], total)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    return {name: t.clone() for name, t in model.state_dict().items() if name in trained}


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
    totals = {"loss": 0.0, "reward/margin": 0.0}
    right, decided = 0.0, 0
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
            right += out.accuracy.item() * labelled
            decided += labelled
    return {**totals, "reward/accuracy": right / decided if decided else float("nan")}


def pair_batch(pairs: EncodedPairs, rows: Sequence[int], encoder: ChatEncoder) -> TokenBatch:
    """Chosen sides, then rejected sides, in one padded batch (2n, L)."""
    sides = [pairs.chosen[i] for i in rows] + [pairs.rejected[i] for i in rows]
    return collate(sides, pad_id=encoder.pad_id, device=default_device())


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
    return found
