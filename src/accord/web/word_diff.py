"""Two texts side by side, with the words marked that only one of them has."""

import difflib
import re

from markupsafe import Markup, escape

_WORDS_COMPARED = 2000
"""A word diff of longer texts would take seconds."""


def word_diff(first: str, second: str) -> tuple[Markup, Markup]:
    """Both texts, each with the words marked that only it has; past 2,000 words none are marked."""
    words = _words(first), _words(second)
    if max(map(len, words)) > _WORDS_COMPARED:
        return escape(first), escape(second)
    matcher = difflib.SequenceMatcher(a=words[0], b=words[1], autojunk=False)
    shown: tuple[list[Markup], list[Markup]] = ([], [])
    for what, a_start, a_end, b_start, b_end in matcher.get_opcodes():
        spans = (words[0][a_start:a_end], words[1][b_start:b_end])
        for side, span in zip(shown, spans, strict=True):
            text = "".join(span)
            side.append(escape(text) if what == "equal" else _marked(text))
    return Markup().join(shown[0]), Markup().join(shown[1])


def _words(text: str) -> list[str]:
    return re.findall(r"^\s+|\w+\s*|[^\w\s]\s*", text)


def _marked(text: str) -> Markup:
    return Markup("<mark>{}</mark>").format(text) if text else Markup()
