"""Order, padding and splitting of batches."""

from itertools import chain

import torch

from accord.corpora.encoding import Encoded
from accord.training.batches import collate, epoch_batches, epoch_order, micro_batches


def test_collate_masks_by_length_not_by_id() -> None:
    rows = [Encoded((5, 6), (7, 0)), Encoded((0,), (0,))]
    batch = collate(rows, pad_id=0, device=torch.device("cpu"))
    assert batch.input_ids.tolist() == [[5, 6, 7, 0], [0, 0, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.target_mask.tolist() == [[False, False, True, True], [False, True, False, False]]


def test_an_epoch_has_every_row_once_and_depends_on_seed_and_epoch() -> None:
    lengths = [i % 7 + 1 for i in range(103)]
    batches = epoch_batches(lengths, batch_size=8, seed=1, epoch=0)
    assert sorted(chain.from_iterable(batches)) == list(range(103))
    assert batches == epoch_batches(lengths, batch_size=8, seed=1, epoch=0)
    assert batches != epoch_batches(lengths, batch_size=8, seed=1, epoch=1)
    assert epoch_order(9, seed=0, epoch=0) != epoch_order(9, seed=1, epoch=0)


def test_rows_of_like_length_share_a_batch() -> None:
    lengths = [10] * 8 + [100] * 8
    for batch in epoch_batches(lengths, batch_size=8, seed=0, epoch=0):
        assert len({lengths[i] for i in batch}) == 1


def test_micro_batches_keep_the_budget_and_every_row() -> None:
    lengths = [3, 9, 4, 40, 8, 2]
    pieces = micro_batches(range(6), lengths, token_budget=20)
    assert sorted(chain.from_iterable(pieces)) == list(range(6))
    for piece in pieces:
        assert len(piece) == 1 or max(lengths[i] for i in piece) * len(piece) <= 20
    assert [3] in pieces  # above the budget alone, and alone
