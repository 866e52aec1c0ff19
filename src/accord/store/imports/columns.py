"""Rows in the columns that training reads, and in those of our own exports."""

import json
from typing import Any, get_args

from accord.core.errors import DataError
from accord.core.types import Action, Message, TaskKind
from accord.corpora.formats import as_messages, to_comparison
from accord.store.imports.entries import (
    AnnotatorKind,
    Entry,
    Options,
    Said,
    by,
    dense_ranks,
    in_task_order,
    without_order,
)

_TEXTS = {
    "prompt", "completion", "chosen", "rejected", "p_chosen", "messages", "completions", "ranks",
    "ratings", "label", "annotator", "response_a", "response_b", "verdict", "annotator_kind",
    "task_id", "votes", "columns", "id", "display_order",
}  # fmt: skip


def pair(row: dict[str, Any], where: str, options: Options) -> list[Entry]:
    r"""`prompt`+`chosen`+`rejected`, or two `\n\nHuman:` transcripts; `p_chosen` is kept."""
    found = to_comparison(row, where)
    responses, places = without_order([found.chosen, found.rejected])
    is_first = places[0] == 0
    p_a = found.p_chosen if is_first else 1 - found.p_chosen
    answer: dict[str, Any] = {"verdict": "tie" if p_a == 0.5 else "a" if p_a > 0.5 else "b"}
    if row.get("p_chosen") is not None:
        answer["p_a"] = p_a
    said = by(options, answer, row.get("annotator"))
    columns = in_task_order(_extra(row), is_swapped=not is_first)
    return [Entry(where, "pairwise", found.prompt, responses, said, columns=columns)]


def ranking(row: dict[str, Any], where: str, options: Options) -> list[Entry]:
    """`prompt`+`completions`+`ranks`, 1 for the best; without ranks a task to be done."""
    prompt, responses = _prompt(row, where), _completions(row, where)
    ranks = row.get("ranks")
    if ranks is None:
        return [Entry(where, "ranking", prompt, responses, columns=_extra(row))]
    if not isinstance(ranks, list) or len(ranks) != len(responses):
        raise DataError(f"{where}: expected {len(responses)} ranks, got {ranks!r:.80}")
    said = by(options, {"ranks": dense_ranks(ranks, where)}, row.get("annotator"))
    return [Entry(where, "ranking", prompt, responses, said, columns=_extra(row))]


def rating(row: dict[str, Any], where: str, options: Options) -> list[Entry]:
    """`prompt`+`completions`+`ratings`: by attribute, a number of 1 to 7 a response, or null."""
    prompt, responses = _prompt(row, where), _completions(row, where)
    given = _object(row["ratings"], "ratings", where)
    # Parquet gives every row every attribute.
    ratings = {name: values for name, values in given.items() if values is not None}
    said = by(options, {"ratings": ratings}, row.get("annotator"))
    return [Entry(where, "likert", prompt, responses, said, columns=_extra(row))]


def label(row: dict[str, Any], where: str, options: Options) -> list[Entry]:
    """`prompt`+`completion`+`label`, true for a success."""
    completion = as_messages(row["completion"], role="assistant", where=where)
    responses = (completion[-1]["content"],)
    said = by(options, {"success": row["label"]}, row.get("annotator"))
    return [Entry(where, "success", _prompt(row, where), responses, said, columns=_extra(row))]


def vote(row: dict[str, Any], where: str, options: Options) -> list[Entry]:
    """A judgement as the preferences stage logs it: `response_a`, `response_b`, `verdict`."""
    responses = tuple(_text(row.get(name), name, where) for name in ("response_a", "response_b"))
    ordered, places = without_order(responses)
    said = row["verdict"]
    if places[0] == 1:
        said = {"a": "b", "b": "a"}.get(said, said)
    kind = row.get("annotator_kind") or options.annotator_kind
    who = str(row.get("annotator") or options.annotator)
    # Response a was on the left, unless the row says otherwise.
    order = places[::-1] if row.get("display_order") == "ba" else places
    judged = (Said(who, {"verdict": said}, _kind(kind, where), order=order),)
    columns = {**(row.get("columns") or {}), **_extra(row)}
    columns = in_task_order(columns, is_swapped=places[0] == 1)
    return [Entry(where, "pairwise", _prompt(row, where), ordered, judged, columns=columns)]


def judgement(row: dict[str, Any], where: str, _: Options) -> list[Entry]:
    """A row of `accord data export --what judgements`: everything that was known of it."""
    if row["kind"] not in get_args(TaskKind):
        known = ", ".join(get_args(TaskKind))
        raise DataError(f"{where}: kind must be {known}; got {row['kind']!r}")
    if row.get("action", "judge") not in {*get_args(Action)} - {"undo"}:
        raise DataError(f"{where}: there is no action {row['action']!r}")
    if not row.get("annotator"):
        raise DataError(f"{where}: no column 'annotator'")
    said = Said(
        str(row["annotator"]),
        _object(row["answer"], "answer", where),
        _kind(row.get("annotator_kind") or "person", where),
        row.get("action", "judge"),
        row.get("time_on_task_s"),
        row.get("created_at"),
        row.get("guideline_version"),
        None if row.get("display_order") is None else tuple(row["display_order"]),
        row.get("display_seed") or 0,
        bool(row.get("is_surplus")),
    )
    return [
        Entry(
            where,
            row["kind"],
            _prompt(row, where),
            tuple(_text(text, "responses", where) for text in row["responses"]),
            (said,),
            tuple(row.get("policies") or ()),
            _object(row.get("columns") or {}, "columns", where),
            row.get("task_id"),
            row.get("overlap") or 1,
        )
    ]


def _prompt(row: dict[str, Any], where: str) -> tuple[Message, ...]:
    if row.get("prompt") is None:
        raise DataError(f"{where}: no column 'prompt'; found {', '.join(row)}")
    return as_messages(row["prompt"], role="user", where=f"{where}, column 'prompt'")


def _completions(row: dict[str, Any], where: str) -> tuple[str, ...]:
    found = row["completions"]
    if not isinstance(found, list):
        raise DataError(f"{where}: expected a list in 'completions', got {found!r:.80}")
    return tuple(_text(value, "completions", where) for value in found)


def _text(value: Any, name: str, where: str) -> str:
    """A response: a text, a message, or a list of one message."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        value = value.get("content")
    if not isinstance(value, str):
        raise DataError(f"{where}, column {name!r}: expected a response's text, got {value!r:.80}")
    return value


def _object(value: Any, name: str, where: str) -> dict[str, Any]:
    """An object, or the text of one: in Parquet, objects of many shapes are written as text."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{where}, column {name!r}: expected an object, got {value!r:.80}")
    return found


def _kind(value: str, where: str) -> AnnotatorKind:
    for kind in get_args(AnnotatorKind):
        if value == kind:
            return kind  # type: ignore[no-any-return]
    raise DataError(f"{where}: annotator_kind must be person, model or simulated; got {value!r}")


def _extra(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _TEXTS}
