"""Instructions that a program can check: what is asked in words, and whether a response does it.

Each check has the sentence that a prompt states it with, so that what is asked and what is checked
stand side by side. Case is ignored unless a check is about it. The kinds are those of Zhou et al.
2023 (IFEval, arXiv:2311.07911) and a few more; wording and code are our own.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from accord.suites.texts import (
    WORD,
    lines_of,
    paragraphs_of,
    parsed,
    sentences_of,
    times,
    words_of,
)

Parameters = Mapping[str, Any]

_BULLET = re.compile(r"^[ \t]*[-*•] +\S", re.MULTILINE)
_NUMBERED = re.compile(r"^[ \t]*(\d{1,3})[.)] +\S", re.MULTILINE)
_TABLE_RULE = re.compile(r"^\|?(?:\s*:?-+:?\s*\|)+(?:\s*:?-+:?\s*)?$")
_SPANISH = re.compile(
    r"\b(?:de|la|el|los|las|que|y|en|un|una|es|con|por|no|se|lo|sí|qué)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Kind:
    """A kind of instruction: `holds(text, **parameters)` says whether a response follows it."""

    sentence: str
    """with the parameters in braces"""
    holds: Callable[..., bool]

    def ask(self, parameters: Parameters) -> str:
        """The instruction in words."""
        shown = {
            name: ", ".join(f'"{item}"' for item in value) if isinstance(value, list) else value
            for name, value in parameters.items()
        }
        return self.sentence.format(**shown)


@dataclass(frozen=True)
class Check:
    """One instruction of a prompt."""

    kind: str
    parameters: Parameters

    def ask(self) -> str:
        """The instruction in words."""
        return KINDS[self.kind].ask(self.parameters)

    def is_met_by(self, response: str) -> bool:
        """Whether the response, as it stands, does what is asked; an empty one never does."""
        return bool(response.strip()) and KINDS[self.kind].holds(response, **self.parameters)

    def is_nearly_met_by(self, response: str) -> bool:
        """Whether it does without its first line, its last line, or the asterisks of emphasis.

        Source: the eight variants of the loose criterion of IFEval (section 2.2).
        """
        lines = response.split("\n")
        parts = [lines, lines[1:], lines[:-1], lines[1:-1]]
        texts = ["\n".join(part).strip() for part in parts]
        return any(self.is_met_by(text) for text in [*texts, *[t.replace("*", "") for t in texts]])


def _json_holds(text: str, keys: list[str]) -> bool:
    value = parsed(text)
    return isinstance(value, dict) and set(value) == set(keys)


def _json_list_holds(text: str, n: int) -> bool:
    value = parsed(text)
    is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return is_list and len(value) == n


def _numbered_holds(text: str, n: int) -> bool:
    return [int(number) for number in _NUMBERED.findall(text)] == list(range(1, n + 1))


def _table_holds(text: str, columns: int, rows: int) -> bool:
    lines = [line.strip() for line in lines_of(text)]
    rules = [i for i, line in enumerate(lines) if _TABLE_RULE.match(line) and "|" in line]
    if len(rules) != 1 or rules[0] == 0:
        return False
    table = [line for line in (lines[rules[0] - 1], *lines[rules[0] + 1 :]) if "|" in line]
    widths = {len(line.strip("|").split("|")) for line in table}
    return widths == {columns} and len(table) == rows + 1


def _alternatives_hold(text: str) -> bool:
    parts = [part.strip() for part in re.split(r"^\s*\*{6}\s*$", text.strip(), flags=re.MULTILINE)]
    return len(parts) == 2 and all(parts) and parts[0] != parts[1]


def _spanish_holds(text: str) -> bool:
    """As many opening marks as closing ones, and some; and a word that is in most Spanish texts."""
    questions, cries = text.count("?"), text.count("!")
    is_paired = questions == text.count("¿") and cries == text.count("¡")
    return is_paired and questions > 0 and cries > 0 and _SPANISH.search(text) is not None


def _quotes_hold(text: str, left: str, right: str) -> bool:
    quoted = re.search(rf"{re.escape(left)}[^{left}{right}]*\w[^{left}{right}]*{right}", text)
    others = set('"“”„«»') - {left, right}
    return quoted is not None and not others & set(text)


def _letters(text: str) -> str:
    return "".join(c for c in text if c.isalpha())


def _is_upper(text: str) -> bool:
    letters = _letters(text)
    return bool(letters) and letters == letters.upper()


def _sections_hold(text: str, name: str, n: int) -> bool:
    found = re.findall(rf"^\W*{re.escape(name)} (\d{{1,3}})\b", text, re.MULTILINE)
    return [int(number) for number in found] == list(range(1, n + 1))


def _starts(text: str, phrase: str) -> bool:
    return text.strip().lower().startswith(phrase.lower())


def _ends(text: str, phrase: str) -> bool:
    return text.strip().strip('"').rstrip().lower().endswith(phrase.lower())


KINDS: dict[str, Kind] = {
    # length
    "words_at_least": Kind("Use at least {n} words.", lambda text, n: len(words_of(text)) >= n),
    "words_at_most": Kind("Use at most {n} words.", lambda text, n: len(words_of(text)) <= n),
    "sentences": Kind("Write exactly {n} sentences.", lambda text, n: len(sentences_of(text)) == n),
    "paragraphs": Kind(
        "Write exactly {n} paragraphs, with a blank line between them.",
        lambda text, n: len(paragraphs_of(text)) == n,
    ),
    "lines": Kind(
        "Write exactly {n} lines, and nothing else.", lambda text, n: len(lines_of(text)) == n
    ),
    "short_lines": Kind(
        "No line may be longer than {n} characters.",
        lambda text, n: max(map(len, text.splitlines())) <= n,
    ),
    # words
    "includes": Kind(
        "Use each of these words: {words}.",
        lambda text, words: all(times(text, word) for word in words),
    ),
    "avoids": Kind(
        "Do not use any of these words: {words}.",
        lambda text, words: not any(times(text, word) for word in words),
    ),
    "repeats_word": Kind(
        'Use the word "{word}" exactly {n} times.',
        lambda text, word, n: times(text, word) == n,
    ),
    "letter_at_most": Kind(
        'The letter "{letter}" may appear at most {n} times.',
        lambda text, letter, n: text.lower().count(letter) <= n,
    ),
    "one_of": Kind(
        "Answer with one of these and nothing else: {options}.",
        lambda text, options: (
            text.strip().strip('".').lower() in [option.lower() for option in options]
        ),
    ),
    # shape
    "bullets": Kind(
        'Give exactly {n} bullet points, each on a line that starts with "- ".',
        lambda text, n: len(_BULLET.findall(text)) == n,
    ),
    "numbered": Kind("Give a numbered list of exactly {n} items, from 1 on.", _numbered_holds),
    "json_object": Kind(
        "Answer with one JSON object, and nothing else, that has exactly the keys {keys}.",
        _json_holds,
    ),
    "json_list": Kind(
        "Answer with one JSON list of {n} strings, and nothing else.", _json_list_holds
    ),
    "table": Kind(
        "Give a Markdown table with {columns} columns and {rows} rows below its header.",
        _table_holds,
    ),
    "sections": Kind(
        'Write {n} sections; begin each with a line "{name} X", where X counts from 1.',
        _sections_hold,
    ),
    "title": Kind(
        "Put a title in double angle brackets, as in <<a title>>.",
        lambda text: re.search(r"<<[^<>\n]*\w[^<>\n]*>>", text) is not None,
    ),
    "highlights": Kind(
        "Set at least {n} phrases in *asterisks*.",
        lambda text, n: len(re.findall(r"(?<!\*)\*(?![\s*])[^*\n]+\*", text)) >= n,
    ),
    "placeholders": Kind(
        "Leave at least {n} gaps to fill in, in square brackets, as in [name].",
        lambda text, n: len(re.findall(r"\[[^\[\]\n]*\w[^\[\]\n]*\]", text)) >= n,
    ),
    "alternatives": Kind(
        "Give two different answers, with a line of six asterisks (******) between them.",
        _alternatives_hold,
    ),
    # case and punctuation
    "lower_case": Kind(
        "Write in lower case only, with no capital letter.",
        lambda text: bool(_letters(text)) and text == text.lower(),
    ),
    "upper_case": Kind("Write in CAPITAL LETTERS only.", lambda text: _is_upper(text)),
    "capital_words": Kind(
        "Write at least {n} words all in CAPITALS.",
        lambda text, n: sum(len(word) > 1 and _is_upper(word) for word in WORD.findall(text)) >= n,
    ),
    "no_commas": Kind("Use no comma.", lambda text: not set(",،，、") & set(text)),
    "only_questions": Kind(
        "Every sentence has to be a question.",
        lambda text: (
            bool(sentences_of(text))
            and all(piece.rstrip("\"')”» ").endswith("?") for piece in sentences_of(text))
        ),
    ),
    "spanish_marks": Kind(
        "Write in Spanish, with at least one question and one exclamation, and open each of them "
        "as Spanish does.",
        _spanish_holds,
    ),
    "quotation_marks": Kind(
        "Quote at least one phrase, and use {left} and {right} as the only quotation marks.",
        _quotes_hold,
    ),
    # beginning and end
    "starts_with": Kind(
        'Begin with exactly this: "{phrase}"', lambda text, phrase: _starts(text, phrase)
    ),
    "ends_with": Kind(
        'End with exactly this, and nothing after it: "{phrase}"',
        lambda text, phrase: _ends(text, phrase),
    ),
    "in_quotes": Kind(
        "Put the whole answer in double quotation marks.",
        lambda text: re.fullmatch(r'"[^"]+"', text.strip()) is not None,
    ),
    "postscript": Kind(
        'Add a postscript at the end that starts with "P.S."',
        lambda text: re.search(r"^\s*P\.\s?S\.\s*\w", text, re.MULTILINE) is not None,
    ),
}
