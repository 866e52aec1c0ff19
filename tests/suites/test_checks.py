"""Each check with responses that follow it and responses that do not."""

from typing import Any

import pytest

from accord.suites.checks import KINDS, Check

EIGHTY = " ".join(["word"] * 80)

# kind, parameters, responses that follow, responses that do not
CASES: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("words_at_least", {"n": 3}, ["It isn't far.", "a b-c"], ["a b", "... !", "isn't it"]),
    ("words_at_most", {"n": 3}, ["one two three", "one"], ["one two three four", "  "]),
    (
        "sentences",
        {"n": 2},
        [
            "It rains. It pours!",
            "Why? (Because.)",
            "It costs 3.5 francs. Really.",
            'He said "no." I left',
        ],
        ["One.", "One. Two. Three.", "No end"],
    ),
    ("paragraphs", {"n": 2}, ["a\nb\n\nc", "a\n \n\nb\n"], ["a\nb", "a\n\nb\n\nc"]),
    ("lines", {"n": 2}, ["a\nb", "a\n\nb\n"], ["a", "a\nb\nc"]),
    ("short_lines", {"n": 5}, ["12345\n123", "a"], ["123456", "a\n123456"]),
    (
        "includes",
        {"words": ["tea", "hot milk"]},
        ["Tea, with HOT milk!"],
        ["tea", "steam hot milk"],
    ),
    ("avoids", {"words": ["the"]}, ["A theme."], ["The end", "At the end"]),
    ("repeats_word", {"word": "so", "n": 2}, ["So it is so."], ["So", "so so so", "soso so"]),
    ("letter_at_most", {"letter": "e", "n": 1}, ["Evil", "no"], ["Even"]),
    (
        "one_of",
        {"options": ["yes", "no"]},
        ["Yes.", " no ", '"yes"'],
        ["Yes, it is", "maybe", "not"],
    ),
    (
        "bullets",
        {"n": 2},
        ["Here:\n- a\n- b", "* a\n  * b"],
        ["- a", "-a\n-b", "- a\n- b\n- c", "a - b - c"],
    ),
    (
        "numbered",
        {"n": 2},
        ["1. a\n2. b", "So:\n1) a\n2) b"],
        ["1. a", "1. a\n3. b", "2. a\n1. b", "1.a\n2.b"],
    ),
    (
        "json_object",
        {"keys": ["a", "b"]},
        ['{"a": 1, "b": [2]}', '```json\n{"b": 1,\n"a": 2}\n```'],
        [
            '{"a": 1}',
            '{"a": 1, "b": 2, "c": 3}',
            "[]",
            'Here: {"a": 1, "b": 2}',
            "{'a': 1, 'b': 2}",
        ],
    ),
    ("json_list", {"n": 2}, ['["a", "b"]'], ['["a"]', '["a", 2]', '{"a": "b"}', "a, b"]),
    (
        "table",
        {"columns": 2, "rows": 1},
        ["| a | b |\n|---|:-:|\n| 1 | 2 |", "So:\n\n a | b\n---|---\n 1 | 2\n"],
        [
            "| a | b |\n| 1 | 2 |",
            "| a | b |\n|---|---|",
            "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |",
            "| a | b | c |\n|---|---|---|\n| 1 | 2 | 3 |",
            "a\n---\nb",
        ],
    ),
    (
        "sections",
        {"name": "Part", "n": 2},
        ["Part 1\na\nPart 2\nb", "**Part 1:** a\n## Part 2"],
        ["Part 1", "Part 1\nPart 3", "See Part 1\nPart 2"],
    ),
    ("title", {}, ["<<The End>>\nIt is.", "a <<b>> c"], ["<The End>", "<<>>", "<<a\nb>>"]),
    (
        "highlights",
        {"n": 2},
        ["*one* and *two words*", "**one** *two* *three*"],
        ["*one*", "* one\n* two", "**one** **two**"],
    ),
    ("placeholders", {"n": 2}, ["[name] at [the place]"], ["[name]", "[] []", "(name) (place)"]),
    (
        "alternatives",
        {},
        ["a\n******\nb"],
        ["a", "a\n******\na", "a\n******", "a ****** b", "a\n******\nb\n******\nc"],
    ),
    ("lower_case", {}, ["all of it, 3 times"], ["All", "123", "É"]),
    ("upper_case", {}, ["ALL OF IT, 3 TIMES"], ["aLL", "123"]),
    ("capital_words", {"n": 2}, ["It is VERY GOOD"], ["It is VERY good", "A I b"]),
    ("no_commas", {}, ["one and two"], ["one, two", "一，二", ""]),
    ("only_questions", {}, ["Why? Who?", "Why?"], ["Why? Because.", "Why", ""]),
    (
        "spanish_marks",
        {},
        ["¿Qué? ¡Sí!"],
        ["Qué? Sí!", "¿Qué?", "¡Sí!", "¿Qué? Sí!", "Sí.", "¿What? ¡Yes!"],
    ),
    (
        "quotation_marks",
        {"left": "«", "right": "»"},
        ["Il dit « oui »."],
        ['Il dit "oui".', '« oui » "non"', "«»", "oui"],
    ),
    (
        "starts_with",
        {"phrase": "In short:"},
        ["In short: no", " in short: no"],
        ["So, in short: no", "In short, no"],
    ),
    (
        "ends_with",
        {"phrase": "the end."},
        ["It is The end.", '"It is the end."\n'],
        ["the end. Or not", "the end"],
    ),
    ("in_quotes", {}, ['"All of it."', ' "a\nb" '], ['"All" of it', "'All'", '""', '"a" "b"']),
    (
        "postscript",
        {},
        ["Dear.\nP.S. And this", "P. S. This"],
        ["PS this", "P.S.", "See the P.S. below"],
    ),
]


@pytest.mark.parametrize(("kind", "parameters", "good", "bad"), CASES, ids=lambda v: str(v)[:20])
def test_checks(kind: str, parameters: dict[str, Any], good: list[str], bad: list[str]) -> None:
    check = Check(kind, parameters)
    assert [text for text in good if not check.is_met_by(text)] == []
    assert [text for text in bad if check.is_met_by(text)] == []


def test_every_kind_is_tested() -> None:
    assert [kind for kind, *_ in CASES] == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_follows_no_instruction(kind: str) -> None:
    parameters = next(parameters for name, parameters, *_ in CASES if name == kind)
    check = Check(kind, parameters)
    assert not check.is_met_by(" \n") and not check.is_nearly_met_by(" \n")


def test_the_loose_criterion_forgives_lines_around_and_emphasis() -> None:
    lower, ends = Check("lower_case", {}), Check("ends_with", {"phrase": "the end."})
    for response in ("Sure:\nall of it", "all of it\nDone!", "Sure:\nall of it\nDone!"):
        assert not lower.is_met_by(response) and lower.is_nearly_met_by(response)
    assert not ends.is_met_by("It is **the end.**")
    assert ends.is_nearly_met_by("It is **the end.**")
    assert not lower.is_nearly_met_by("Sure:\nAll of it\nall\nof\nIt\nDone!")
    assert not lower.is_nearly_met_by("Sure:\n\nDone!")  # what is left is nothing


def test_absurd_responses_are_graded_too() -> None:
    assert not Check("json_list", {"n": 1}).is_met_by("[" * 100_000)
    assert not Check("numbered", {"n": 1}).is_met_by("9" * 10_000 + ". a")
    assert not Check("sections", {"name": "Part", "n": 1}).is_met_by("Part " + "9" * 10_000)


def test_instructions_in_words() -> None:
    assert (
        Check("includes", {"words": ["a", "b c"]}).ask() == 'Use each of these words: "a", "b c".'
    )
    assert Check("title", {}).ask() == "Put a title in double angle brackets, as in <<a title>>."
    assert Check("table", {"columns": 2, "rows": 3}).ask() == (
        "Give a Markdown table with 2 columns and 3 rows below its header."
    )
