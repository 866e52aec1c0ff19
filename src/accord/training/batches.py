"""Deterministic order of rows, and right-padded batches with masks made from lengths."""

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from accord.core import processes
from accord.core.train_config import TrainConfig
from accord.corpora.demonstrations import EncodedDemonstration
from accord.corpora.encoding import Encoded
from accord.models.sharding import in_step


class TokenBatch(NamedTuple):
    """Right-padded rows: ids (B, L) long, attention (B, L) long, targets (B, L) bool."""

    input_ids: Tensor
    attention_mask: Tensor
    target_mask: Tensor


def collate(rows: Sequence[Encoded], *, pad_id: int, device: torch.device) -> TokenBatch:
    """Stack rows of unequal length; masks come from lengths, so `pad_id` may be any id."""
    length = max(len(row.input_ids) for row in rows)
    ids = np.full((len(rows), length), pad_id, dtype=np.int64)
    attention = np.zeros((len(rows), length), dtype=np.int64)
    targets = np.zeros((len(rows), length), dtype=bool)
    for i, row in enumerate(rows):
        n = len(row.input_ids)
        ids[i, :n] = row.input_ids
        attention[i, :n] = 1
        targets[i, len(row.prompt_ids) : n] = True
    return TokenBatch(
        torch.from_numpy(ids).to(device),
        torch.from_numpy(attention).to(device),
        torch.from_numpy(targets).to(device),
    )


def collate_demonstrations(
    rows: Sequence[EncodedDemonstration], *, pad_id: int, device: torch.device
) -> TokenBatch:
    """The same for rows whose targets may lie in several turns."""
    batch = collate([Encoded(row.input_ids, ()) for row in rows], pad_id=pad_id, device=device)
    targets = torch.zeros(batch.target_mask.shape, dtype=torch.bool)
    for i, row in enumerate(rows):
        targets[i, : len(row.target_mask)] = torch.tensor(row.target_mask)
    return batch._replace(target_mask=targets.to(device))


def rows_at(rows: int, step: int, *, size: int, seed: int) -> list[int]:
    """A step's rows: consecutive pieces of an endless sequence of shuffled epochs."""
    places = [divmod(position, rows) for position in range(step * size, (step + 1) * size)]
    orders = {epoch: epoch_order(rows, seed=seed, epoch=epoch) for epoch, _ in places}
    return [orders[epoch][index] for epoch, index in places]


def epoch_order(rows: int, *, seed: int, epoch: int) -> list[int]:
    """A permutation that depends on nothing but its arguments: a resumed run finds its place."""
    return [int(i) for i in np.random.default_rng([seed, epoch]).permutation(rows)]


def epoch_batches(
    lengths: Sequence[int], *, batch_size: int, seed: int, epoch: int
) -> list[list[int]]:
    """Row indices of each batch of an epoch, rows of like length together to save padding.

    Rows are shuffled, then sorted by length within windows of 16 batches, then the batches are
    shuffled; the last batch may be short. Deterministic in (seed, epoch).
    """
    order = epoch_order(len(lengths), seed=seed, epoch=epoch)
    window = 16 * batch_size
    batches = []
    for start in range(0, len(order), window):
        near = sorted(order[start : start + window], key=lambda i: lengths[i])
        batches += [near[i : i + batch_size] for i in range(0, len(near), batch_size)]
    shuffled = np.random.default_rng([seed, epoch, 1]).permutation(len(batches))
    return [batches[int(i)] for i in shuffled]


def steps_per_epoch(rows: int, config: TrainConfig) -> int:
    """Optimizer steps in a pass over the data; the last batch may be short."""
    return -(-rows // config.per_device_train_batch_size)


def total_steps(rows: int, config: TrainConfig) -> int:
    """Optimizer steps of a whole run."""
    if config.max_steps > 0:
        return config.max_steps
    return max(1, int(config.num_train_epochs * steps_per_epoch(rows, config)))


def batch_at(lengths: Sequence[int], step: int, config: TrainConfig) -> list[int]:
    """Row indices of a step's batch: a function of the step, so that a resumed run finds it."""
    epoch, index = divmod(step, steps_per_epoch(len(lengths), config))
    size = config.per_device_train_batch_size
    return list(_kept_epoch(tuple(lengths), size, config.seed, epoch)[index])


@functools.lru_cache(maxsize=4)
def _kept_epoch(
    lengths: tuple[int, ...], batch_size: int, seed: int, epoch: int
) -> list[list[int]]:
    """An epoch is sorted once, and not again for each of its steps."""
    return epoch_batches(lengths, batch_size=batch_size, seed=seed, epoch=epoch)


def micro_batches(
    batch: Sequence[int], lengths: Sequence[int], *, token_budget: int
) -> Iterable[list[int]]:
    """Split this process's share of a batch so that no piece has more than `token_budget` padded
    tokens; sums over the pieces, and over the processes, are sums over the batch.

    A single row above the budget is a piece of its own. Go through all of them.
    """
    rows = sorted(batch, key=lambda i: lengths[i])
    pieces = _pieces(processes.share(rows), lengths, token_budget)
    if not processes.shards():
        return pieces
    shares = [rows[rank :: processes.count()] for rank in range(processes.count())]
    return in_step(pieces, max(len(_pieces(share, lengths, token_budget)) for share in shares))


def even_micro_batches(
    batch: Sequence[int], lengths: Sequence[int], *, token_budget: int
) -> Iterable[tuple[list[int], float]]:
    """`micro_batches` with a weight each, for several sharded models that are read together.

    A process that has fewer pieces than another is given a row of weight 0 as often: its reading
    and its gradients keep the others company and are not to count.
    """
    rows = sorted(batch, key=lambda i: lengths[i])
    shares = [rows[rank :: processes.count()] for rank in range(processes.count())]
    counts = [len(_pieces(share, lengths, token_budget)) for share in shares]
    for piece in _pieces(processes.share(rows), lengths, token_budget):
        yield piece, 1.0
    if processes.shards():
        for _ in range(max(counts) - counts[processes.rank()]):
            yield rows[:1], 0.0


def _pieces(rows: Sequence[int], lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    pieces: list[list[int]] = []
    current: list[int] = []
    longest = 0
    for row in rows:
        longest = max(longest, lengths[row])
        if current and longest * (len(current) + 1) > token_budget:
            pieces.append(current)
            current, longest = [], lengths[row]
        current.append(row)
    return [*pieces, current] if current else pieces
