"""Responses in steps: reading, splitting, and encoding them so that every step has an end."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from accord.core.errors import DataError
from accord.core.types import JudgedSteps, Message
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.corpora.formats import as_messages
from accord.corpora.readers import read_rows


class EncodedSteps(NamedTuple):
    """A response with, for each step, how many of its tokens there are up to that step's end."""

    row: Encoded
    ends: tuple[int, ...]

    @property
    def places(self) -> list[int]:
        """Columns of `row.input_ids` that hold the steps' last tokens."""
        return [len(self.row.prompt_ids) + end - 1 for end in self.ends]


def load_steps(references: Sequence[str]) -> list[JudgedSteps]:
    """Rows with `prompt`, `completions` (the steps) and `labels`, as TRL has them.

    Raises:
        DataError: a source or one of its rows cannot be used; the message names the row.
    """
    return [
        to_steps(row, f"{reference}, row {number}")
        for reference in references
        for number, row in enumerate(read_rows(reference), start=1)
    ]


def to_steps(row: dict[str, Any], where: str) -> JudgedSteps:
    """One row; a label is true or false, or a probability."""
    for name in ("prompt", "completions", "labels"):
        if not row.get(name):
            raise DataError(f"{where}: no column {name!r}; expected prompt, completions, labels")
    prompt = as_messages(row["prompt"], role="user", where=f"{where}, column 'prompt'")
    steps, labels = row["completions"], row["labels"]
    if not isinstance(steps, list) or not isinstance(labels, list) or len(steps) != len(labels):
        raise DataError(f"{where}: expected lists of one length in 'completions' and 'labels'")
    for number, (step, label) in enumerate(zip(steps, labels, strict=True), start=1):
        if not isinstance(step, str) or not step.strip():
            raise DataError(f"{where}: step {number} is empty")
        if not isinstance(label, int | float) or not 0 <= label <= 1:
            raise DataError(
                f"{where}: expected true, false or a probability as label {number}, got {label!r}"
            )
    return JudgedSteps(prompt, tuple(steps), tuple(float(label) for label in labels), where)


def split_steps(response: str, *, separator: str) -> list[str]:
    """The steps of a sampled response; what is only space is no step, but there is at least one."""
    return [step for step in response.split(separator) if step.strip()] or [response]


def encode_steps(
    prompt: Sequence[Message],
    steps: Sequence[str],
    encoder: ChatEncoder,
    *,
    separator: str,
    max_length: int,
    where: str,
) -> EncodedSteps:
    """Steps closed by the separator, the last by the end of turn; each is encoded by itself.

    So a step has the same ids whatever follows it, and a response can be scored while it grows.

    Raises:
        DataError: the steps leave no room for a token of the prompt.
    """
    ids: list[int] = []
    ends = []
    for number, step in enumerate(steps, start=1):
        is_last = number == len(steps)
        ids += encoder.encode_text(step if is_last else f"{step.rstrip(separator)}{separator}")
        ids += [encoder.end_of_turn_id] * is_last
        ends.append(len(ids))
    head = encoder.encode_prompt(prompt)
    room = max_length - len(ids)
    if room < 1:
        raise DataError(
            f"{where}: steps of {len(ids)} tokens do not fit max_length {max_length}; raise it, or "
            "leave the row out"
        )
    cut = max(0, len(head) - room)
    return EncodedSteps(Encoded(head[cut:], tuple(ids), cut), tuple(ends))
