"""`accord data inspect`: counts, lengths, truncation, and a row that shows what is trained on."""

from collections import Counter
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.text import Text

from accord.core.errors import DataError
from accord.corpora.demonstrations import EncodedDemonstration, encode_demonstration, to_source
from accord.corpora.encoding import ChatEncoder
from accord.corpora.formats import to_comparison, to_prompt
from accord.corpora.readers import read_rows

# Longer than any row: what does not fit is counted here, not refused.
_NO_LIMIT = 1 << 30


def inspect(reference: str, encoder: ChatEncoder, max_length: int, console: Console) -> None:
    """Print what `reference` would train under a model's tokenizer.

    Raises:
        DataError: the file or a row cannot be used; the message names the row.
    """
    rows = read_rows(reference)
    kind = _kind(rows[0])
    sides = [
        _encode(row, kind, encoder, f"{reference}, row {number}")
        for number, row in enumerate(rows, start=1)
    ]
    longest = [max(row, key=lambda side: len(side.input_ids)) for row in sides]
    console.print(f"{reference}: {len(rows)} rows of {kind}")
    console.print(f"columns: {dict(Counter(key for row in rows for key in row))}")
    _print_lengths(console, "prompt", [len(r.input_ids) - r.targets for r in longest])
    if kind != "prompts":
        _print_lengths(console, "response (end of turn included)", [r.targets for r in longest])
    over = sum(len(row.input_ids) > max_length for row in longest)
    lost = sum(_last_response(row) >= max_length for row in longest)
    console.print(
        f"over max_length {max_length}: {over} rows would be cut at the prompt's start, "
        f"{lost} have a response that does not fit"
    )
    console.print("first row; [bold green]green[/bold green] is trained on:")
    for side in sides[0]:
        console.print(_coloured(side, encoder))


def _last_response(row: EncodedDemonstration) -> int:
    """Tokens after the last one that is no target."""
    return next(
        (n for n, target in enumerate(reversed(row.target_mask)) if not target), row.targets
    )


def _coloured(row: EncodedDemonstration, encoder: ChatEncoder) -> Text:
    text = Text()
    for is_target, run in groupby(
        zip(row.target_mask, row.input_ids, strict=True), key=lambda pair: pair[0]
    ):
        style = "bold green" if is_target else "dim"
        text.append(encoder.tokenizer.decode([token for _, token in run]), style=style)
    return text


def _kind(row: dict[str, Any]) -> str:
    if "chosen" in row:
        return "comparisons"
    if "messages" in row or "completion" in row:
        return "demonstrations"
    if "prompt" in row:
        return "prompts"
    raise DataError(f"expected prompt, completion, messages or chosen; found {', '.join(row)}")


def _encode(
    row: dict[str, Any], kind: str, encoder: ChatEncoder, where: str
) -> list[EncodedDemonstration]:
    """The row's texts with what is trained on: two for a pair, one otherwise."""
    if kind == "demonstrations":
        source = to_source(row, where)
        return [encode_demonstration(source, encoder, max_length=_NO_LIMIT)]
    if kind == "comparisons":
        pair = to_comparison(row, where)
        prompt = encoder.encode_prompt(pair.prompt)
        answers = [encoder.encode_response(text) for text in (pair.chosen, pair.rejected)]
    else:
        prompt, answers = encoder.encode_prompt(to_prompt(row, where).prompt), [()]
    return [
        EncodedDemonstration(prompt + answer, (False,) * len(prompt) + (True,) * len(answer))
        for answer in answers
    ]


def _print_lengths(console: Console, name: str, lengths: list[int]) -> None:
    ordered = sorted(lengths)
    at = {q: ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.5, 0.9, 0.99)}
    marks = ", ".join(f"{int(q * 100)}% {n}" for q, n in at.items())
    console.print(f"{name} tokens: min {ordered[0]}, {marks}, max {ordered[-1]}")
