"""Prompts with their columns."""

from accord.core.types import PromptRow
from accord.corpora.formats import to_prompt
from accord.corpora.readers import read_rows


def load_prompts(reference: str) -> list[PromptRow]:
    """All prompts of a data source; a row's other columns come along.

    Raises:
        DataError: the source or one of its rows cannot be used; the message names the row.
    """
    return [
        to_prompt(row, f"{reference}, row {number}")
        for number, row in enumerate(read_rows(reference), start=1)
    ]
