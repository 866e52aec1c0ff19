"""Standing judgements as Argilla and Label Studio write them, to go on there."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from accord.core.types import Message
from accord.store.judgements import Standing

_SPEAKER = re.compile(r"(?:\n\n)?(?:Human|Assistant):")  # such a text would be read as a transcript
_SIDES = {"a": "left", "b": "right"}


def argilla(standing: Sequence[Standing]) -> list[dict[str, Any]]:
    """One record a task, as Argilla's server has them: a response a user, rankings with ranks."""
    records = []
    for said in _by_task(standing).values():
        task = said[0].task
        names = _names(len(task.responses))
        texts = dict(zip(names, task.responses, strict=True))
        responses = [
            {
                "user_id": s.annotator,
                "status": "submitted" if s.action == "judge" else "discarded",
                "values": {
                    question: {"value": value}
                    for question, value in _argilla_values(s, names).items()
                },
            }
            for s in said
        ]
        fields = {"prompt": _chat(task.prompt), **texts}
        records.append({"id": task.id, "fields": fields, "responses": responses})
    return records


def _argilla_values(said: Standing, names: Sequence[str]) -> dict[str, Any]:
    answer = said.answer or {}
    if said.action != "judge":
        return {}
    kind = said.task.kind
    if kind == "pairwise":
        verdict = answer["verdict"]
        return {"preference": names["ab".index(verdict)] if verdict in "ab" else verdict}
    if kind == "ranking":
        ranked = zip(names, answer["ranks"], strict=True)
        return {"ranking": [{"value": n, "rank": r} for n, r in ranked if r is not None]}
    if kind == "likert":
        return {
            question: value
            for attribute, values in answer["ratings"].items()
            for question, value in _numbered(attribute, values)
        }
    if kind == "success":
        return {"success": "yes" if answer["success"] else "no"}
    name = "rewrite" if kind == "rewrite" else "critique"
    return {_about(name, said): answer["text"]}


def label_studio(standing: Sequence[Standing]) -> list[dict[str, Any]]:
    """One task with its annotations for each of ours; skips are cancelled annotations."""
    rows = []
    for number, said in enumerate(_by_task(standing).values(), start=1):
        task = said[0].task
        names = _names(len(task.responses))
        data: dict[str, Any] = {"prompt": _chat(task.prompt)}
        if task.kind == "ranking":
            texts = zip(names, task.responses, strict=True)
            data["items"] = [{"id": name, "body": text} for name, text in texts]
        else:
            data |= dict(zip(names, task.responses, strict=True))
        annotations = [
            {
                "completed_by": {"email": s.annotator},
                "was_cancelled": s.action != "judge",
                "lead_time": s.time_on_task_s,
                "created_at": datetime.fromtimestamp(s.created_at, UTC).isoformat(),
                "result": _results(s, names),
            }
            for s in said
        ]
        rows.append({"id": number, "data": data, "annotations": annotations})
    return rows


def _results(said: Standing, names: Sequence[str]) -> list[dict[str, Any]]:
    answer = said.answer or {}
    if said.action != "judge":
        return []

    def result(kind: str, name: str, about: str, value: Mapping[str, Any]) -> dict[str, Any]:
        return {"type": kind, "from_name": name, "to_name": about, "value": dict(value)}

    kind, both = said.task.kind, ",".join(names)
    if kind == "pairwise" and answer["verdict"] in _SIDES:
        side = _SIDES[answer["verdict"]]
        return [result("pairwise", "preference", both, {"selected": side})]
    if kind == "pairwise":  # its pairwise tag knows no ties
        return [result("choices", "preference", both, {"choices": [answer["verdict"]]})]
    if kind == "ranking":
        # Its ranker knows none either: what is equal comes in the order of the responses.
        ranked = sorted(
            (rank, place) for place, rank in enumerate(answer["ranks"]) if rank is not None
        )
        order = [names[place] for _, place in ranked]
        return [result("ranker", "ranking", "items", {"ranker": {"rank": order}})]
    if kind == "likert":
        return [
            result("rating", name, names[place], {"rating": values[place]})
            for name, values in answer["ratings"].items()
            for place in range(len(names))
            if values[place] is not None
        ]
    if kind == "success":
        label = "yes" if answer["success"] else "no"
        return [result("choices", "success", names[0], {"choices": [label]})]
    name = "rewrite" if kind == "rewrite" else "critique"
    about = names[answer.get("response", 0)]
    return [result("textarea", name, about, {"text": [answer["text"]]})]


def _by_task(standing: Sequence[Standing]) -> dict[str, list[Standing]]:
    """What can be written, by task: what was erased cannot."""
    groups: dict[str, list[Standing]] = {}
    for s in standing:
        if s.answer is not None and not s.is_surplus:
            groups.setdefault(s.task.id, []).append(s)
    return groups


def _names(count: int) -> list[str]:
    return [f"response-{n}" for n in range(1, count + 1)]


def _numbered(name: str, values: Sequence[Any]) -> list[tuple[str, Any]]:
    """A question for each response that has a value."""
    if len(values) == 1:
        return [(name, values[0])]
    return [(f"{name}-{n}", value) for n, value in enumerate(values, 1) if value is not None]


def _about(name: str, said: Standing) -> str:
    place = (said.answer or {}).get("response", 0)
    return name if len(said.task.responses) == 1 else f"{name}-{place + 1}"


def _chat(prompt: Sequence[Message]) -> Any:
    """A lone question as text, a conversation as messages: both are read back."""
    is_question = len(prompt) == 1 and prompt[0]["role"] == "user"
    text = prompt[0]["content"] if is_question else ""
    if is_question and not _SPEAKER.match(text):
        return text
    return [{**message} for message in prompt]
