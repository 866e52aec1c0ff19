"""Judgements that were made elsewhere: rows of votes, and pairs that are judged already."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from accord.core.errors import DataError
from accord.core.files import hash_json
from accord.core.types import Judgement, Verdict
from accord.corpora.formats import as_messages
from accord.corpora.pairs import load_usable_comparisons
from accord.corpora.readers import read_rows

_FIELDS = ("annotator", "annotator_kind", "prompt", "response_a", "response_b", "verdict")
_KINDS = ("person", "model", "simulated")


def read_judgements(reference: str) -> list[Judgement]:
    """Judgements from rows with the fields of `Judgement`; other fields become columns, but for
    ids, which the store makes itself.

    Raises:
        DataError: a row lacks a field, has an unknown verdict or kind, an empty response, or two
            identical ones; the message names the row.
    """
    return [
        _to_judgement(row, f"{reference}, row {number}")
        for number, row in enumerate(read_rows(reference), start=1)
    ]


def _to_judgement(row: dict[str, Any], where: str) -> Judgement:
    missing = [name for name in _FIELDS if row.get(name) is None]
    if missing:
        raise DataError(
            f"{where}: no column {missing[0]!r}; expected {', '.join(_FIELDS)}; "
            f"found {', '.join(row)}"
        )
    for name, known in (("verdict", ("a", "b", "tie")), ("annotator_kind", _KINDS)):
        if row[name] not in known:
            raise DataError(f"{where}: {name} must be {', '.join(known)}; got {row[name]!r}")
    a, b = (_response(row[name], name, where) for name in ("response_a", "response_b"))
    if a == b:
        raise DataError(f"{where}: 'response_a' and 'response_b' are identical")
    extra = {k: v for k, v in row.items() if k not in (*_FIELDS, "columns", "id", "task_id")}
    return Judgement(
        annotator=str(row["annotator"]),
        annotator_kind=row["annotator_kind"],
        prompt=as_messages(row["prompt"], role="user", where=f"{where}, column 'prompt'"),
        verdict=row["verdict"],
        columns={**(row.get("columns") or {}), **extra},
        response_a=a,
        response_b=b,
        where=where,
    )


def _response(value: Any, name: str, where: str) -> str:
    """A response's text: as it stands, or the one assistant message."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0].get("content")
    if not isinstance(value, str):
        raise DataError(f"{where}: {name} must be text or one assistant message, got {value!r:.80}")
    if not value.strip():
        raise DataError(f"{where}: {name} is empty")
    return value


def imported_comparisons(
    references: Sequence[str], *, max_bad_rows: int
) -> tuple[list[Judgement], int]:
    """Pairs that people judged elsewhere: one judgement each, with the probability it came with.

    Returns:
        the judgements, and how many rows were left out because they cannot be used.

    Raises:
        DataError: more than `max_bad_rows` cannot.
    """
    comparisons, bad_rows = load_usable_comparisons(references, max_bad_rows=max_bad_rows)
    times: Counter[Any] = Counter()
    judgements = []
    for pair in comparisons:
        key = (hash_json(list(pair.prompt)), frozenset((pair.chosen, pair.rejected)))
        times[key] += 1
        # A pair that is there twice has two opinions, which may differ.
        name = "imported" if times[key] == 1 else f"imported-{times[key]}"
        columns = {**pair.columns, **({"margin": pair.margin} if pair.margin else {})}
        judgements.append(
            Judgement(
                annotator=name,
                annotator_kind="person",
                prompt=pair.prompt,
                response_a=pair.chosen,
                response_b=pair.rejected,
                verdict=_verdict(pair.p_chosen),
                columns=columns,
                p_a=pair.p_chosen,
                where=pair.where,
            )
        )
    return judgements, bad_rows


def _verdict(p_a: float) -> Verdict:
    return "tie" if p_a == 0.5 else "a" if p_a > 0.5 else "b"
