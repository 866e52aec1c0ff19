"""DPO, visibly. The reference's log-probs are computed once and kept with the run.

Source: Rafailov et al. 2023, arXiv:2305.18290.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from accord.core import processes
from accord.core.device import default_device, seed_everything
from accord.core.errors import DataError
from accord.core.files import atomic_directory, hash_json, hash_path
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.corpora.encoding import ChatEncoder
from accord.corpora.pairs import EncodedPairs, encode_pairs, load_comparisons, split_by_prompt
from accord.models.loading import load_policy, load_tokenizer, save_model, within_context
from accord.models.logprobs import token_logprobs
from accord.models.lora import adapted, merged
from accord.objectives.dpo import Dpo, dpo_loss
from accord.stages.policy_training.dpo.config import Config
from accord.training.batches import (
    batch_at,
    collate,
    micro_batches,
    steps_per_epoch,
    total_steps,
)
from accord.training.interrupt import stop_on_signal
from accord.training.state import Checkpoints
from accord.training.step import fine_tuning


@dataclass(frozen=True)
class Result:
    """What DPO leaves; accuracy is the share of held-out pairs that the policy ranks as judged."""

    model: Path
    validation_loss: float
    heldout_accuracy: float
    steps: int
    pairs: int
    heldout_pairs: int
    cut_rows: int


class Pairs(NamedTuple):
    """Encoded pairs, their labels, and the reference's log-probs, (N,) each, in nats."""

    encoded: EncodedPairs
    p_chosen: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor


def run(config: Config, run_dir: RunDir) -> Result:
    """Train a policy on comparisons and save it under `model/`."""
    seed_everything(config.seed)
    tokenizer = load_tokenizer(config.model_name_or_path)
    encoder = ChatEncoder(tokenizer)
    reference = load_policy(config.model_name_or_path, device=default_device())
    train, held_out = _read(config, run_dir, reference, encoder)
    model = adapted(reference, config)
    count = len(train.p_chosen)
    total = total_steps(count, config)
    optimizations = {"model": fine_tuning(model, config, total_steps=total, dump_dir=run_dir.path)}
    checkpoints = Checkpoints(
        run_dir,
        modules={"model": model},
        optimizations=optimizations,
        every=config.save_steps,
        total=total,
    )
    restored = checkpoints.restore()
    validation: dict[str, float] = {}  # the last step always measures it
    with stop_on_signal() as stop, progress_bar("DPO", total) as bar:
        for step in range(restored[0] if restored else 0, total):
            batch = batch_at(train.encoded.lengths, step, config)
            metrics = _measure(model, train, batch, encoder, config, learns=True)
            report = optimizations["model"].step(metrics["loss"], {"rows": batch})
            done = step + 1
            metrics |= {"grad_norm": report.grad_norm, "learning_rate": report.learning_rate}
            metrics["epoch"] = done / steps_per_epoch(count, config)
            if done % config.eval_steps == 0 or done == total:
                with torch.no_grad():
                    rows = range(len(held_out.p_chosen))
                    validation = _measure(model, held_out, rows, encoder, config, learns=False)
                metrics |= {f"validation/{key}": value for key, value in validation.items()}
            run_dir.log(done, metrics)
            bar.update(done, {k: metrics[k] for k in ("loss", "reward/accuracy", "reward/margin")})
            checkpoints.after(done, {}, stop)
    save_model(merged(model), tokenizer, run_dir.model_path)
    return Result(
        model=run_dir.model_path,
        validation_loss=validation["loss"],
        heldout_accuracy=validation["reward/accuracy"],
        steps=total,
        pairs=count,
        heldout_pairs=len(held_out.p_chosen),
        cut_rows=train.encoded.cut_rows + held_out.encoded.cut_rows,
    )


def _read(
    config: Config, run_dir: RunDir, reference: PreTrainedModel, encoder: ChatEncoder
) -> tuple[Pairs, Pairs]:
    comparisons = load_comparisons(config.comparisons)
    if config.eval_comparisons:
        sides = [comparisons, load_comparisons([config.eval_comparisons])]
    else:
        split = split_by_prompt(
            [c.prompt for c in comparisons], fraction=config.eval_fraction, seed=config.seed
        )
        sides = [[comparisons[i] for i in side] for side in split]
    if not all(sides):
        raise DataError(
            f"{len(comparisons)} comparisons are too few to hold some out ({len(sides[0])} to "
            f"train on, {len(sides[1])} held out); add data, or name eval_comparisons"
        )
    longest = within_context(config.max_length, reference.config)
    weights = Path(config.model_name_or_path)
    model_key = hash_path(weights) if weights.exists() else config.model_name_or_path
    pairs = []
    for name, side in zip(("train", "heldout"), sides, strict=True):
        encoded = encode_pairs(side, encoder, max_length=longest)
        key = _cache_key(model_key, encoded, config)
        path = run_dir.path / f"reference-{name}-{key[:16]}"
        logps = _reference_logps(path, reference, encoded, encoder, config)
        p_chosen = torch.tensor([c.p_chosen for c in side])
        pairs.append(Pairs(encoded, p_chosen, logps["chosen"], logps["rejected"]))
    return pairs[0], pairs[1]


def _cache_key(model_key: str, pairs: EncodedPairs, config: Config) -> str:
    """All that the reference's log-probs depend on: kept ones of other data are never reused."""
    rows = [(r.prompt_ids, r.response_ids) for r in (*pairs.chosen, *pairs.rejected)]
    return hash_json([model_key, config.bf16, rows])


def _reference_logps(
    path: Path, reference: nn.Module, pairs: EncodedPairs, encoder: ChatEncoder, config: Config
) -> dict[str, Tensor]:
    """Summed log-probs of all responses under the untouched model, kept for a resumed run."""
    file = path / "logps.safetensors"
    if not file.exists():
        lengths = pairs.lengths
        found = {"chosen": torch.zeros(len(lengths)), "rejected": torch.zeros(len(lengths))}
        budget = config.tokens_per_micro_batch
        with torch.no_grad():
            for piece in micro_batches(range(len(lengths)), lengths, token_budget=budget // 2):
                chosen, rejected = _pair_logps(reference, pairs, piece, encoder, config)
                found["chosen"][piece], found["rejected"][piece] = chosen.cpu(), rejected.cpu()
        found = {side: processes.summed_tensor(logps) for side, logps in found.items()}
        with atomic_directory(path) as temporary:
            save_file(found, temporary / "logps.safetensors")
    return load_file(file)


def _pair_logps(
    model: nn.Module, pairs: EncodedPairs, rows: Sequence[int], encoder: ChatEncoder, config: Config
) -> tuple[Tensor, Tensor]:
    """(n,) summed log-probs of chosen and of rejected, in one padded forward."""
    device = default_device()
    sides = [pairs.chosen[i] for i in rows] + [pairs.rejected[i] for i in rows]
    batch = collate(sides, pad_id=encoder.pad_id, device=device)
    with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=config.bf16):
        logps = token_logprobs(model, *batch).logprobs.sum(dim=1)
    return logps[: len(rows)], logps[len(rows) :]


def _measure(
    model: nn.Module,
    pairs: Pairs,
    rows: Sequence[int],
    encoder: ChatEncoder,
    config: Config,
    *,
    learns: bool,
) -> dict[str, float]:
    """Means over `rows`, with their gradients when the model `learns`, however they are split."""
    names = ("loss", "reward/chosen", "reward/rejected", "logps/chosen", "logps/rejected")
    totals = dict.fromkeys((*names, "right", "decided"), 0.0)
    budget = config.tokens_per_micro_batch // 2
    for piece in micro_batches(rows, pairs.encoded.lengths, token_budget=budget):
        chosen, rejected = _pair_logps(model, pairs.encoded, piece, encoder, config)
        p_chosen = pairs.p_chosen[piece].to(chosen.device)
        out: Dpo = dpo_loss(
            chosen,
            rejected,
            pairs.reference_chosen[piece].to(chosen.device),
            pairs.reference_rejected[piece].to(chosen.device),
            beta=config.beta,
            p_chosen=p_chosen,
            denominator=float(len(rows)),
        )
        if learns:
            out.loss.backward()  # type: ignore[no-untyped-call]
        share = len(piece) / len(rows)
        totals["loss"] += out.loss.item()
        totals["reward/chosen"] += out.chosen_reward.item() * share
        totals["reward/rejected"] += out.rejected_reward.item() * share
        totals["logps/chosen"] += chosen.mean().item() * share
        totals["logps/rejected"] += rejected.mean().item() * share
        labelled = int((p_chosen != 0.5).sum())
        if labelled:
            totals["right"] += out.accuracy.item() * labelled
            totals["decided"] += labelled
    totals = processes.summed(totals)
    right, decided = totals.pop("right"), totals.pop("decided")
    totals["reward/margin"] = totals["reward/chosen"] - totals["reward/rejected"]
    totals["reward/accuracy"] = right / decided if decided else float("nan")
    return totals
