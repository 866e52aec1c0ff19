"""Demonstrations: reading, and encoding with a mask of what is trained on."""

from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from accord.core.errors import DataError, ModelError
from accord.core.types import Demonstration, Message
from accord.corpora.encoding import ChatEncoder
from accord.corpora.formats import to_demonstration
from accord.corpora.readers import read_rows


@dataclass(frozen=True)
class Source:
    """A demonstration, its place for error messages, and how much of it is imitated."""

    where: str
    demonstration: Demonstration
    trains_every_turn: bool  # a `messages` row: all that the assistant says in it

    @property
    def opening(self) -> tuple[Message, ...]:
        """What no target precedes: rows that share it belong on the same side of a split."""
        prompt = self.demonstration.prompt
        if not self.trains_every_turn:
            return prompt
        return tuple(takewhile(lambda message: message["role"] != "assistant", prompt))


@dataclass(frozen=True)
class EncodedDemonstration:
    """Token ids of a row, and True on those that are trained on."""

    input_ids: tuple[int, ...]
    target_mask: tuple[bool, ...]
    cut: int = 0  # tokens removed from the start to fit

    @property
    def targets(self) -> int:
        """Tokens that are trained on."""
        return sum(self.target_mask)


def load_demonstrations(reference: str) -> list[Source]:
    """All demonstrations of a data source.

    Raises:
        DataError: a row cannot be used; the message names it.
    """
    return [
        to_source(row, f"{reference}, row {number}")
        for number, row in enumerate(read_rows(reference), start=1)
    ]


def to_source(row: dict[str, Any], where: str) -> Source:
    """A row as a demonstration that knows its place."""
    is_conversation = row.get("messages") is not None and row.get("chosen") is None
    return Source(where, to_demonstration(row, where), is_conversation)


def encode_demonstration(
    source: Source, encoder: ChatEncoder, *, max_length: int
) -> EncodedDemonstration:
    """Ids and targets of a row, cut to `max_length` at its start.

    A `messages` row has the ids of its last turn's prompt and response, as any other row; the
    assistant's earlier turns, each with its end of turn, are targets too.

    Raises:
        DataError: the last response alone does not fit, or an earlier one is empty.
        ModelError: the chat template writes earlier turns otherwise before a new one.
    """
    shown = source.demonstration
    try:
        row = encoder.encode(shown.prompt, shown.completion, max_length=max_length)
    except DataError as error:
        raise DataError(
            f"{source.where}: {error}; raise max_length, or leave the row out"
        ) from None
    mask = list(row.target_mask)
    if source.trains_every_turn:
        earlier = _earlier_turns(source, encoder)[row.cut :]
        mask[: len(earlier)] = earlier
        mask[0] = False  # nothing precedes it
    return EncodedDemonstration(row.input_ids, tuple(mask), row.cut)


def _earlier_turns(source: Source, encoder: ChatEncoder) -> list[bool]:
    """True on the assistant's turns inside the prompt, up to the last of them."""
    prompt = source.demonstration.prompt
    said = [message["content"] for message in prompt if message["role"] == "assistant"]
    if not said:
        return []
    if not all(content.strip() for content in said):
        raise DataError(f"{source.where}: an earlier response is empty")
    ids, mask = encoder.encode_conversation(prompt)
    end = len(mask) - mask[::-1].index(True)
    if tuple(ids[:end]) != encoder.encode_prompt(prompt)[:end]:
        raise ModelError(
            f"{source.where}: this chat template writes earlier turns otherwise when another "
            "follows; use prompt+completion rows with it"
        )
    return mask[:end]
