"""Forms of the annotation page: fields as they were displayed, answers in the task's own order.

Only this module knows both. Responses stand at places 0, 1, ..., lettered A, B, ...; the task's
response `order[place]` stands at a place. Whatever a form says of a place is stored of that
response, and a judgement that was taken back is put into the form again by the same rule.
"""

import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from accord.core.errors import DataError
from accord.core.types import Action, Row, Submission, Task, TaskKind
from accord.store.answers import LIKERT, finite_seconds

LETTERS = string.ascii_uppercase
ATTRIBUTES = ("helpful", "harmless", "honest")
"""What is rated where a project names nothing else."""

Fields = Mapping[str, str]
_ACTIONS = tuple(action for action in get_args(Action) if action != "undo")
_KEY = re.compile(r"[A-Za-z0-9_-]{16,64}")
_CHOICE = re.compile(r"([AB])([1-4])")


def check_key(key: str) -> str:
    """A key that a page made.

    Raises:
        DataError: it is none.
    """
    if not _KEY.fullmatch(key):
        raise DataError("the form has no key of its own; load the page again")
    return key


@dataclass(frozen=True)
class Form:
    """A task as it was displayed: enough to read what comes back, and to fill it in again."""

    task: Task
    order: tuple[int, ...]
    """the task's response at each place"""
    attributes: tuple[str, ...] = ATTRIBUTES
    """what a likert task rates, in the order of its fields"""

    def places(self) -> list[tuple[int, str, str]]:
        """Place, letter and text of every response, as displayed."""
        texts = self.displayed(self.task.responses)
        return [(place, LETTERS[place], text) for place, text in enumerate(texts)]

    def read(self, fields: Fields) -> Submission:
        """What the form says.

        Raises:
            DataError: it says nothing, or what cannot be; the message says what was expected.
        """
        key = check_key(fields.get("key", ""))
        action = fields.get("action", "judge")
        if action not in _ACTIONS:
            raise DataError(f"expected one of {', '.join(_ACTIONS)}, got {action!r:.40}")
        return Submission(
            key=key,
            answer=self._answer(fields) if action == "judge" else _aside(action, fields),
            action=cast(Action, action),
            time_on_task_s=_seconds(fields.get("time_on_task_s", "")),
            guideline_version=_version(fields.get("guideline_version", "")),
        )

    def _answer(self, fields: Fields) -> Row:
        answer = _READERS[self.task.kind](self, fields)
        comment = _text(fields, "comment").strip()
        return {**answer, "reason": comment} if comment else answer

    def fill(self, answer: Row) -> dict[str, str]:
        """Fields that say what an answer says: the other way round."""
        fields = _WRITERS[self.task.kind](self, answer)
        if answer.get("reason"):
            fields["comment"] = str(answer["reason"])
        return fields

    def gist(self, answer: Row) -> str:
        """An answer in a few words, by the letters that were displayed."""
        fields = self.fill(answer)
        match self.task.kind:
            case "pairwise":
                says = {"tie": "a tie", "both_bad": "both bad"}
                return says.get(fields["choice"]) or f"{fields['choice'][0]} is better"
            case "ranking":
                ranks = [(fields[f"rank_{p}"], LETTERS[p]) for p in range(len(self.order))]
                ranked = sorted((int(rank), letter) for rank, letter in ranks if rank)
                return ", ".join(f"{rank}. {letter}" for rank, letter in ranked)
            case "success":
                return "done" if answer["success"] else "not done"
            case "likert":
                return f"{sum(map(bool, fields.values()))} ratings"
            case _:
                text = fields["text"]
                return f"“{text[:40]}…”" if len(text) > 40 else f"“{text}”"

    def stored(self, by_place: Sequence[Any]) -> list[Any]:
        """Values by place, in the task's order."""
        values: list[Any] = [None] * len(self.order)
        for place, response in enumerate(self.order):
            values[response] = by_place[place]
        return values

    def displayed(self, by_response: Sequence[Any]) -> list[Any]:
        """Values in the task's order, by place."""
        return [by_response[response] for response in self.order]


def _read_pairwise(form: Form, fields: Fields) -> Row:
    choice = fields.get("choice", "")
    if choice in ("tie", "both_bad"):
        return {"verdict": choice}
    found = _CHOICE.fullmatch(choice)
    if found is None:
        raise DataError("choose which response is the better, a tie, or that both are bad")
    response = form.order[LETTERS.index(found[1])]
    return {"verdict": "ab"[response], "strength": int(found[2])}


def _fill_pairwise(form: Form, answer: Row) -> dict[str, str]:
    if answer["verdict"] not in ("a", "b"):
        return {"choice": answer["verdict"]}
    place = form.order.index("ab".index(answer["verdict"]))
    return {"choice": f"{LETTERS[place]}{answer.get('strength') or 1}"}


def _read_ranking(form: Form, fields: Fields) -> Row:
    count = len(form.order)
    ranks = [_whole(fields.get(f"rank_{p}", ""), 1, count, "a rank") for p in range(count)]
    if sum(rank is not None for rank in ranks) < 2:
        raise DataError("rank at least two responses; the others may stay without a rank")
    return {"ranks": form.stored(ranks)}


def _fill_ranking(form: Form, answer: Row) -> dict[str, str]:
    ranks = form.displayed(answer["ranks"])
    return {f"rank_{p}": "" if rank is None else str(rank) for p, rank in enumerate(ranks)}


def _read_likert(form: Form, fields: Fields) -> Row:
    low, high = LIKERT
    ratings = {}
    for number, attribute in enumerate(form.attributes):
        given = [
            _whole(
                fields.get(f"rating_{number}_{place}", ""), low, high, f"a rating of {attribute}"
            )
            for place in range(len(form.order))
        ]
        ratings[attribute] = form.stored(given)
    if all(value is None for values in ratings.values() for value in values):
        raise DataError("rate at least one response")
    return {"ratings": ratings}


def _fill_likert(form: Form, answer: Row) -> dict[str, str]:
    fields = {}
    for number, attribute in enumerate(form.attributes):
        values = answer["ratings"].get(attribute)
        for place, value in enumerate(form.displayed(values) if values else []):
            fields[f"rating_{number}_{place}"] = "" if value is None else str(value)
    return fields


def _read_text(form: Form, fields: Fields) -> Row:
    text = _text(fields, "text")
    if not text.strip():
        raise DataError("write something first: the text is empty")
    place = _whole(fields.get("response", "0"), 0, len(form.order) - 1, "a response")
    if place is None:
        raise DataError("choose which response this is about")
    return {"text": text, "response": form.order[place]}


def _fill_text(form: Form, answer: Row) -> dict[str, str]:
    place = form.order.index(answer.get("response", 0))
    return {"text": answer["text"], "response": str(place)}


def _read_success(_: Form, fields: Fields) -> Row:
    choice = fields.get("success")
    if choice not in ("yes", "no"):
        raise DataError("choose whether the task was done or not")
    return {"success": choice == "yes"}


def _fill_success(_: Form, answer: Row) -> dict[str, str]:
    return {"success": "yes" if answer["success"] else "no"}


def _aside(action: str, fields: Fields) -> Row:
    """Why a task was skipped, flagged or left open; a flag has to say."""
    reason = _text(fields, f"{action}_reason").strip()
    text = _text(fields, f"{action}_text").strip()
    if action in ("skip", "flag") and not reason:
        raise DataError(f"choose a reason for the {action}")
    return {name: said for name, said in (("reason", reason), ("text", text)) if said}


def _text(fields: Fields, name: str) -> str:
    # Browsers send line breaks as CRLF, scripts as LF: the same text is to be the same answer.
    return fields.get(name, "").replace("\r\n", "\n")


def _whole(text: str, low: int, high: int, what: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,3}", text) or not low <= int(text) <= high:
        raise DataError(f"expected {what} from {low} to {high}, got {text!r:.40}")
    return int(text)


def _seconds(text: str) -> float | None:
    try:
        return finite_seconds(float(text))
    except ValueError:
        return None


def _version(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


_READERS: dict[TaskKind, Callable[[Form, Fields], Row]] = {
    "pairwise": _read_pairwise,
    "ranking": _read_ranking,
    "likert": _read_likert,
    "rewrite": _read_text,
    "critique": _read_text,
    "success": _read_success,
}
_WRITERS: dict[TaskKind, Callable[[Form, Row], dict[str, str]]] = {
    "pairwise": _fill_pairwise,
    "ranking": _fill_ranking,
    "likert": _fill_likert,
    "rewrite": _fill_text,
    "critique": _fill_text,
    "success": _fill_success,
}
