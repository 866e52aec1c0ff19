"""The ecosystem's columns, normalised to typed rows; a wrong row is an error that names it."""

import dataclasses
import itertools
import math
import re
from collections.abc import Iterable
from typing import Any

from accord.core.errors import DataError
from accord.core.types import Comparison, Demonstration, Message, PromptRow, TextPrompt

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):[ \t]?")
_TEXT_COLUMNS = {
    "prompt", "completion", "chosen", "rejected", "p_chosen", "margin", "messages",
    "completions", "ranks",
}  # fmt: skip


def parse_transcript(text: str) -> list[Message]:
    r"""Messages of an Anthropic `\n\nHuman: ... \n\nAssistant: ...` transcript."""
    marks = list(_TURN.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    role = {"Human": "user", "Assistant": "assistant"}
    return [
        Message(role=role[mark[1]], content=text[mark.end() : end].strip())
        for mark, end in zip(marks, ends, strict=True)
    ]


def as_messages(value: Any, *, role: str, where: str) -> tuple[Message, ...]:
    """A string, a transcript or a message list, as messages.

    Args:
        value: what the column holds.
        role: the role of a plain string.
        where: file and row, for errors.
    """
    if isinstance(value, str):
        if _TURN.match(value):
            return tuple(parse_transcript(value))
        return (Message(role=role, content=value),)
    if isinstance(value, list) and value and all(_is_message(m) for m in value):
        return tuple(Message(role=m["role"], content=m["content"]) for m in value)
    raise DataError(
        f"{where}: expected text or a non-empty list of {{role, content}}, got {value!r:.80}"
    )


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("role"), str)
        and isinstance(value.get("content"), str)
    )


def _require(row: dict[str, Any], columns: Iterable[str], where: str) -> None:
    missing = [name for name in columns if row.get(name) is None]
    if missing:
        raise DataError(
            f"{where}: no column {missing[0]!r}; expected {', '.join(columns)}; "
            f"found {', '.join(map(str, row)) or 'none'}"
        )


def _response(messages: tuple[Message, ...], where: str) -> str:
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        raise DataError(f"{where}: expected exactly one assistant message as the response")
    if not messages[0]["content"].strip():
        raise DataError(f"{where}: the response is empty")
    return messages[0]["content"]


def _extra(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in _TEXT_COLUMNS}


def _prompt(row: dict[str, Any], where: str) -> tuple[Message, ...]:
    prompt = as_messages(row["prompt"], role="user", where=f"{where}, column 'prompt'")
    if not any(message["content"].strip() for message in prompt):
        raise DataError(f"{where}: the prompt is empty")
    return prompt


def to_prompt(row: dict[str, Any], where: str) -> PromptRow:
    """A row with `prompt`, or a pair whose prompt it shares; other columns are kept for scorers."""
    if row.get("prompt") is None and row.get("chosen") is not None:
        return PromptRow(to_comparison(row, where).prompt, _extra(row))
    _require(row, ["prompt"], where)
    prompt = _prompt(row, where)
    is_text = isinstance(row["prompt"], str) and not _TURN.match(row["prompt"])
    return PromptRow(TextPrompt(prompt) if is_text else prompt, _extra(row))


def to_demonstration(row: dict[str, Any], where: str) -> Demonstration:
    """`prompt`+`completion`; `messages` that end with the assistant; or a pair's chosen side."""
    if row.get("chosen") is not None:
        pair = to_comparison(row, where)
        return Demonstration(pair.prompt, pair.chosen, _extra(row))
    if row.get("messages") is not None:
        messages = as_messages(row["messages"], role="user", where=where)
        return Demonstration(messages[:-1], _response(messages[-1:], where), _extra(row))
    _require(row, ["prompt", "completion"], where)
    completion = as_messages(row["completion"], role="assistant", where=where)
    return Demonstration(_prompt(row, where), _response(completion, where), _extra(row))


def to_comparison(row: dict[str, Any], where: str) -> Comparison:
    r"""A row with `chosen`+`rejected` and a `prompt`, explicit or shared by two transcripts.

    Raises:
        DataError: columns are missing, the two prompts differ, a response is empty, the two
            responses are identical, `p_chosen` is outside [0, 1], or `margin` is not finite.
    """
    _require(row, ["chosen", "rejected"], where)
    chosen = as_messages(row["chosen"], role="assistant", where=f"{where}, column 'chosen'")
    rejected = as_messages(row["rejected"], role="assistant", where=f"{where}, column 'rejected'")
    if row.get("prompt") is not None:
        prompt = _prompt(row, where)
        if len(chosen) > 1 and chosen[: len(prompt)] == prompt:
            chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
    else:
        prompt = chosen[:-1]
        if not prompt or rejected[:-1] != prompt:
            raise DataError(f"{where}: 'chosen' and 'rejected' do not share a prompt")
        chosen, rejected = chosen[-1:], rejected[-1:]
    good, bad = _response(chosen, where), _response(rejected, where)
    if good == bad:
        raise DataError(f"{where}: 'chosen' and 'rejected' are identical")
    p_chosen = float(1.0 if row.get("p_chosen") is None else row["p_chosen"])
    if not 0 <= p_chosen <= 1:
        raise DataError(f"{where}: p_chosen must lie in [0, 1], got {p_chosen}")
    margin = float(row.get("margin") or 0.0)
    if not math.isfinite(margin):
        raise DataError(f"{where}: margin must be finite, got {margin}; leave it out for none")
    return Comparison(prompt, good, bad, p_chosen, margin, _extra(row), where=where)


def to_comparisons(row: dict[str, Any], where: str) -> list[Comparison]:
    """The comparison of a pair's row, or all comparisons of a ranking's.

    A ranking has `prompt`, `completions`, and `ranks` with 1 for the best; equal ranks are ties,
    and what has the rank None was not ranked. Of K ranked responses come K (K - 1) / 2 pairs.

    Raises:
        DataError: as `to_comparison`; or there is not one rank each, fewer than two are ranked, or
            two ranked responses are identical.
    """
    if row.get("completions") is None:
        return [to_comparison(row, where)]
    _require(row, ["prompt", "completions", "ranks"], where)
    responses, ranks = row["completions"], row["ranks"]
    if isinstance(responses, list):  # each a text, a message, or a list of one message
        responses = [[r] if isinstance(r, dict) else r for r in responses]
    if not isinstance(responses, list) or not isinstance(ranks, list):
        raise DataError(f"{where}: expected lists in 'completions' and 'ranks'")
    if len(responses) != len(ranks):
        raise DataError(f"{where}: {len(responses)} completions, but {len(ranks)} ranks")
    ranked = sorted((float(rank), place) for place, rank in enumerate(ranks) if rank is not None)
    if len(ranked) < 2 or not all(math.isfinite(rank) for rank, _ in ranked):
        raise DataError(f"{where}: expected at least two ranks, all finite, got {ranks!r:.80}")
    pairs = []
    for (best, i), (worse, j) in itertools.combinations(ranked, 2):
        p_chosen = 0.5 if best == worse else 1.0
        pair = {**row, "chosen": responses[i], "rejected": responses[j], "p_chosen": p_chosen}
        pairs.append(dataclasses.replace(to_comparison(pair, where), ranking=where))
    return pairs


def to_responses(row: dict[str, Any], where: str) -> tuple[PromptRow, list[str]]:
    """A prompt and responses to it: `responses` or `completions`, or a pair's two sides.

    What the row says of which is better is left out. Pairs are `chosen` and `rejected`, or
    `response_a` and `response_b`.

    Raises:
        DataError: there are no responses, or one is no text.
    """
    if row.get("chosen") is not None:
        pair = to_comparison(row, where)
        return PromptRow(pair.prompt, pair.columns), [pair.chosen, pair.rejected]
    given = row.get("responses", row.get("completions"))
    if given is None:
        _require(row, ["response_a", "response_b"], where)
        given = [row["response_a"], row["response_b"]]
    if not isinstance(given, list):
        raise DataError(f"{where}: expected a list of responses, got {given!r:.80}")
    texts = []
    for value in given:
        messages = as_messages(
            [value] if isinstance(value, dict) else value, role="assistant", where=where
        )
        texts.append(messages[-1]["content"])
    known = {"responses", "response_a", "response_b"}
    prompt = to_prompt({k: v for k, v in row.items() if k not in known}, where)
    return prompt, texts


def to_text(row: dict[str, Any], where: str) -> str | tuple[Message, ...]:
    """A pre-training row: `text`, `messages`, `prompt`+`completion`, or `question`+`answer`."""
    if isinstance(row.get("text"), str):
        return str(row["text"])
    if row.get("messages") is not None:
        return as_messages(row["messages"], role="user", where=where)
    names = ("question", "answer") if "question" in row else ("prompt", "completion")
    _require(row, names, where)
    question = as_messages(row[names[0]], role="user", where=where)
    return question + as_messages(row[names[1]], role="assistant", where=where)
