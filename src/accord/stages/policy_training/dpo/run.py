"""DPO, visibly. The reference's log-probs are computed once and kept with the run.

Source: Rafailov et al. 2023, arXiv:2305.18290; the other losses are in `objectives/dpo.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from accord.core.device import seed_everything
from accord.core.run_dir import RunDir
from accord.corpora.encoding import ChatEncoder
from accord.models.loading import load_start, load_tokenizer, within_context
from accord.models.lora import adapted, save_trained
from accord.objectives.dpo import dpo_loss
from accord.stages.policy_training.direct import (
    Figures,
    cached_reference,
    fit,
    measure,
    model_key,
)
from accord.stages.policy_training.dpo.config import Config
from accord.stages.policy_training.pairs import Pairs, pair_logps, read_pairs


@dataclass(frozen=True)
class Result:
    """What DPO leaves; accuracy is the share of held-out pairs that the policy ranks as judged."""

    model: Path
    validation_loss: float
    heldout_accuracy: float
    pairs: int
    heldout_pairs: int
    cut_rows: int


def run(config: Config, run_dir: RunDir) -> Result:
    """Train a policy on comparisons and save it under `model/`."""
    seed_everything(config.seed)
    tokenizer = load_tokenizer(config.model_name_or_path)
    encoder = ChatEncoder(tokenizer)
    reference = load_start(config)
    longest = within_context(config.max_length, reference.config)
    train, held_out = read_pairs(config, encoder, max_length=longest)
    train_reference, heldout_reference = (
        _reference_logps(name, reference, pairs, encoder, config, run_dir)
        for name, pairs in (("train", train), ("heldout", held_out))
    )
    model = adapted(reference, config)
    everything = range(len(held_out.p_chosen))
    validation = fit(
        model,
        config,
        run_dir,
        name="DPO",
        lengths=train.lengths,
        learn=lambda rows: _figures(model, train, train_reference, rows, encoder, config),
        validate=lambda: _figures(model, held_out, heldout_reference, everything, encoder, config),
        shown=("reward/accuracy", "reward/margin"),
    )
    save_trained(model, tokenizer, config, run_dir)
    return Result(
        model=run_dir.model_path,
        validation_loss=validation["loss"],
        heldout_accuracy=validation["reward/accuracy"],
        pairs=len(train.p_chosen),
        heldout_pairs=len(held_out.p_chosen),
        cut_rows=train.encoded.cut_rows + held_out.encoded.cut_rows,
    )


def _figures(
    model: nn.Module,
    pairs: Pairs,
    reference: dict[str, Tensor],
    rows: Sequence[int],
    encoder: ChatEncoder,
    config: Config,
) -> dict[str, float]:
    """Loss and rewards over some pairs, with the loss's gradients where they are on."""

    def of_piece(piece: list[int], batch_size: float) -> Figures:
        chosen, rejected = _logps(model, pairs, piece, encoder, config)
        p_chosen = pairs.p_chosen[piece].to(chosen.device)
        out = dpo_loss(
            chosen,
            rejected,
            reference["chosen"][piece].to(chosen.device),
            reference["rejected"][piece].to(chosen.device),
            beta=config.beta,
            loss_type=config.loss_type,
            label_smoothing=config.label_smoothing,
            p_chosen=p_chosen,
            denominator=batch_size,
        )
        count, decided = len(piece), int((p_chosen != 0.5).sum())
        means = {
            "reward/chosen": (out.chosen_reward, count),
            "reward/rejected": (out.rejected_reward, count),
            "reward/margin": (out.margin, count),
            "reward/accuracy": (out.accuracy, decided),
            "logps/chosen": (chosen.mean(), count),
            "logps/rejected": (rejected.mean(), count),
        }
        return Figures(out.loss, means)

    return measure(of_piece, rows, pairs.lengths, token_budget=config.tokens_per_micro_batch)


def _logps(
    model: nn.Module, pairs: Pairs, rows: Sequence[int], encoder: ChatEncoder, config: Config
) -> tuple[Tensor, Tensor]:
    return pair_logps(
        model,
        pairs,
        rows,
        encoder,
        config,
        length_normalized=config.length_normalized,
        alpha=config.ld_alpha,
    )


def _reference_logps(
    name: str,
    reference: nn.Module,
    pairs: Pairs,
    encoder: ChatEncoder,
    config: Config,
    run_dir: RunDir,
) -> dict[str, Tensor]:
    """Log-probs of all responses under the untouched model, read as the policy's will be."""
    rows = [
        (r.prompt_ids, r.response_ids) for r in (*pairs.encoded.chosen, *pairs.encoded.rejected)
    ]
    reading = [config.bf16, config.length_normalized, config.ld_alpha]

    def read(piece: list[int]) -> dict[str, Tensor]:
        return dict(
            zip(
                ("chosen", "rejected"),
                _logps(reference, pairs, piece, encoder, config),
                strict=True,
            )
        )

    return cached_reference(
        run_dir,
        name,
        [model_key(config.model_name_or_path), *reading, rows],
        read,
        pairs.lengths,
        sides=("chosen", "rejected"),
        token_budget=config.tokens_per_micro_batch,
    )
