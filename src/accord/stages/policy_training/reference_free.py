"""What the direct methods without a reference share: all but their loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from torch import Tensor, nn

from accord.core.device import seed_everything
from accord.core.run_dir import RunDir
from accord.corpora.encoding import ChatEncoder
from accord.models.loading import load_start, load_tokenizer, within_context
from accord.models.lora import adapted, save_trained
from accord.stages.policy_training.direct import Figures, fit, measure
from accord.stages.policy_training.pair_config import PairConfig
from accord.stages.policy_training.pairs import Pairs, pair_logps, read_pairs

C = TypeVar("C", bound=PairConfig)
C_contra = TypeVar("C_contra", bound=PairConfig, contravariant=True)


@dataclass(frozen=True)
class Result:
    """What the stage leaves; accuracy is the share of held-out pairs that are ranked as judged."""

    model: Path
    validation_loss: float
    heldout_accuracy: float
    pairs: int
    heldout_pairs: int
    cut_rows: int


class PairLoss(Protocol[C_contra]):
    """A method's loss of some pairs."""

    def __call__(
        self,
        chosen: Tensor,
        rejected: Tensor,
        config: C_contra,
        *,
        p_chosen: Tensor,
        denominator: float,
    ) -> tuple[Tensor, Tensor, Mapping[str, Tensor]]:
        """The loss, the accuracy, and other means by name.

        Args:
            chosen: (n,) mean log-probs of the chosen responses' tokens.
            rejected: (n,) of the rejected ones'.
            config: the method's.
            p_chosen: (n,).
            denominator: pairs of the whole batch.
        """


def train(
    config: C, run_dir: RunDir, *, name: str, loss: PairLoss[C], shown: Sequence[str]
) -> Result:
    """Train a policy on comparisons and save it under `model/`."""
    seed_everything(config.seed)
    tokenizer = load_tokenizer(config.model_name_or_path)
    encoder = ChatEncoder(tokenizer)
    policy = load_start(config)
    longest = within_context(config.max_length, policy.config)
    train_pairs, held_out = read_pairs(config, encoder, max_length=longest)
    model = adapted(policy, config)
    everything = range(len(held_out.p_chosen))
    validation = fit(
        model,
        config,
        run_dir,
        name=name,
        lengths=train_pairs.lengths,
        learn=lambda rows: _figures(model, train_pairs, rows, encoder, config, loss),
        validate=lambda: _figures(model, held_out, everything, encoder, config, loss),
        shown=shown,
    )
    save_trained(model, tokenizer, config, run_dir)
    return Result(
        model=run_dir.model_path,
        validation_loss=validation["loss"],
        heldout_accuracy=validation["reward/accuracy"],
        pairs=len(train_pairs.p_chosen),
        heldout_pairs=len(held_out.p_chosen),
        cut_rows=train_pairs.encoded.cut_rows + held_out.encoded.cut_rows,
    )


def _figures(
    model: nn.Module,
    pairs: Pairs,
    rows: Sequence[int],
    encoder: ChatEncoder,
    config: C,
    loss: PairLoss[C],
) -> dict[str, float]:
    """Loss and means over some pairs, with the loss's gradients where they are on."""

    def of_piece(piece: list[int], batch_size: float) -> Figures:
        chosen, rejected = pair_logps(model, pairs, piece, encoder, config, length_normalized=True)
        p_chosen = pairs.p_chosen[piece].to(chosen.device)
        value, accuracy, others = loss(
            chosen, rejected, config, p_chosen=p_chosen, denominator=batch_size
        )
        means = {
            **others,
            "logps/chosen": chosen.mean(),
            "logps/rejected": rejected.mean(),
        }
        counted = {key: (mean, len(piece)) for key, mean in means.items()}
        decided = int((p_chosen != 0.5).sum())
        return Figures(value, {**counted, "reward/accuracy": (accuracy, decided)})

    return measure(of_piece, rows, pairs.lengths, token_budget=config.tokens_per_micro_batch)
