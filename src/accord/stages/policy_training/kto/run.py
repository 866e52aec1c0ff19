"""KTO, visibly. The reference's log-probs are computed once and kept with the run.

Source: Ethayarajh et al. 2024, arXiv:2402.01306.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from accord.core import processes
from accord.core.device import seed_everything
from accord.core.errors import DataError
from accord.core.run_dir import RunDir
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.corpora.opinions import Opinion, load_opinions
from accord.corpora.pairs import split_by_prompt
from accord.models.loading import load_start, load_tokenizer, within_context
from accord.models.lora import adapted, save_trained
from accord.objectives.dpo import response_logps
from accord.objectives.kto import kto_baseline, kto_loss
from accord.stages.policy_training.direct import (
    Figures,
    cached_reference,
    fit,
    measure,
    model_key,
    response_logprobs,
)
from accord.stages.policy_training.kto.config import Config
from accord.training.batches import epoch_order, micro_batches


@dataclass(frozen=True)
class Result:
    """What KTO leaves; the margin is the held-out rewards' mean, desirable less undesirable."""

    model: Path
    validation_loss: float
    heldout_margin: float
    desirable: int
    undesirable: int
    heldout_rows: int
    cut_rows: int


class Opinions(NamedTuple):
    """Responses with their labels (N,), and each prompt with a response to another one."""

    rows: list[Encoded]
    is_desirable: Tensor
    mismatched: list[Encoded]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row, at the wider of its two forms."""
        both = zip(self.rows, self.mismatched, strict=True)
        return [max(len(a.input_ids), len(b.input_ids)) for a, b in both]

    @classmethod
    def encode(
        cls, opinions: Sequence[Opinion], encoder: ChatEncoder, *, max_length: int
    ) -> "Opinions":
        """Token ids; over-long rows are cut at the prompt's start."""
        rows = []
        for opinion in opinions:
            try:
                rows.append(
                    encoder.encode(opinion.prompt, opinion.completion, max_length=max_length)
                )
            except DataError as error:
                raise DataError(f"{opinion.where}: {error}") from None
        mismatched = []
        # Shuffled: in a file's order both sides of a pair would be given the next pair's chosen
        # one, and undesirable responses would have no part in the reference point.
        order = epoch_order(len(rows), seed=0, epoch=0)
        donors = {row: _next_prompt(rows, order, place) for place, row in enumerate(order)}
        for i, row in enumerate(rows):
            other = rows[donors[i]]
            cut = max(0, len(row.prompt_ids) + len(other.response_ids) - max_length)
            mismatched.append(Encoded(row.prompt_ids[cut:], other.response_ids, cut))
        return cls(rows, torch.tensor([o.is_desirable for o in opinions]), mismatched)


def _next_prompt(rows: Sequence[Encoded], order: Sequence[int], place: int) -> int:
    """The next row in an order, cyclically, that has another prompt than the row at `place`."""
    for step in range(1, len(rows)):
        j = order[(place + step) % len(order)]
        if rows[j].prompt_ids != rows[order[place]].prompt_ids:
            return j
    raise DataError(
        "kto: all rows of a side have one prompt; expected at least two prompts to learn on, and "
        "two held out, since each is also read with a response to another"
    )


def run(config: Config, run_dir: RunDir) -> Result:
    """Train a policy on labelled responses and save it under `model/`."""
    seed_everything(config.seed)
    tokenizer = load_tokenizer(config.model_name_or_path)
    encoder = ChatEncoder(tokenizer)
    reference = load_start(config)
    longest = within_context(config.max_length, reference.config)
    train, held_out = (Opinions.encode(side, encoder, max_length=longest) for side in _read(config))
    train_reference, heldout_reference = (
        _reference_logps(name, reference, side, encoder, config, run_dir)
        for name, side in (("train", train), ("heldout", held_out))
    )
    model = adapted(reference, config)
    everything = range(len(held_out.rows))
    validation = fit(
        model,
        config,
        run_dir,
        name="KTO",
        lengths=train.lengths,
        learn=lambda rows: _figures(model, train, train_reference, rows, encoder, config),
        validate=lambda: _figures(model, held_out, heldout_reference, everything, encoder, config),
        shown=("reward/desirable", "reward/undesirable"),
    )
    save_trained(model, tokenizer, config, run_dir)
    desirable = int(train.is_desirable.sum())
    return Result(
        model=run_dir.model_path,
        validation_loss=validation["loss"],
        heldout_margin=validation["reward/desirable"] - validation["reward/undesirable"],
        desirable=desirable,
        undesirable=len(train.rows) - desirable,
        heldout_rows=len(held_out.rows),
        cut_rows=sum(row.cut > 0 for row in train.rows + held_out.rows),
    )


def _read(config: Config) -> tuple[list[Opinion], list[Opinion]]:
    train = [opinion for name in config.dataset_name for opinion in load_opinions(name)]
    if config.eval_dataset_name:
        held_out = load_opinions(config.eval_dataset_name)
    else:
        kept, held = split_by_prompt(
            [opinion.prompt for opinion in train], fraction=config.eval_fraction, seed=config.seed
        )
        train, held_out = [train[i] for i in kept], [train[i] for i in held]
    if not train or not held_out:
        raise DataError(
            f"kto: {len(train)} labelled responses to train on and {len(held_out)} held out; add "
            "data (ties do not count), raise eval_fraction, or name eval_dataset_name"
        )
    return train, held_out


def _figures(
    model: nn.Module,
    opinions: Opinions,
    reference: dict[str, Tensor],
    rows: Sequence[int],
    encoder: ChatEncoder,
    config: Config,
) -> dict[str, float]:
    """Loss and rewards over some rows, with the loss's gradients where they are on."""
    baseline = _baseline(model, opinions, reference, rows, encoder, config)

    def of_piece(piece: list[int], batch_size: float) -> Figures:
        logps = _logps(model, [opinions.rows[i] for i in piece], encoder, config)
        good = opinions.is_desirable[piece].to(logps.device)
        out = kto_loss(
            logps,
            reference["own"][piece].to(logps.device),
            good,
            baseline.to(logps.device),
            beta=config.beta,
            desirable_weight=config.desirable_weight,
            undesirable_weight=config.undesirable_weight,
            denominator=batch_size,
        )
        count = int(good.sum())
        means = {
            "reward/desirable": (out.desirable_reward, count),
            "reward/undesirable": (out.undesirable_reward, len(piece) - count),
            "kl_baseline_nats": (baseline, len(piece)),
        }
        return Figures(out.loss, means)

    return measure(of_piece, rows, opinions.lengths, token_budget=config.tokens_per_micro_batch)


@torch.no_grad()
def _baseline(
    model: nn.Module,
    opinions: Opinions,
    reference: dict[str, Tensor],
    rows: Sequence[int],
    encoder: ChatEncoder,
    config: Config,
) -> Tensor:
    """The reference point of a batch, over all of its rows at once."""
    found = torch.zeros(len(opinions.rows))
    budget = config.tokens_per_micro_batch
    for piece in micro_batches(rows, opinions.lengths, token_budget=budget):
        other = [opinions.mismatched[i] for i in piece]
        found[piece] = _logps(model, other, encoder, config).cpu()
    found = processes.summed_tensor(found)
    return kto_baseline(found[list(rows)], reference["mismatched"][list(rows)])


def _logps(
    model: nn.Module, rows: Sequence[Encoded], encoder: ChatEncoder, config: Config
) -> Tensor:
    return response_logps(*response_logprobs(model, rows, encoder, config))


def _reference_logps(
    name: str,
    reference: nn.Module,
    opinions: Opinions,
    encoder: ChatEncoder,
    config: Config,
    run_dir: RunDir,
) -> dict[str, Tensor]:
    """Log-probs of all responses under the untouched model, to their own and the other prompt."""

    def read(piece: list[int]) -> dict[str, Tensor]:
        return {
            side: _logps(reference, [rows[i] for i in piece], encoder, config)
            for side, rows in (("own", opinions.rows), ("mismatched", opinions.mismatched))
        }

    ids = [(r.prompt_ids, r.response_ids) for r in (*opinions.rows, *opinions.mismatched)]
    return cached_reference(
        run_dir,
        name,
        [model_key(config.model_name_or_path), config.bf16, ids],
        read,
        opinions.lengths,
        sides=("own", "mismatched"),
        token_budget=config.tokens_per_micro_batch,
    )
