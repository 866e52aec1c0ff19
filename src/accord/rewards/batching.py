"""Rows of unequal length as padded batches of a bounded size."""

from collections.abc import Sequence

import torch
from torch import Tensor


def padded(
    rows: Sequence[Sequence[int]], *, pad_id: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """(B, L) ids, right-padded, and (B, L) attention, 1 on real tokens, made from lengths."""
    lengths = torch.tensor([len(row) for row in rows])
    attention_mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    input_ids = torch.full(attention_mask.shape, pad_id)
    for index, row in enumerate(rows):
        input_ids[index, : len(row)] = torch.tensor(row)
    return input_ids.to(device), attention_mask.to(device)


def batches_by_length(lengths: Sequence[int], tokens_per_batch: int) -> list[list[int]]:
    """Indices from the shortest row to the longest, in batches of a bounded padded size.

    A row above the bound is a batch of its own.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        # Rows come sorted, so this row's length is what the batch is padded to.
        if batches and lengths[index] * (len(batches[-1]) + 1) <= tokens_per_batch:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
