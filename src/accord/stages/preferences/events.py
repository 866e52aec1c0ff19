"""Judgements as append-only events: the log of a run, and files of judgements made elsewhere."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accord.core import files
from accord.core.errors import DataError
from accord.core.types import Judgement, Message, Verdict
from accord.corpora.formats import as_messages
from accord.corpora.pairs import load_usable_comparisons
from accord.corpora.readers import read_rows

P_A = "p_a"
"""Column of an imported judgement: the probability that a is the better, as it came."""

_FIELDS = (
    "task_id",
    "annotator",
    "annotator_kind",
    "prompt",
    "response_a",
    "response_b",
    "verdict",
)
_KINDS = ("person", "model", "simulated")


def judgement_id(
    task_id: str, annotator: str, prompt: Sequence[Message], response_a: str, response_b: str
) -> str:
    """Id of what one annotator says of one task: known before it is said."""
    key = [task_id, annotator, [dict(message) for message in prompt], response_a, response_b]
    return files.hash_json(key)[:16]


class JudgementLog:
    """`judgements.jsonl`: one event a line, each with an `id`; lines are only ever added.

    A last line that a kill cut short is dropped when the log is opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._events: dict[str, Judgement] = {}
        if not path.exists():
            files.write_text(path, "")
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            files.write_text(path, whole.decode("utf-8"))
        if whole:
            self._events = {_id_of(event): event for event in read_judgements(str(path))}

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._events

    def append(self, judgements: Iterable[Judgement]) -> int:
        """Add events, in one write that is on disk afterwards; returns how many were new.

        The same event again changes nothing.

        Raises:
            DataError: an annotator says another thing of a task that he has judged.
        """
        new: dict[str, Judgement] = {}
        for judgement in judgements:
            event_id = _id_of(judgement)
            known = self._events.get(event_id) or new.get(event_id)
            if known is None:
                new[event_id] = judgement
            elif known.verdict != judgement.verdict:
                raise DataError(
                    f"{self.path}: annotator {judgement.annotator!r} said {known.verdict!r} and "
                    f"{judgement.verdict!r} of task {judgement.task_id!r}; keep one of the two"
                )
        lines = [
            json.dumps({"id": event_id, **asdict(event)}, ensure_ascii=False) + "\n"
            for event_id, event in new.items()
        ]
        with files.storage_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write("".join(lines))
            file.flush()
            os.fsync(file.fileno())
        self._events |= new
        return len(new)

    def events(self) -> list[Judgement]:
        """All events, oldest first."""
        return list(self._events.values())


def _id_of(event: Judgement) -> str:
    return judgement_id(
        event.task_id, event.annotator, event.prompt, event.response_a, event.response_b
    )


def read_judgements(reference: str) -> list[Judgement]:
    """Judgements from rows with the fields of `Judgement`; other fields become columns.

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
    responses = {name: _response(row[name], name, where) for name in ("response_a", "response_b")}
    if responses["response_a"] == responses["response_b"]:
        raise DataError(f"{where}: 'response_a' and 'response_b' are identical")
    extra = {k: v for k, v in row.items() if k not in (*_FIELDS, "columns", "id")}
    return Judgement(
        task_id=str(row["task_id"]),
        annotator=str(row["annotator"]),
        annotator_kind=row["annotator_kind"],
        prompt=as_messages(row["prompt"], role="user", where=f"{where}, column 'prompt'"),
        verdict=row["verdict"],
        columns={**(row.get("columns") or {}), **extra},
        **responses,
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
    judgements = [
        Judgement(
            task_id=f"imported-{number}",
            annotator="imported",
            annotator_kind="person",
            prompt=pair.prompt,
            response_a=pair.chosen,
            response_b=pair.rejected,
            verdict=_verdict(pair.p_chosen),
            columns={**pair.columns, P_A: pair.p_chosen, "margin": pair.margin},
        )
        for number, pair in enumerate(comparisons)
    ]
    return judgements, bad_rows


def _verdict(p_a: float) -> Verdict:
    return "tie" if p_a == 0.5 else "a" if p_a > 0.5 else "b"
