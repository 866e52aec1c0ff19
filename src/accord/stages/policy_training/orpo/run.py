"""ORPO, visibly: no reference, one model in memory.

Source: Hong et al. 2024, arXiv:2403.07691.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from accord.core.device import seed_everything
from accord.core.run_dir import RunDir
from accord.corpora.encoding import ChatEncoder
from accord.models.loading import load_start, load_tokenizer, within_context
from accord.models.lora import adapted, save_trained
from accord.objectives.reference_free import orpo_loss
from accord.stages.policy_training.direct import Figures, fit, measure
from accord.stages.policy_training.orpo.config import Config
from accord.stages.policy_training.pairs import Pairs, pair_logps, read_pairs


@dataclass(frozen=True)
class Result:
    """What ORPO leaves; accuracy is the share of held-out pairs that are ranked as judged."""

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
    policy = load_start(config)
    longest = within_context(config.max_length, policy.config)
    train, held_out = read_pairs(config, encoder, max_length=longest)
    model = adapted(policy, config)
    everything = range(len(held_out.p_chosen))
    validation = fit(
        model,
        config,
        run_dir,
        name="ORPO",
        lengths=train.lengths,
        learn=lambda rows: _figures(model, train, rows, encoder, config),
        validate=lambda: _figures(model, held_out, everything, encoder, config),
        shown=("reward/accuracy", "odds/log_ratio"),
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
    model: nn.Module, pairs: Pairs, rows: Sequence[int], encoder: ChatEncoder, config: Config
) -> dict[str, float]:
    """Loss and margins over some pairs, with the loss's gradients where they are on."""

    def of_piece(piece: list[int], batch_size: float) -> Figures:
        chosen, rejected = pair_logps(model, pairs, piece, encoder, config, length_normalized=True)
        p_chosen = pairs.p_chosen[piece].to(chosen.device)
        out = orpo_loss(
            chosen, rejected, beta=config.beta, p_chosen=p_chosen, denominator=batch_size
        )
        count, decided = len(piece), int((p_chosen != 0.5).sum())
        means = {
            "odds/loss": (out.odds_loss, count),
            "odds/log_ratio": (out.log_odds_ratio, count),
            "reward/accuracy": (out.accuracy, decided),
            "logps/chosen": (chosen.mean(), count),
            "logps/rejected": (rejected.mean(), count),
        }
        return Figures(out.loss, means)

    return measure(of_piece, rows, pairs.lengths, token_budget=config.tokens_per_micro_batch)
