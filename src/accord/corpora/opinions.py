"""Responses that are each called good or bad, without another to compare with."""

from dataclasses import dataclass
from typing import Any

from accord.core.errors import DataError
from accord.core.types import Message
from accord.corpora.formats import to_comparison, to_demonstration
from accord.corpora.readers import read_rows


@dataclass(frozen=True)
class Opinion:
    """A response to a prompt, and whether it is desirable; `where` is its place in a file."""

    prompt: tuple[Message, ...]
    completion: str
    is_desirable: bool
    where: str


def load_opinions(reference: str) -> list[Opinion]:
    """All labelled responses of a data source.

    Rows have `prompt`, `completion` and `label` (a bool, or 0 and 1). A row with `chosen` and
    `rejected` is two: the chosen one desirable, the other not (p_chosen below 1/2 swaps them, and
    a tie is left out).

    Raises:
        DataError: a row cannot be used; the message names it.
    """
    found: list[Opinion] = []
    for number, row in enumerate(read_rows(reference), start=1):
        found += _opinions(row, f"{reference}, row {number}")
    return found


def _opinions(row: dict[str, Any], where: str) -> list[Opinion]:
    if row.get("chosen") is not None:
        pair = to_comparison(row, where)
        if pair.p_chosen == 0.5:
            return []
        is_better = pair.p_chosen > 0.5
        return [
            Opinion(pair.prompt, pair.chosen, is_better, where),
            Opinion(pair.prompt, pair.rejected, not is_better, where),
        ]
    label = row.get("label")
    if label not in (True, False):
        raise DataError(
            f"{where}: expected a column 'label' that is true or false (or 1 or 0), got {label!r}; "
            "or the columns 'chosen' and 'rejected'"
        )
    shown = to_demonstration(row, where)
    return [Opinion(shown.prompt, shown.completion, bool(label), where)]
