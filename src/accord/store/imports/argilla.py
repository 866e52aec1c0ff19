"""Argilla's records: nested (fields and responses), flattened, or as its server sends them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from accord.core.errors import DataError
from accord.core.types import TaskKind
from accord.store.imports.entries import Entry, Options, Said
from accord.store.imports.fields import (
    Fields,
    attribute,
    find_fields,
    is_critique,
    is_rewrite,
    ranks,
    success,
    verdict,
)
from accord.store.imports.suggesting import suggestion_columns

_NO_FIELDS = {"id", "status", "_server_id", "inserted_at", "updated_at", "score", "external_id"}


def record(row: dict[str, Any], where: str, options: Options) -> list[Entry]:
    """A record's tasks, one a kind of question, with what every user submitted.

    Drafts are no judgements and are left out; what was discarded was skipped. A rating is of the
    response that its question's name ends with. Suggestions become their tasks' suggestions, or
    judgements of the models where the options say so.

    Raises:
        DataError: a value says nothing that we know, or a ranking came without ranks: Argilla's
            Python client drops them (its issue 5712), and the order that is left need not be the
            ranking.
    """
    nested = isinstance(row.get("fields"), dict)
    fields = find_fields(row["fields"] if nested else _flat_fields(row), where, options)
    columns = {**fields.columns, **(row.get("metadata") or {})} if nested else fields.columns
    answers: dict[TaskKind, list[Said]] = {}
    discarded: list[str] = []
    for user, status, values in _users(row, where):
        if status == "discarded":
            discarded.append(user)
        elif status != "draft":
            for kind, answer in _answers(values, fields, where, options).items():
                answers.setdefault(kind, []).append(Said(user, answer))
    suggested: dict[TaskKind, dict[str, Any]] = {}
    if options.with_suggestions:
        for agent, (values, _) in _suggestions(row).items():
            for kind, answer in _answers(values, fields, where, options).items():
                answers.setdefault(kind, []).append(Said(agent, answer, "model"))
    else:
        given = [
            (agent, score, partial(_answers, values, fields, where, options))
            for agent, (values, score) in _suggestions(row).items()
        ]
        suggested = suggestion_columns(given, fields)
    kinds = list(answers) or list(suggested) or [_kind_of(fields)]
    skips = [Said(user, {"reason": "discarded"}, action="skip") for user in discarded]
    return [
        Entry(
            where,
            kind,
            fields.prompt,
            fields.responses,
            (*answers.get(kind, ()), *skips),
            columns={**columns, **suggested.get(kind, {})},
        )
        for kind in kinds
    ]


def _flat_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in row.items()
        if name not in _NO_FIELDS and ".responses" not in name and ".suggestion" not in name
    }


def _kind_of(fields: Fields) -> TaskKind:
    """What a record without a judgement is for."""
    kinds: dict[int, TaskKind] = {1: "likert", 2: "pairwise"}
    return kinds.get(len(fields.responses), "ranking")


def _users(row: Mapping[str, Any], where: str) -> list[tuple[str, str, dict[str, Any]]]:
    """(user, status, value by question) of everybody who responded."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}

    def add(user: Any, status: Any, question: str, value: Any) -> None:
        if user is None:
            raise DataError(f"{where}: a response to {question!r} has no user_id")
        known = found.setdefault(str(user), (str(status or "submitted"), {}))
        if value is not None:
            known[1][question] = value

    responses = row.get("responses")
    if isinstance(responses, list):  # the server's: a response a user, with all their values
        for response in responses:
            user, status = response.get("user_id"), str(response.get("status") or "submitted")
            found.setdefault(str(user), (status, {}))
            for question, value in (response.get("values") or {}).items():
                add(user, status, question, value.get("value"))
    elif isinstance(responses, dict):
        for question, given in responses.items():
            for response in given or []:
                status = response.get("status")
                add(response.get("user_id"), status, question, response.get("value"))
    else:
        for name, values in row.items():
            if name.endswith(".responses"):
                users = row.get(f"{name}.users") or []
                statuses = row.get(f"{name}.status") or ["submitted"] * len(users)
                question = name.removesuffix(".responses")
                for user, status, value in zip(users, statuses, values or [], strict=True):
                    add(user, status, question, value)
    return [(user, status, values) for user, (status, values) in found.items()]


def _suggestions(row: Mapping[str, Any]) -> dict[str, tuple[dict[str, Any], float | None]]:
    """Value by question, and the lowest score, by the agent that suggested it."""
    nested = row.get("suggestions")
    given = [
        (question, found.get("value"), found.get("agent"), found.get("score"))
        for question, found in (nested.items() if isinstance(nested, dict) else ())
        if found
    ]
    for name, value in row.items():
        if name.endswith(".suggestion"):
            question = name.removesuffix(".suggestion")
            given.append((question, value, row.get(f"{name}.agent"), row.get(f"{name}.score")))
    values: dict[str, dict[str, Any]] = {}
    scores: dict[str, list[float]] = {}
    for question, value, agent, score in given:
        if value is not None:
            name = agent or "argilla-suggestion"
            values.setdefault(name, {})[question] = value
            scores.setdefault(name, []).extend([score] if isinstance(score, int | float) else [])
    return {name: (said, min(scores[name], default=None)) for name, said in values.items()}


def _answers(
    values: Mapping[str, Any], fields: Fields, where: str, options: Options
) -> dict[TaskKind, dict[str, Any]]:
    """Our answers, by kind of task, from one user's values by question."""
    found: dict[TaskKind, dict[str, Any]] = {}
    for question, value in values.items():
        here = f"{where}, question {question!r}"
        if isinstance(value, int | float) and not isinstance(value, bool):
            place = fields.place(question)
            if place is None:
                raise DataError(f"{here}: which response is rated? Its name should end with one")
            rated = found.setdefault("likert", {"ratings": {}})["ratings"]
            empty = [None] * len(fields.responses)
            rated.setdefault(attribute(question) if len(empty) > 1 else question, empty)[place] = (
                value
            )
        elif isinstance(value, list):
            found["ranking"] = _ranking(value, fields, here, options)
        elif is_critique(question) or is_rewrite(question) or not _is_label(value, fields):
            kind: TaskKind = "critique" if is_critique(question) else "rewrite"
            found[kind] = {"text": str(value), "response": fields.place(question) or 0}
        elif len(fields.responses) == 2:
            found["pairwise"] = verdict(value, fields, here)
        else:
            found["success"] = success(value, here)
    return found


def _is_label(value: Any, fields: Fields) -> bool:
    """A label, of one response or two, is a word or a few; what is written as text is longer."""
    if len(fields.responses) > 2:
        return False
    return isinstance(value, bool) or (isinstance(value, str) and len(value) <= 20)


def _ranking(value: list[Any], fields: Fields, where: str, options: Options) -> dict[str, Any]:
    if all(isinstance(item, dict) and item.get("rank") is not None for item in value):
        return ranks([(item["value"], item["rank"]) for item in value], fields, where)
    if not options.is_ranked_by_order:
        raise DataError(
            f"{where}: a ranking without ranks, as Argilla's Python client gives them (its issue "
            "5712): the order need not be the ranking. Export from its server, whose values have "
            "ranks; or, where you know that the best comes first, say ranked_by_order"
        )
    names = [item.get("value") if isinstance(item, dict) else item for item in value]
    return ranks([(name, place) for place, name in enumerate(names, start=1)], fields, where)
