"""Judgements and answers that were given elsewhere, as entries into the store."""

from collections.abc import Sequence
from typing import Any

from accord.core.types import Answered, Judgement, Row, Verdict
from accord.store.imports.entries import Entry, Said, in_task_order, without_order

_SWAPPED: dict[Verdict, Verdict] = {"a": "b", "b": "a", "tie": "tie"}


def pair_entry(judgements: Sequence[Judgement]) -> Entry:
    """One pair and all that was said of it, in the task's order."""
    first = judgements[0]
    responses: tuple[str, ...] = (first.response_a, first.response_b)
    if first.task_id is None:
        responses, _ = without_order(responses)
    said, columns = [], []
    for judgement in judgements:
        is_swapped = judgement.response_a != responses[0]
        answer: dict[str, Any] = {"verdict": judgement.verdict}
        if is_swapped:
            answer = {"verdict": _SWAPPED[judgement.verdict]}
        if judgement.reason is not None:
            answer["reason"] = judgement.reason
        if judgement.p_a is not None:
            answer["p_a"] = 1 - judgement.p_a if is_swapped else judgement.p_a
        order = (1, 0) if is_swapped else (0, 1)
        seed, kind = judgement.display_seed, judgement.annotator_kind
        said.append(Said(judgement.annotator, answer, kind, order=order, seed=seed))
        columns.append(in_task_order(judgement.columns, is_swapped=is_swapped))
    agreed: Row = {
        key: value
        for key, value in columns[0].items()
        if all(key in other and other[key] == value for other in columns)
    }
    return Entry(
        first.where,
        "pairwise",
        first.prompt,
        responses,
        tuple(said),
        first.policies if first.response_a == responses[0] else first.policies[::-1],
        columns=agreed,
        known_as=first.task_id,
    )


def answer_entry(answered: Answered) -> Entry:
    """A task in an order that tells nothing, and the answer in that order."""
    responses, places = answered.responses, tuple(range(len(answered.responses)))
    if answered.task_id is None:
        responses, places = without_order(answered.responses)

    def ordered(values: Sequence[Any]) -> list[Any]:
        is_whole = len(values) == len(places)  # else the check refuses it
        return [values[place] for place in places] if is_whole else list(values)

    answer = dict(answered.answer)
    if "ranks" in answer:
        answer["ranks"] = ordered(answer["ranks"])
    if "ratings" in answer:
        answer["ratings"] = {name: ordered(v) for name, v in answer["ratings"].items()}
    if "response" in answer:
        answer["response"] = places.index(answer["response"])
    said = (Said(answered.annotator, answer, answered.annotator_kind),)
    return Entry(
        answered.where,
        answered.kind,
        answered.prompt,
        responses,
        said,
        tuple(ordered(answered.policies)),
        columns=dict(answered.columns),
        known_as=answered.task_id,
    )
