"""Our own prompts for instruction following: requests, each with instructions to check.

Every combination of instructions can be met (a test has a response for each), and is asked with
three requests.
"""

from dataclasses import dataclass

from accord.suites.checks import Check


@dataclass(frozen=True)
class InstructedPrompt:
    """A request with its instructions, in words and as checks."""

    id: str
    text: str
    checks: tuple[Check, ...]


REQUESTS = (
    "Describe a rainy morning in a small town.",
    "Explain how bread is made.",
    "Recommend a hobby to a retired teacher.",
    "Tell a short story about a lost key.",
    "Give advice on learning to swim.",
    "Compare tea and coffee.",
    "Introduce a museum of clocks to its visitors.",
    "Explain to a child why leaves change colour.",
    "Plan a picnic for six friends.",
    "Describe how a bicycle keeps its balance.",
    "Write to a neighbour whose dog barks at night.",
    "Say what makes a good library.",
)

YES_OR_NO = (
    "Is a whale a fish?",
    "Can a stone float in mercury?",
    "Does the sun rise in the west?",
)


def _check(kind: str, /, **parameters: object) -> Check:
    return Check(kind, parameters)


COMBINATIONS: tuple[tuple[Check, ...], ...] = (
    (_check("words_at_least", n=80),),
    (_check("words_at_most", n=15),),
    (_check("sentences", n=3),),
    (_check("sentences", n=5), _check("no_commas")),
    (_check("paragraphs", n=2),),
    (_check("paragraphs", n=3), _check("starts_with", phrase="To begin with,")),
    (_check("lines", n=4), _check("lower_case")),
    (_check("short_lines", n=40), _check("words_at_least", n=20)),
    (_check("includes", words=["careful", "morning", "together"]),),
    (_check("avoids", words=["the", "very"]), _check("words_at_least", n=12)),
    (_check("repeats_word", word="always", n=2),),
    (_check("letter_at_most", letter="u", n=2), _check("words_at_least", n=15)),
    (_check("bullets", n=4),),
    (_check("bullets", n=3), _check("upper_case")),
    (_check("numbered", n=5),),
    (_check("json_object", keys=["title", "summary"]),),
    (_check("json_list", n=3),),
    (_check("table", columns=2, rows=3),),
    (_check("sections", name="Part", n=2), _check("words_at_least", n=20)),
    (_check("title"), _check("postscript")),
    (_check("highlights", n=2),),
    (_check("placeholders", n=2), _check("words_at_most", n=60)),
    (_check("alternatives"),),
    (_check("lower_case"), _check("ends_with", phrase="that is all there is to it.")),
    (_check("upper_case"), _check("words_at_most", n=25)),
    (_check("capital_words", n=3), _check("sentences", n=2)),
    (_check("no_commas"), _check("includes", words=["first", "then", "last"])),
    (_check("only_questions"),),
    (_check("spanish_marks"),),
    (_check("quotation_marks", left="«", right="»"),),
    (_check("quotation_marks", left="„", right="“"),),
    (_check("starts_with", phrase="In short:"), _check("words_at_most", n=40)),
    (_check("ends_with", phrase="What do you think?"),),
    (_check("in_quotes"), _check("sentences", n=2)),
)

CLOSED_COMBINATION = (_check("one_of", options=["yes", "no", "it depends"]),)


def make_prompts() -> list[InstructedPrompt]:
    """All prompts, in an order that never changes."""
    asked = [
        (REQUESTS[(i + 4 * j) % len(REQUESTS)], checks)
        for i, checks in enumerate(COMBINATIONS)
        for j in range(3)
    ]
    asked += [(question, CLOSED_COMBINATION) for question in YES_OR_NO]
    return [
        InstructedPrompt(
            id=f"instructions/{number}",
            text=" ".join([request, *[check.ask() for check in checks]]),
            checks=checks,
        )
        for number, (request, checks) in enumerate(asked)
    ]
