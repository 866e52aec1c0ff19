"""Filters of single rows: each says what is wrong with a row's texts, or nothing."""

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from accord.corpora.checking.texts import Texts, words

_ROLES = re.compile(
    r"^\s*(?:Human|Assistant|User|AI|System)\s*:|<\|[a-z_]+\|>|\[/?INST\]|<</?SYS>>|</?s>"
    r"|^###\s*(?:Instruction|Response|Input)\b",
    re.MULTILINE,
)
# UTF-8 that was read as Latin-1 or Windows-1252, as in "donâ€™t" and "cafÃ©".
_MOJIBAKE = re.compile(r"[ÂÃ][\u0080-\u00bf]|â€[™œ\u009d“”˜¦]|ï¿½|ðŸ")
_RUN = re.compile(r"([^\s\-=_*#.~+|/\\])\1{19,}")

STOP_WORDS = {
    "en": "the and of to is that it for you was with this are have not what how can",
    "de": "der die und das ist nicht ein eine ich zu den mit auf für sie wie auch es",
    "fr": "le la les et est un une des que pas pour dans vous je qui sur avec ce",
    "es": "el los las que es un una por para con no se lo como su más pero qué",
    "it": "il che di è un una per non con sono della gli le questo come più ma si",
    "pt": "o que é um uma não para com os se mais como você mas ao isso do da",
    "nl": "de het een en van is dat niet ik je voor met zijn op te die hoe wat",
}
_STOPS = {language: frozenset(text.split()) for language, text in STOP_WORDS.items()}
_FEW_WORDS = 12
"""Shorter texts tell too little of their language."""


def empty(texts: Texts) -> str | None:
    """A prompt or a response without a visible character."""
    parts = [*([texts.prompt] if texts.prompt else []), *texts.responses]
    if not parts or any(not _visible(part) for part in parts):
        return "a text has no visible character"
    return None


def _visible(text: str) -> bool:
    return any(unicodedata.category(c)[0] not in "ZC" for c in text)


def identical(texts: Texts) -> str | None:
    """Responses that differ in white space and case alone."""
    plain = [" ".join(text.split()).casefold() for text in texts.responses]
    if len(set(plain)) < len(plain):
        return "two responses differ in nothing but white space or case"
    return None


def junk(texts: Texts) -> str | None:
    """Broken encodings and control characters."""
    found = _MOJIBAKE.search(texts.whole)
    if found:
        return f"text that was decoded wrongly: {found[0]!r}"
    for character in texts.whole:
        if character == "\ufffd":
            return "characters that could not be decoded (U+FFFD)"
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\r\t":
            return f"a control character or half of one: {character!r}"
    return None


def leaked_roles(texts: Texts) -> str | None:
    """A response that goes on as somebody else, or holds a template's marks."""
    for response in texts.responses:
        found = _ROLES.search(response)
        if found:
            return f"a speaker's name or a template's mark in a response: {found[0].strip()!r}"
    return None


def repetitive(texts: Texts) -> str | None:
    """Lines or characters again and again.

    Lines: more than 30% are repeated (Rae et al. 2021, arXiv:2112.11446, table A1). Characters: 20
    of one kind in a row; or text that compresses to less than a tenth.
    """
    for text in texts.responses:
        lines = [line.strip() for line in text.splitlines() if len(line.strip()) > 3]
        repeated = len(lines) - len(set(lines))
        if len(lines) >= 4 and repeated > 0.3 * len(lines):
            return f"{repeated} of {len(lines)} lines are repeated"
        run = _RUN.search(text)
        if run:
            return f"{len(run[0])} times {run[1]!r} in a row"
        content = text.encode("utf-8", "surrogatepass")
        if len(content) >= 200 and len(zlib.compress(content)) < 0.1 * len(content):
            return "a text that compresses to less than a tenth"
    return None


def language_filter(expected: str) -> Callable[[Texts], str | None]:
    """A filter of rows whose stop words are those of another language.

    Args:
        expected: a key of `STOP_WORDS`.
    """

    def wrong_language(texts: Texts) -> str | None:
        """Stop words of another language, or letters of another script."""
        found = words(texts.whole)
        if len(found) < _FEW_WORDS:
            return None
        letters = [c for word in found for c in word if c.isalpha()]
        latin = sum(unicodedata.name(c, "").startswith("LATIN") for c in letters)
        if letters and latin < 0.5 * len(letters):
            return f"{1 - latin / len(letters):.0%} of the letters are not Latin"
        counts = Counter({n: sum(w in stops for w in found) for n, stops in _STOPS.items()})
        best, most = counts.most_common(1)[0]
        # Languages share words, and names are made of them: a lead has to be clear.
        is_clear = most >= max(4, 0.15 * len(found)) and most >= 2 * counts[expected]
        if best != expected and is_clear:
            return f"the words look like {best!r} ({most}, {counts[expected]} like {expected!r})"
        return None

    return wrong_language


def length_outliers(rows: Sequence[Texts], *, spread: float = 6.0) -> dict[int, str]:
    """Places of rows whose responses are out of proportion, and why.

    Out of proportion is a logarithm of the length in characters that is more than `spread` times
    1.4826 MAD (in a normal distribution, standard deviations) from the median. Fewer than 50
    responses tell nothing.
    """
    places = [(n, len(text)) for n, row in enumerate(rows) for text in row.responses]
    if len(places) < 50:
        return {}
    logs = np.log1p(np.array([length for _, length in places], dtype=np.float64))
    median = float(np.median(logs))
    # Where over half are equally long, any other length would be an outlier.
    scale = max(1.4826 * float(np.median(np.abs(logs - median))), 0.25)
    return {
        place: f"a response of {length} characters (median {np.expm1(median):.0f})"
        for (place, length), log in zip(places, logs.tolist(), strict=True)
        if abs(log - median) > spread * scale
    }
