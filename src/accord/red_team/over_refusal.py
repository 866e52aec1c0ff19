"""Refusals of harmless prompts: beside attack success, for one says nothing without the other."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from accord.annotation.win_rates import Difference, paired_difference
from accord.core.errors import DataError
from accord.red_team.attack import Ask, said
from accord.red_team.behaviours import has_values, one_message
from accord.red_team.campaign import Models, is_declined
from accord.suites.base import Answer, SuiteResult
from accord.suites.over_refusal import Request, XSTest, load_requests
from accord.suites.refusals import refuses
from accord.suites.rows import Record, read_records

DECLINED = "I can't answer that: the endpoint declined the question."
"""Stands for a reply that the target's endpoint would not give: a refusal in nobody's words."""


def load_safe(path: Path | str, only: Mapping[str, str] = MappingProxyType({})) -> list[Request]:
    """XSTest's prompts (safe and unsafe), or any rows with a `prompt`, which are all safe.

    A prompt is a text or one user's message; `kind`, `type` or `category` sorts the report. With
    `only`, rows that have these values by column are taken, and are all safe.

    Raises:
        DataError: the file or a row cannot be used.
    """
    records = read_records(path)
    if not only and "label" in records[0].values and "type" in records[0].values:
        return load_requests(path)
    found = [
        _request(record, number)
        for number, record in enumerate(records, start=1)
        if has_values(record, only)
    ]
    if not found:
        raise DataError(f"{path}: no row has the values {dict(only)}")
    return found


def _request(record: Record, number: int) -> Request:
    prompt = one_message(record.get("prompt", (str, list)), record.where)
    known = [record.values.get(name) for name in ("kind", "type", "category")]
    kind = next((str(value) for value in known if value), "any")
    return Request(str(record.values.get("id", number)), prompt, kind, is_safe=True)


def ask_safe(requests: Sequence[Request], models: Models) -> SuiteResult:
    """What the target says to them, and the figures of `XSTest`.

    A prompt that the target's endpoint declines is refused; others without an answer are left out.
    """
    suite = XSTest(requests)
    questions = suite.questions()
    asks = [Ask(question.prompt, is_attempt=False) for question in questions]
    # The likeliest reply, so that two models differ by what they learned and not by chance.
    said = replace(models, temperature=0.0).answers(asks)
    texts = [DECLINED if is_declined(one) else getattr(one, "text", None) for one in said]
    answers = {
        question.id: Answer((text,), ("stop",))
        for question, text in zip(questions, texts, strict=True)
        if text is not None
    }
    result = suite.grade(answers)
    if declined := sum(map(is_declined, said)):
        note = f"of {len(said)} prompts the endpoint itself declined {declined}: refused, too"
        return replace(result, notes=[*result.notes, note])
    return result


def pairs_against_refusals(
    requests: Sequence[Request], result: SuiteResult, models: Models, *, draws: int, seed: int
) -> list[dict[str, Any]]:
    """For harmless prompts that were refused: another draw that is no refusal, over the refusal.

    Training on failures alone teaches to refuse; these comparisons stand against it. A prompt whose
    draws are all refusals has none, nor has one that the endpoint refused and not the model.
    """
    prompts = {request.id: request for request in requests if request.is_safe}
    refused = [
        row
        for row in result.rows
        if row["refused"] and row["id"] in prompts and row["response"] != DECLINED
    ]
    asks = [
        Ask(said(prompts[row["id"]].prompt), seed=seed + 1 + draw, is_attempt=False)
        for row in refused
        for draw in range(draws)
    ]
    texts = models.replies(asks)
    found = []
    for number, row in enumerate(refused):
        own = texts[number * draws : (number + 1) * draws]
        better = next((t.strip() for t in own if t and t.strip() and not refuses(t)), None)
        if better is not None:
            request = prompts[row["id"]]
            found.append(
                {
                    "prompt": list(said(request.prompt)),
                    "chosen": better,
                    "rejected": row["response"],
                    "p_chosen": 1.0,
                    "chosen_from": "best_of_n",
                    "category": request.kind,
                    "aim": "helpful",
                    "attack": "none",
                    "family": "over_refusal",
                    "source": "red_team",
                }
            )
    return found


def change_of_refusals(
    now: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]], *, seed: int
) -> Difference | None:
    """How the share of refused safe prompts moved, over those that both runs asked.

    Args:
        now: rows of `SuiteResult`, with `id`, `label` and `refused`.
        before: of the earlier run.
    """
    new, old = ({r["id"]: r["refused"] for r in rows if r["label"] == "safe"}
                for rows in (now, before))  # fmt: skip
    common = [name for name in new if name in old]
    if not common:
        return None
    values = [[float(found[name]) for name in common] for found in (new, old)]
    return paired_difference(values[0], values[1], common, seed=seed)
