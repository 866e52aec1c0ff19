"""What a judge said, in a probability or a grade; None where it said neither."""

import math
import re
from collections.abc import Mapping, Sequence

from accord.core.chat import ChatReply

LEAST_MASS = 0.5
"""Log-probs count where the options have at least this much of the first token's probability: a
judge that starts to explain himself has not given his verdict there."""

_AROUND = " \n\t()[]{}*_\"'`.:,!"
_TIE = "tie"


def option_probabilities(
    top_logprobs: Mapping[str, float], options: Sequence[str]
) -> list[float] | None:
    """Normalised probabilities of the options from a first token's likeliest alternatives.

    All spellings of an option are summed ("A", " A", "(A"); one that is not listed has 0.
    """
    mass = [
        sum(
            math.exp(logprob)
            for token, logprob in top_logprobs.items()
            if token.strip(_AROUND) == option and logprob <= 0
        )
        for option in options
    ]
    total = sum(mass)
    return None if total < LEAST_MASS else [m / total for m in mass]


def said_option(text: str, options: Sequence[str], *, was_cut: bool = False) -> str | None:
    """The option, or "tie", that an answer names as its verdict.

    Understood are the bare option in whatever signs; "[[A]]"; "A: ..." at the start; and "the
    better one is A" or "Answer: A". An answer that names two as its verdict names none. Where it
    was cut off, only the first two count: more would have followed.

    Args:
        text: the answer.
        options: single words.
        was_cut: it ended for want of room.
    """
    known = [*options, _TIE]
    bare = text.strip(_AROUND)
    if bare in known or bare.lower() == _TIE:
        return bare if bare in options else _TIE
    # Case tells "m" from "M", and "A" from an article.
    one = "|".join(re.escape(option) for option in known)
    found = set(re.findall(rf"\[\[\s*({one})\s*\]\]", text))
    if not found and not was_cut:
        found = set(re.findall(rf"\A[\s(\[*\"'`]*({one})[)\]*:.,;\n]", text))
    if not found and not was_cut:
        lead = r"(?i:answer|verdict|choice|winner|grade|better(?:\s+one|\s+response)?)"
        link = r"(?i:\s+is)?\s*:?\s*(?i:response|output|assistant)?\s*[\s(\[*\"'`]*"
        found = set(re.findall(rf"\b{lead}{link}({one})(?![\w']|\.\d)", text))
    return found.pop() if len(found) == 1 else None


def pair_verdict(reply: ChatReply, options: tuple[str, str]) -> float | None:
    """The probability that the first option is meant; 0, 0.5 or 1 where there is only text."""
    given = option_probabilities(reply.top_logprobs, options)
    if given is not None:
        return given[0]
    said = said_option(reply.text, options, was_cut=reply.finish == "length")
    return None if said is None else {options[0]: 1.0, options[1]: 0.0}.get(said, 0.5)


def grade_verdict(reply: ChatReply, options: Sequence[str]) -> float | None:
    """The mean grade by log-probs, or the one that the text names."""
    given = option_probabilities(reply.top_logprobs, options)
    if given is not None:
        return sum(p * float(option) for p, option in zip(given, options, strict=True))
    said = said_option(reply.text, options, was_cut=reply.finish == "length")
    return None if said is None or said == _TIE else float(said)
