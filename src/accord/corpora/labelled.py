"""Texts with labels: what a classifier is trained on, and how it reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accord.core.errors import DataError
from accord.core.types import Message
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.corpora.formats import as_messages
from accord.corpora.readers import read_rows

ONE_LABEL = "label"
"""The name of the label of rows that have only one, true or false."""


@dataclass(frozen=True)
class LabelledText:
    """A text, perhaps in answer to a prompt; `labels` are its names and probabilities in [0, 1]."""

    prompt: tuple[Message, ...]
    text: str
    labels: Mapping[str, float]
    is_class: bool
    """whether the labels came as the name of a class, which excludes the others"""
    where: str


def load_labelled(references: Sequence[str]) -> list[LabelledText]:
    """Rows with `text`, or `prompt` and `completion`, and a `label`.

    A label is true or false (1 or 0, or a probability); an object of several such by name, which do
    not exclude each other; or the name of a class, which excludes the others.

    Raises:
        DataError: a source or one of its rows cannot be used, or they mix kinds of labels; the
            message names the row.
    """
    rows = [
        to_labelled(row, f"{reference}, row {number}")
        for reference in references
        for number, row in enumerate(read_rows(reference), start=1)
    ]
    first = rows[0]
    for row in rows:
        same = row.is_class == first.is_class and (
            row.is_class or set(row.labels) == set(first.labels)
        )
        if not same:
            raise DataError(f"{row.where}: its label is of another kind than that of {first.where}")
    return rows


def label_names(rows: Sequence[LabelledText]) -> tuple[str, ...]:
    """All labels, sorted."""
    return tuple(sorted({name for row in rows for name in row.labels}))


def to_labelled(row: dict[str, Any], where: str) -> LabelledText:
    """One row; see `load_labelled`."""
    prompt: tuple[Message, ...] = ()
    if row.get("prompt"):
        prompt = as_messages(row["prompt"], role="user", where=f"{where}, column 'prompt'")
    text = row.get("text") if row.get("text") is not None else row.get("completion")
    if isinstance(text, list):
        turns = as_messages(text, role="assistant", where=f"{where}, column 'completion'")
        text = turns[0]["content"] if len(turns) == 1 else None
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where}: expected a text in column 'text' or 'completion'")
    label = row.get("label")
    if isinstance(label, str) and label:
        return LabelledText(prompt, text, {label: 1.0}, True, where)
    named: dict[str, Any] = label if isinstance(label, dict) else {ONE_LABEL: label}
    if not named or not all(_is_probability(value) for value in named.values()):
        raise DataError(
            f"{where}: expected as label true, false or a probability, several of them by name, or "
            f"the name of a class; got {label!r:.80}"
        )
    return LabelledText(prompt, text, {k: float(v) for k, v in named.items()}, False, where)


def _is_probability(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def encode_labelled(
    prompt: Sequence[Message], text: str, encoder: ChatEncoder, *, max_length: int
) -> Encoded:
    """Ids of a text behind its prompt, if it has one; the text is closed by the end of turn.

    Where they do not fit, the prompt loses its start, and a text that is too long alone its end.
    """
    answer = encoder.encode_response(text)
    head = encoder.encode_prompt(prompt) if prompt else ()
    length = len(head) + len(answer)
    if len(answer) > max_length:
        answer = (*answer[: max_length - 1], encoder.end_of_turn_id)
    room = max_length - len(answer)
    head = head[len(head) - min(room, len(head)) :]
    return Encoded(head, answer, length - len(head) - len(answer))
