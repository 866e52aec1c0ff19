"""Tasks from rows in the ecosystem's columns."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from accord.core.errors import DataError
from accord.core.files import hash_json
from accord.core.types import Message, Task, TaskKind
from accord.corpora.formats import as_messages, to_comparison, to_prompt
from accord.store.answers import check_task
from accord.store.hints import swapped_hints
from accord.store.text import MAX_NAME, check_name, check_storable

MAX_OVERLAP = 1000
_SHAPE = {
    "id", "overlap", "priority", "policies", "prompt", "messages", "chosen", "rejected",
    "completion", "response", "completions", "responses", "p_chosen", "margin", "ranks", "label",
}  # fmt: skip


def tasks_of_rows(
    rows: Iterable[Mapping[str, Any]],
    *,
    project: str,
    kind: TaskKind,
    overlap: int,
    where: str = "rows",
) -> list[Task]:
    """A task a row.

    Columns: `prompt` with `responses`, `completions`, `completion`, `response`, or `chosen` and
    `rejected`; a pair may share its prompt, and `messages` end with the response. A row may have
    `id`, `kind`, `overlap`, `priority`, `policies`; all other columns go with the task. Without an
    id a row has that of its content: rows that are read again are no new tasks. What a row says of
    which response is better is left out, also by where it stands. A model's opinion is one of those
    columns: `suggestion` (agent, answer, score), `critique` (agent, text, answer); it speaks of the
    responses as they stand in the row.

    Raises:
        DataError: a row cannot be a task; it is named.
    """
    tasks = [
        _task(dict(row), project, kind, overlap, f"{where}, row {number}")
        for number, row in enumerate(rows, start=1)
    ]
    first: dict[str, int] = {}
    for number, task in enumerate(tasks, start=1):
        if first.setdefault(task.id, number) != number and tasks[first[task.id] - 1] != task:
            raise DataError(f"{where}, row {number}: the id {task.id!r} is row {first[task.id]}'s")
    return list({task.id: task for task in tasks}.values())


def _task(row: dict[str, Any], project: str, kind: TaskKind, overlap: int, where: str) -> Task:
    check_storable(row, where)
    prompt, responses = _texts(row, where)
    columns = {key: value for key, value in row.items() if key not in _SHAPE}
    for known in get_args(TaskKind):  # any other word tells of the prompt, and stays a column
        if row.get("kind") == known:
            kind = columns.pop("kind")
    policies = row.get("policies") or [None] * len(responses)
    if not isinstance(policies, list | tuple) or len(policies) != len(responses):
        raise DataError(f"{where}: expected {len(responses)} policies, got {policies!r:.80}")
    if row.get("chosen") is not None:  # an order that tells nothing of which is the better
        order = sorted(range(len(responses)), key=lambda i: hash_json(responses[i]))
        responses, policies = [responses[i] for i in order], [policies[i] for i in order]
        columns = swapped_hints(columns) if order == [1, 0] else columns
    content = [project, kind, [dict(m) for m in prompt], responses, columns]
    name = str(row["id"]) if row.get("id") is not None else hash_json(content)[:32]
    check_name(name, f"{where}, column 'id'")
    if len(name) > 64:
        raise DataError(f"{where}: an id has at most 64 characters, got {len(name)}")
    task = Task(
        id=name,
        project=project,
        kind=kind,
        prompt=prompt,
        responses=tuple(responses),
        policies=tuple(_policy(policy, where) for policy in policies),
        columns=columns,
        overlap=_number(row, "overlap", overlap, where),
        priority=float(_number(row, "priority", 0.0, where)),
    )
    try:
        check_task(task)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    return task


def _texts(row: dict[str, Any], where: str) -> tuple[tuple[Message, ...], list[str]]:
    """The prompt and the responses, as they stand in the row."""
    if row.get("chosen") is not None:
        pair = to_comparison(row, where)
        return pair.prompt, [pair.chosen, pair.rejected]
    if row.get("messages") is not None:
        messages = as_messages(row["messages"], role="user", where=where)
        return messages[:-1], [messages[-1]["content"]]
    for column in ("responses", "completions", "completion", "response"):
        if row.get(column) is not None:
            values = row[column] if column.endswith("s") else [row[column]]
            if not isinstance(values, list | tuple):
                raise DataError(f"{where}: expected a list in {column!r}, got {values!r:.80}")
            return to_prompt(row, where).prompt, [_response(v, column, where) for v in values]
    raise DataError(
        f"{where}: no response; expected responses, completions, completion, response, or chosen "
        f"and rejected; found {', '.join(map(str, row)) or 'none'}"
    )


def _response(value: Any, column: str, where: str) -> str:
    given = [value] if isinstance(value, dict) else value
    if isinstance(given, str):  # as it is: it may look like a transcript
        return given
    messages = as_messages(given, role="assistant", where=f"{where}, column {column!r}")
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        raise DataError(f"{where}, column {column!r}: expected one message of the assistant each")
    return messages[0]["content"]


def _policy(value: Any, where: str) -> str | None:
    if value is not None and (not isinstance(value, str) or len(value) > MAX_NAME):
        raise DataError(f"{where}: a policy is a text or null, got {value!r:.80}")
    return value


def _number(row: dict[str, Any], column: str, default: Any, where: str) -> Any:
    value = row.get(column, default)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not abs(value) < 1e6:
        raise DataError(f"{where}: expected a number in {column!r}, got {value!r:.80}")
    if column != "overlap":
        return value
    if value != int(value) or not 1 <= value <= MAX_OVERLAP:
        raise DataError(f"{where}: overlap is a whole number of 1 to {MAX_OVERLAP}, got {value}")
    return int(value)
