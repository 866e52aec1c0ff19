"""Label Studio's JSON: tasks with `data` and `annotations`, of the tags that judge responses."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from accord.core.errors import DataError
from accord.core.types import Action, TaskKind
from accord.store.imports.entries import Entry, Options, Said
from accord.store.imports.fields import (
    Fields,
    attribute,
    find_fields,
    is_critique,
    ranks,
    success,
    verdict,
)
from accord.store.imports.suggesting import suggestion_columns

_BODIES = ("body", "text", "html", "content", "title")
_REST = "_"
"""The ranker's list of what was not moved anywhere."""


def task(row: dict[str, Any], where: str, options: Options) -> list[Entry]:
    """A task's entries, one a kind of tag, with what every annotator said.

    What was cancelled was skipped. Pairwise, Ranker, Rating, TextArea and Choices are read, and
    predictions as suggestions, or as judgements of the models where the options say so.

    Raises:
        DataError: another tag, or a value that says nothing that we know.
    """
    fields = _fields(row["data"], where, options)
    answers: dict[TaskKind, list[Said]] = {}
    skips: list[Said] = []
    for annotation in row.get("annotations") or row.get("completions") or []:
        who = _person(annotation.get("completed_by"))
        if annotation.get("was_cancelled"):
            reason = {"reason": "skipped"}
            skips.append(_said(annotation, who, reason, fields, action="skip"))
            continue
        found = _answers(annotation.get("result") or [], fields, where, options)
        for kind, answer in found.items():
            answers.setdefault(kind, []).append(_said(annotation, who, answer, fields))
    predictions = [
        (
            str(prediction.get("model_version") or "label-studio-model"),
            prediction.get("score"),
            partial(_answers, prediction.get("result") or [], fields, where, options),
        )
        for prediction in row.get("predictions") or []
    ]
    suggested: dict[TaskKind, dict[str, Any]] = {}
    if options.with_suggestions:
        for agent, _, read in predictions:
            for kind, answer in read().items():
                answers.setdefault(kind, []).append(Said(agent, answer, "model"))
    else:
        suggested = suggestion_columns(predictions, fields)
    by_count: dict[int, TaskKind] = {1: "likert", 2: "pairwise"}
    kinds = list(answers) or list(suggested) or [by_count.get(len(fields.responses), "ranking")]
    return [
        Entry(
            where,
            kind,
            fields.prompt,
            fields.responses,
            (*answers.get(kind, ()), *skips),
            columns={**fields.columns, **suggested.get(kind, {})},
        )
        for kind in kinds
    ]


def _fields(data: Any, where: str, options: Options) -> Fields:
    """The prompt and the responses: fields of their own, or one list of items for a Ranker."""
    if not isinstance(data, dict):
        raise DataError(f"{where}: expected an object in 'data', got {data!r:.80}")
    lists = [name for name, value in data.items() if _is_items(value)]
    if len(lists) != 1:
        return find_fields(data, where, options)
    items = data[lists[0]]
    texts = {str(item["id"]): _body(item, where) for item in items}
    prompt = {name: value for name, value in data.items() if name != lists[0]}
    names = tuple(texts)
    chosen = Options(prompt_field=options.prompt_field, response_fields=names)
    return find_fields({**prompt, **texts}, where, chosen)


def _is_items(value: Any) -> bool:
    is_list = isinstance(value, list) and len(value) > 0
    return is_list and all(isinstance(item, dict) and "id" in item for item in value)


def _body(item: Mapping[str, Any], where: str) -> str:
    text = next((item[name] for name in _BODIES if item.get(name)), None)
    if not isinstance(text, str):
        raise DataError(f"{where}: item {item['id']!r} has no text ({', '.join(_BODIES)})")
    return text


def _person(completed_by: Any) -> str:
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("email") or completed_by.get("id")
    return f"label-studio-{completed_by}" if isinstance(completed_by, int) else str(completed_by)


def _said(
    annotation: Mapping[str, Any],
    who: str,
    answer: dict[str, Any],
    fields: Fields,
    *,
    action: Action = "judge",
) -> Said:
    return Said(
        who,
        answer,
        action=action,
        time_on_task_s=annotation.get("lead_time"),
        created_at=_seconds(annotation.get("created_at")),
        order=tuple(range(len(fields.responses))),  # it always shows them as they are
    )


def _seconds(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def _answers(
    results: list[dict[str, Any]], fields: Fields, where: str, options: Options
) -> dict[TaskKind, dict[str, Any]]:
    """Our answers by kind of task."""
    found: dict[TaskKind, dict[str, Any]] = {}
    for result in results:
        name = str(result.get("from_name"))
        here = f"{where}, tag {name!r}"
        value, kind = result.get("value") or {}, result.get("type")
        about = fields.place(str(result.get("to_name")), name)
        if kind == "pairwise":
            found["pairwise"] = verdict(value.get("selected"), fields, here)
        elif kind == "ranker":
            found["ranking"] = _ranking(value.get("ranker"), fields, here, options)
        elif kind == "rating":
            if about is None:
                raise DataError(f"{here}: which response is rated? Its name should end with one")
            rated = found.setdefault("likert", {"ratings": {}})["ratings"]
            empty = [None] * len(fields.responses)
            named = attribute(name) if len(empty) > 1 else name
            rated.setdefault(named, empty)[about] = value.get("rating")
        elif kind == "textarea":
            texts = value.get("text")
            text = "\n".join(texts) if isinstance(texts, list) else str(texts)
            of: TaskKind = "critique" if is_critique(name) else "rewrite"
            found[of] = {"text": text, "response": about or 0}
        elif kind == "choices":
            found.update(_choice(value.get("choices") or [], fields, here))
        else:
            raise DataError(
                f"{here}: results of type {kind!r} are not read; expected pairwise, ranker, "
                "rating, textarea or choices"
            )
    return found


def _choice(choices: list[Any], fields: Fields, where: str) -> dict[TaskKind, dict[str, Any]]:
    if len(choices) != 1:
        raise DataError(f"{where}: expected one choice, got {choices!r}")
    if len(fields.responses) == 2:
        return {"pairwise": verdict(choices[0], fields, where)}
    if len(fields.responses) == 1:
        return {"success": success(choices[0], where)}
    raise DataError(f"{where}: a choice among {len(fields.responses)} responses is no ranking")


def _ranking(value: Any, fields: Fields, where: str, options: Options) -> dict[str, Any]:
    """A list from the best; or one bucket of several, by its name."""
    buckets = value if isinstance(value, dict) else {"rank": value}
    named = [name for name in buckets if name != _REST]
    bucket = options.bucket or (named[0] if len(named) == 1 else None)
    if bucket not in buckets or not isinstance(buckets[bucket], list):
        raise DataError(
            f"{where}: which bucket is the ranking? Found {', '.join(map(str, buckets))}; give "
            "bucket"
        )
    return ranks([(name, n) for n, name in enumerate(buckets[bucket], start=1)], fields, where)
