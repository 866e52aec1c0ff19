"""Comparisons: reading, encoding, and splits in which no prompt is on both sides."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from accord.core.errors import DataError
from accord.core.files import hash_json
from accord.core.types import Comparison, Message, Row
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.corpora.formats import to_comparisons
from accord.corpora.readers import read_rows


def load_comparisons(references: Sequence[str]) -> list[Comparison]:
    """All comparisons of some data sources.

    Raises:
        DataError: a source or one of its rows cannot be used; the message names the row.
    """
    return load_usable_comparisons(references, max_bad_rows=0)[0]


def load_usable_comparisons(
    references: Sequence[str], *, max_bad_rows: int
) -> tuple[list[Comparison], int]:
    """Comparisons (of a ranking all its pairs), and how many rows were left out as unusable.

    Raises:
        DataError: more than `max_bad_rows` cannot; it names the last of them and what is wrong.
    """
    comparisons, bad = [], 0
    for reference in references:
        for number, row in enumerate(read_rows(reference), start=1):
            try:
                comparisons += to_comparisons(row, f"{reference}, row {number}")
            except DataError:
                bad += 1
                if bad > max_bad_rows:
                    raise
    return comparisons, bad


@dataclass(frozen=True)
class EncodedPairs:
    """Both sides of each pair, in order; `cut_rows` lost the start of their prompt."""

    chosen: list[Encoded]
    rejected: list[Encoded]
    cut_rows: int

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each pair's longer side."""
        pairs = zip(self.chosen, self.rejected, strict=True)
        return [max(len(a), len(b)) for a, b in pairs]


def encode_pairs(
    comparisons: Sequence[Comparison], encoder: ChatEncoder, *, max_length: int
) -> EncodedPairs:
    """Token ids of both sides; over-long pairs are cut at the prompt's start, both alike.

    Raises:
        DataError: a response does not fit, or the two sides have the same ids.
    """
    chosen, rejected, cut_rows = [], [], 0
    for pair in comparisons:
        prompt = encoder.encode_prompt(pair.prompt)
        good, bad = (encoder.encode_response(text) for text in (pair.chosen, pair.rejected))
        room = max_length - max(len(good), len(bad))
        if room < 1:
            raise DataError(
                f"{pair.where}: a response of {max(len(good), len(bad))} tokens does not "
                f"fit max_length {max_length}; raise it, or leave the row out"
            )
        if good == bad:
            raise DataError(f"{pair.where}: 'chosen' and 'rejected' have the same tokens")
        cut = max(0, len(prompt) - room)
        cut_rows += cut > 0
        chosen.append(Encoded(prompt[cut:], good, cut))
        rejected.append(Encoded(prompt[cut:], bad, cut))
    return EncodedPairs(chosen, rejected, cut_rows)


def comparison_row(
    columns: Row,
    prompt: Sequence[Message],
    sides: tuple[str, str],
    p_first: float,
    *,
    task_id: str,
    votes: int,
) -> dict[str, Any]:
    """A comparison in its columns; `chosen` is the side with the probability of 1/2 or more.

    Responses are message lists: a text that looks like a transcript stays one response.
    """
    chosen, rejected = sides if p_first >= 0.5 else sides[::-1]
    return {
        **columns,
        "prompt": list(prompt),
        "chosen": [Message(role="assistant", content=chosen)],
        "rejected": [Message(role="assistant", content=rejected)],
        "p_chosen": max(p_first, 1 - p_first),
        "task_id": task_id,
        "votes": votes,
    }


def prompt_fraction(prompt: Sequence[Message], *, seed: int) -> float:
    """A number in [0, 1) that depends on the prompt and the seed alone: where a prompt belongs."""
    digest = hashlib.sha256(f"{seed}:{hash_json(list(prompt))}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_by_prompt(
    prompts: Sequence[Sequence[Message]], *, fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Indices of (kept, held out); about `fraction` is held out, and no prompt is on both sides."""
    held = [prompt_fraction(prompt, seed=seed) < fraction for prompt in prompts]
    indices = range(len(prompts))
    return [i for i in indices if not held[i]], [i for i in indices if held[i]]
