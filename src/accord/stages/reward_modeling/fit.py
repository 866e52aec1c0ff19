"""The ranking loop, which the stage and every fold of its cross-validation run."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from accord.annotation.calibration import Floats
from accord.core import processes
from accord.core.device import default_device
from accord.core.run_dir import RunDir
from accord.corpora.encoding import ChatEncoder
from accord.models.heads import init_reward_model, score_head
from accord.models.lora import adapted
from accord.models.sharding import whole
from accord.objectives.bradley_terry import bradley_terry_loss
from accord.objectives.length_disentangled import length_disentangling_loss
from accord.stages.reward_modeling.config import Config
from accord.stages.reward_modeling.encoded import Pairs, head_layout
from accord.stages.reward_modeling.probe import fit_head
from accord.training.batches import micro_batches
from accord.training.fitting import fit_to_minimum
from accord.training.pair_batches import pair_readings


def fit(
    train: Pairs, validation: Pairs, encoder: ChatEncoder, config: Config, run_dir: RunDir
) -> tuple[nn.Module, int]:
    """Minimise the ranking loss from a fresh head; resumes from `run_dir`'s last checkpoint.

    Returns:
        the model at the moment of its lowest validation loss, and the steps taken.
    """
    start = config.model_name_or_path
    fresh = init_reward_model(
        start,
        device=default_device(),
        seed=config.seed,
        outputs=head_layout(config).rows,
        load_in_4bit=config.load_in_4bit,
    )
    if config.head_ridge is not None:
        fit_head(fresh, train, encoder, config, ridge=config.head_ridge)
    model = adapted(fresh, config)

    def learn(units: Sequence[int]) -> dict[str, float]:
        rows = [row for unit in units for row in train.units[unit]]
        return measure(model, train, rows, encoder, config, learn=torch.Tensor.backward)

    _, steps = fit_to_minimum(
        model,
        config,
        run_dir,
        name="reward model",
        lengths=train.unit_lengths,
        learn=learn,
        validate=lambda: heldout_figures(model, validation, encoder, config),
        shown=("loss", "reward/accuracy", "reward/margin"),
    )
    return whole(model), steps


@torch.no_grad()
def heldout_figures(
    model: nn.Module, pairs: Pairs, encoder: ChatEncoder, config: Config
) -> dict[str, float]:
    """Loss and accuracy of the score, over all pairs."""
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
    """Means over `rows`; `learn` is called with each piece's share of the global mean loss.

    Without it, the loss is that of the score alone, as whoever reads the model will see it.
    """
    layout = head_layout(config)
    totals = dict.fromkeys(("loss", "reward/margin", "right", "decided"), 0.0)
    denominator = float(pairs.weight[list(rows)].sum())
    of_length = None
    if layout.has_length and learn is not None:
        of_length = LengthGradient(model, pairs, rows, encoder, config)
    for piece in _pieces(pairs, rows, config):
        readings = pair_readings(model, pairs.encoded, piece, encoder, bf16=config.bf16)
        p_chosen, margin, weight, selectors = (
            t[piece].to(readings.device)
            for t in (pairs.p_chosen, pairs.margin, pairs.weight, pairs.selectors)
        )
        members = layout.members_of(readings, selectors)
        score = bradley_terry_loss(
            *members.mean(-1),
            p_chosen=p_chosen,
            margin=margin,
            weights=weight,
            centering=config.center_rewards_coefficient,
            denominator=denominator,
        )
        loss = score.loss
        if learn is not None:
            if layout.rows > len(layout.weights):
                loss = members_loss(readings, piece, pairs, config, denominator=denominator)
            learn(loss if of_length is None else loss + of_length.surrogate(readings, piece))
        totals["loss"] += loss.item()
        totals["reward/margin"] += score.score_margin.item() * len(piece) / len(rows)
        labelled = int((p_chosen != 0.5).sum())
        if labelled:
            totals["right"] += score.accuracy.item() * labelled
            totals["decided"] += labelled
    totals = processes.summed(totals)
    right, decided = totals.pop("right"), totals.pop("decided")
    figures = {**totals, "reward/accuracy": right / decided if decided else float("nan")}
    return figures if of_length is None else figures | of_length.figures


def members_loss(
    readings: Tensor, piece: Sequence[int], pairs: Pairs, config: Config, *, denominator: float
) -> Tensor:
    """Mean over members of each one's own loss, on its resampled pairs and with the length head.

    Args:
        readings: (2, n, outputs) of the piece's chosen and rejected sides.
        piece: rows of `pairs`, n of them.
        denominator: sum of the whole batch's weights.
    """
    layout = head_layout(config)
    rows = list(piece)
    members = layout.members_of(readings, pairs.selectors[rows])
    if layout.has_length:
        members = members + readings[..., -1:]
    count, device = layout.members, readings.device
    return bradley_terry_loss(
        *members.flatten(1),
        p_chosen=pairs.p_chosen[rows].repeat_interleave(count).to(device),
        margin=pairs.margin[rows].repeat_interleave(count).to(device),
        weights=(pairs.weight[rows, None] * pairs.resampled[rows]).flatten().to(device),
        centering=config.center_rewards_coefficient,
        denominator=denominator * count,
    ).loss


class LengthGradient:
    """The length-disentangling loss of a whole batch, although its pieces are computed apart.

    A correlation is no sum over rows. So the batch is read once without gradient, the loss's
    gradient by every reading is kept, and each piece adds it to its own loss: equal, at the price
    of a forward pass (gradient caching: Gao et al. 2021, arXiv:2101.06983).
    """

    def __init__(
        self,
        model: nn.Module,
        pairs: Pairs,
        rows: Sequence[int],
        encoder: ChatEncoder,
        config: Config,
    ) -> None:
        layout = head_layout(config)
        readings = all_readings(model, pairs, encoder, config, rows=rows)
        weight = score_head(model).weight
        readings = readings.to(weight.device).requires_grad_()
        lengths = [
            [len(sides[i].response_ids) for i in rows]
            for sides in (pairs.encoded.chosen, pairs.encoded.rejected)
        ]
        found = length_disentangling_loss(
            layout.scores(readings).flatten(),
            readings[..., -1].flatten(),
            torch.tensor(lengths, device=weight.device).flatten(),
            quality_weight=layout.scores(weight.T),
            length_weight=weight[-1],
        )
        # Every process sees the whole batch; the heads' own part must count once.
        inputs = [readings, weight] if processes.is_main() else [readings]
        torch.autograd.backward(found.loss, inputs=inputs)
        assert readings.grad is not None
        self.gradient = readings.grad
        self.column = {row: column for column, row in enumerate(rows)}
        self.figures = {
            "length/correlation": found.quality_correlation.item(),
            "length/head_correlation": found.length_correlation.item(),
        }

    def surrogate(self, readings: Tensor, piece: Sequence[int]) -> Tensor:
        """A scalar whose gradient by the piece's readings is that of the whole batch's loss."""
        gradient = self.gradient[:, [self.column[row] for row in piece]]
        # Its value is 0: the loss that is logged is the ranking's.
        return (gradient * (readings - readings.detach())).sum()


@torch.no_grad()
def all_readings(
    model: nn.Module,
    pairs: Pairs,
    encoder: ChatEncoder,
    config: Config,
    *,
    rows: Sequence[int] | None = None,
) -> Tensor:
    """(2, n, outputs) of some pairs, or of all, in order, on the CPU."""
    wanted = range(len(pairs.p_chosen)) if rows is None else rows
    column = {row: i for i, row in enumerate(wanted)}
    found = torch.zeros(2, len(wanted), score_head(model).weight.shape[0])
    for piece in _pieces(pairs, wanted, config):
        readings = pair_readings(model, pairs.encoded, piece, encoder, bf16=config.bf16).cpu()
        found[:, [column[row] for row in piece]] = readings
    return processes.summed_tensor(found)


def all_margins(readings: Tensor, pairs: Pairs, config: Config) -> Floats:
    """(N,) chosen ahead of rejected by what each pair was judged by, of (2, N, outputs)."""
    chosen, rejected = head_layout(config).members_of(readings, pairs.selectors).mean(-1)
    found: Floats = (chosen - rejected).double().numpy()
    return found


def _pieces(pairs: Pairs, rows: Sequence[int], config: Config) -> Iterable[list[int]]:
    budget = config.tokens_per_micro_batch // 2
    return micro_batches(rows, pairs.encoded.lengths, token_budget=budget)
