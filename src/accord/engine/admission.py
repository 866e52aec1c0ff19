"""Who of a queue may join the rows that run."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from accord.engine.requests import CooperativeGeneration
from accord.models.logprobs import bare_model


class Admission:
    """Lets requests join in groups, since each time the cache of all that run is moved.

    Args:
        policy: whose keys and values are kept.
        max_batch_size: rows that run together.
        cache_mb: MiB for their keys and values, counted by the most tokens they may get; a row
            alone runs whatever it takes. None: no limit.
        most_held_up: steps for which a request waits until a quarter of the rows is free; then it
            takes whatever room there is. None: for ever, which gives the most tokens a second.
    """

    def __init__(
        self,
        policy: nn.Module,
        *,
        max_batch_size: int,
        cache_mb: int | None = None,
        most_held_up: int | None = None,
    ) -> None:
        if max_batch_size < 1:
            raise ValueError(f"max_batch_size must be at least 1, got {max_batch_size}")
        self._most_rows = max_batch_size
        self._most_columns = None if cache_mb is None else cache_mb * 2**20 // _column_bytes(policy)
        self._most_held_up = most_held_up
        self._held_up = 0

    def count(
        self, running: Sequence[CooperativeGeneration], queue: Sequence[CooperativeGeneration]
    ) -> int:
        """How many of the queue, from its start, may join before the next step; ask once a step."""
        free = self._most_rows - len(running)
        is_patient = self._most_held_up is None or self._held_up < self._most_held_up
        found = 0 if is_patient and 4 * free < self._most_rows else self._fitting(running, queue)
        self._held_up = 0 if found or not queue else self._held_up + 1
        return found

    def _fitting(
        self, running: Sequence[CooperativeGeneration], queue: Sequence[CooperativeGeneration]
    ) -> int:
        """All rows have as many columns as the longest."""
        waiting = queue[: self._most_rows - len(running)]
        if self._most_columns is None:
            return len(waiting)
        width = max(map(_longest, running), default=0)
        for count, generation in enumerate(waiting):
            width, rows = max(width, _longest(generation)), len(running) + count + 1
            if rows > 1 and rows * width > self._most_columns:
                return count
        return len(waiting)


def _longest(generation: CooperativeGeneration) -> int:
    request = generation.request
    return len(request.prompt_ids) + request.params.max_new_tokens


def _column_bytes(policy: nn.Module) -> int:
    """Of a row's token, with the room that `Columns` keeps."""
    base: Any = bare_model(policy)
    config = base.config.get_text_config()
    queries = getattr(config, "num_attention_heads", 0)
    if not queries:
        return 1  # a state of one size: nothing grows
    heads = getattr(config, "num_key_value_heads", None) or queries
    dim = getattr(config, "head_dim", None) or config.hidden_size // queries
    size = base.get_input_embeddings().weight.element_size()
    return int(2 * 2 * size * config.num_hidden_layers * heads * dim)
