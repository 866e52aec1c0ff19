"""Annotators that are made of code, asked for one verdict."""

from accord.core.errors import DataError
from accord.core.interfaces import Annotator
from accord.core.types import Row, Verdict


def verdict_by(annotator: Annotator, row: Row, left: str, right: str) -> Verdict:
    """What an annotator says of two responses to a row's prompt.

    Raises:
        DataError: it lacks a column of the row, or said something that is no verdict.
    """
    try:
        verdict = annotator.judge(row, left, right)
    except KeyError as error:
        raise DataError(
            f"annotator {annotator.name!r} needs the column {error} that the prompts do not have; "
            f"found {', '.join(row)}"
        ) from error
    if verdict not in ("a", "b", "tie"):
        raise DataError(f"annotator {annotator.name!r} said {verdict!r}; expected a, b or tie")
    return verdict
