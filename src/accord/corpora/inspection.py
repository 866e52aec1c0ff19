"""`accord data inspect`: counts, lengths, truncation, and a row that shows what is trained on."""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.text import Text

from accord.core.errors import DataError
from accord.corpora.encoding import ChatEncoder
from accord.corpora.formats import to_comparison, to_demonstration, to_prompt
from accord.corpora.readers import read_rows


def inspect(reference: str, encoder: ChatEncoder, max_length: int, console: Console) -> None:
    """Print what `reference` would train under a model's tokenizer.

    Raises:
        DataError: the file or a row cannot be used; the message names the row.
    """

    rows = read_rows(reference)
    kind = _kind(rows[0])
    prompts, responses = [], []
    for number, row in enumerate(rows, start=1):
        prompt, answers = _encode(row, kind, encoder, f"{reference}, row {number}")
        prompts.append(prompt)
        responses.append(answers)
    console.print(f"{reference}: {len(rows)} rows of {kind}")
    console.print(f"columns: {dict(Counter(key for row in rows for key in row))}")
    _print_lengths(console, "prompt", [len(p) for p in prompts])
    longest = [max((len(a) for a in answers), default=0) for answers in responses]
    if kind != "prompts":
        _print_lengths(console, "response (end of turn included)", longest)
    over = sum(len(p) + n > max_length for p, n in zip(prompts, longest, strict=True))
    lost = sum(n >= max_length for n in longest)
    console.print(
        f"over max_length {max_length}: {over} rows would be cut at the prompt's start, "
        f"{lost} have a response that does not fit"
    )
    text = Text(encoder.tokenizer.decode(list(prompts[0])), style="dim")
    for answer in responses[0]:
        text.append("\n" if len(responses[0]) > 1 else "")
        text.append(encoder.tokenizer.decode(list(answer)), style="bold green")
    console.print("first row; [bold green]green[/bold green] is trained on:")
    console.print(text)


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
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    if kind == "comparisons":
        pair = to_comparison(row, where)
        answers = [encoder.encode_response(text) for text in (pair.chosen, pair.rejected)]
        return encoder.encode_prompt(pair.prompt), answers
    if kind == "demonstrations":
        shown = to_demonstration(row, where)
        return encoder.encode_prompt(shown.prompt), [encoder.encode_response(shown.completion)]
    return encoder.encode_prompt(to_prompt(row, where).prompt), []


def _print_lengths(console: Console, name: str, lengths: list[int]) -> None:
    ordered = sorted(lengths)
    at = {q: ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.5, 0.9, 0.99)}
    marks = ", ".join(f"{int(q * 100)}% {n}" for q, n in at.items())
    console.print(f"{name} tokens: min {ordered[0]}, {marks}, max {ordered[-1]}")
