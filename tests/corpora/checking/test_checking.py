"""Duplicates against brute force, contamination and quality by hand, and what a check removes."""

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from accord import cli
from accord.core.errors import ConfigError, DataError
from accord.corpora.checking import Settings, Texts, check_rows, quality, texts_of
from accord.corpora.checking.contamination import Benchmarks
from accord.corpora.checking.duplicates import (
    exact_duplicates,
    jaccard,
    near_duplicates,
    shingles,
)

WORDS = [f"word{n}" for n in range(400)]


def test_exact_duplicates_see_through_case_space_and_width() -> None:
    texts = ["A cat", "a  CAT\n", "a dog", "Ａ cat", "a cat!"]
    assert exact_duplicates(texts) == {1: 0, 3: 0}


def test_shingles_and_similarity_by_hand() -> None:
    a, b = shingles("one two three four", 3), shingles("One, two: three; five", 3)
    assert a == {("one", "two", "three"), ("two", "three", "four")}
    assert jaccard(a, b) == pytest.approx(1 / 3)
    assert shingles("one two", 3) == {("one", "two")} and shingles("...", 3) == frozenset()


def test_near_duplicates_are_those_of_brute_force() -> None:
    """Copies with some words changed, at similarities on both sides of the threshold."""
    rng = random.Random(0)
    texts = []
    for _ in range(60):
        base = rng.choices(WORDS, k=60)
        texts.append(" ".join(base))
        for changes in (0, 1, 2, 4, 8):
            copy = list(base)
            for place in rng.sample(range(60), changes):
                copy[place] = rng.choice(WORDS)
            texts.append(" ".join(copy))
    sets = [shingles(text, 3) for text in texts]
    kept: list[int] = []
    expected = {}
    for place, found in enumerate(sets):
        close = [other for other in kept if jaccard(found, sets[other]) >= 0.6]
        if close:
            expected[place] = close[0]
        else:
            kept.append(place)
    found = near_duplicates(texts, threshold=0.6)
    assert 100 < len(expected) < 280
    assert {n: other for n, (other, _) in found.items()} == expected
    assert all(s == jaccard(sets[n], sets[other]) for n, (other, s) in found.items())


def bench(tmp_path: Path, *texts: str) -> str:
    file = tmp_path / "bench.jsonl"
    file.write_text("\n".join(json.dumps({"q": {"turns": [text]}}) for text in texts))
    return str(file)


def test_contamination_by_hand(tmp_path: Path) -> None:
    question = " ".join(WORDS[:20])
    file = bench(tmp_path, question, " ".join(WORDS[100:108]), "too short")
    benchmarks = Benchmarks([file], size=13)
    texts = [
        "Tell me: " + " ".join(WORDS[3:16]).upper() + "?",  # thirteen words of it
        "Tell me: " + " ".join(WORDS[3:15]),  # twelve
        "x " + ", ".join(WORDS[100:108]) + " y",  # all of a short question
        "too short",
    ]
    found = benchmarks.contaminated(texts)
    assert set(found) == {0, 2}
    assert (found[0].benchmark, found[0].words) == (file, " ".join(WORDS[3:16]))
    # What more than ten rows share is a turn of phrase.
    assert set(benchmarks.contaminated([texts[0]] * 10)) == set(range(10))
    assert benchmarks.contaminated([texts[0]] * 11) == {}
    with pytest.raises(DataError, match="no text of 7 words or more"):
        Benchmarks([bench(tmp_path, "too short")], size=13)


GERMAN = "Der Hund und die Katze sind nicht auf dem Dach, sie sind in dem Haus. "
RUSSIAN = "это не английский текст и никогда им не был " * 3
LONG = "The cat sat on the mat and looked at what the other cats of this house were doing. "


@pytest.mark.parametrize(
    ("check", "bad", "good"),
    [
        (quality.empty, "\u200b \n", "."),
        (quality.junk, "donâ€™t", "don’t — café, naïve, Ångström"),
        (quality.junk, "cafÃ© au lait", "São Paulo, À bientôt"),
        (quality.junk, "what\ufffd", "tabs\tand\r\nlines"),
        (quality.junk, "a\x07b", "\U0001f600"),
        (quality.leaked_roles, "Yes.\n\nHuman: and now?", "The human: a history"),
        (quality.leaked_roles, "Yes<|im_end|>", "a < b | c > d"),
        (quality.leaked_roles, "[INST] go", "[1] go"),
        (quality.leaked_roles, "### Response\nok", "### Responsible people"),
        (quality.repetitive, "line one\nline two\n" * 3, "line one\nline two\nline three\nline"),
        (quality.repetitive, "no" + "o" * 20, "=" * 40 + "\n" + "-" * 40),
        (quality.repetitive, "ha " * 200, LONG),
        (quality.language_filter("en"), GERMAN, LONG),
        (quality.language_filter("de"), LONG, GERMAN),
        (quality.language_filter("en"), RUSSIAN, "def f(x):"),
    ],
)  # fmt: skip
def test_quality(check: Any, bad: str, good: str) -> None:
    assert check(Texts("", (bad,))) is not None
    assert check(Texts("", (good,))) is None


def test_responses_that_differ_in_nothing() -> None:
    assert quality.identical(Texts("Q", ("Yes  it is", "yes it is"))) is not None
    assert quality.identical(Texts("Q", ("Yes it is", "Yes it was"))) is None


def test_outliers_of_length() -> None:
    rows = [Texts("Q", ("x" * n,)) for n in range(80, 140)]
    assert quality.length_outliers([*rows, Texts("Q", ("x" * 100_000,))]).keys() == {60}
    assert quality.length_outliers([*rows, Texts("Q", ("x" * 200,))]) == {}
    assert quality.length_outliers([*rows[:10], Texts("Q", ("x" * 100_000,))]) == {}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"text": "T"}, Texts("", ("T",))),
        ({"prompt": "P"}, Texts("P", ())),
        ({"prompt": "P", "completion": "C"}, Texts("P", ("C",))),
        ({"question": "P", "answer": "C"}, Texts("P", ("C",))),
        ({"prompt": "P", "chosen": "A", "rejected": "B"}, Texts("P", ("A", "B"), "A")),
        ({"prompt": "P", "completions": ["A", "B", "C"], "ranks": [3, 1, 2]},
         Texts("P", ("B", "C", "A"))),
    ],
)  # fmt: skip
def test_texts_of_all_columns(row: dict[str, Any], expected: Texts) -> None:
    assert texts_of(row, "row 1") == expected


def pair(prompt: str, chosen: str, rejected: str) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def test_every_row_is_removed_once_and_named(tmp_path: Path) -> None:
    rng = random.Random(1)
    base = [" ".join(rng.choices(WORDS, k=40)) for _ in range(4)]
    rows = [
        pair("Q1", base[0], base[1]),
        pair("Q1", base[0], base[0]),  # identical: cannot be trained on
        pair("q1 ", base[0].upper(), base[1]),  # the first once more
        pair("Q1", base[1], base[0]),  # a second opinion
        pair("Q1", base[0] + " indeed", base[1]),  # nearly the first
        pair("Q2", base[2], "x\ufffd"),
        pair("Q3", base[3], " ".join(WORDS[:13])),
        pair("Q4", "yes", "no"),
    ]
    settings = Settings(against=(bench(tmp_path, " ".join(WORDS[:20])),))
    checked = check_rows([(f"f, row {n}", row) for n, row in enumerate(rows, 1)], settings)
    removed = {found.name: found.removed for found in checked.filters if found.removed}
    names = ("unusable", "junk", "duplicates", "near_duplicates", "contamination")
    assert removed == dict.fromkeys(names, 1)
    assert checked.kept == [rows[0], rows[3], rows[7]]
    assert checked.rows == len(checked.kept) + sum(removed.values())
    where = {found.name: found.examples[0]["row"] for found in checked.filters if found.removed}
    assert where["near_duplicates"] == "f, row 5" and where["contamination"] == "f, row 7"
    skipped = check_rows([("r", rows[5])], Settings(skip=("junk",)))
    assert skipped.kept == [rows[5]]
    with pytest.raises(ConfigError, match="no filter 'junks'; did you mean 'junk'"):
        check_rows([], Settings(skip=("junks",)))
    with pytest.raises(ConfigError, match="no language 'xx'"):
        check_rows([], Settings(language="xx"))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"text": "one two three four"}, {"text": "One two three four"}, {"text": "else"}]
    file.write_text("\n".join(map(json.dumps, rows)))
    output = tmp_path / "clean.jsonl"
    assert cli.main(["data", "check", str(file), "--output", str(output)]) == 0
    assert "2 of 3 rows are kept" in capsys.readouterr().out
    assert [json.loads(line) for line in output.read_text().splitlines()] == [rows[0], rows[2]]
    report = json.loads((tmp_path / "clean.jsonl.check.json").read_text())
    assert report["rows"] == 3 and report["kept"] == 2
    assert cli.main(["data", "check", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 2
    assert cli.main(["data", "check", str(file), "--output", "x.csv"]) == 2
    assert "expected a name that ends with .jsonl" in capsys.readouterr().err


def test_a_benchmark_is_found_in_its_own_training_set(accord_data: Path) -> None:
    """GSM8K: every test question is found where it is; of the training set 10 of 7,473 rows are."""
    gsm8k = accord_data / "benchmarks" / "gsm8k"
    from accord.corpora.readers import read_rows

    tests = read_rows(str(gsm8k / "test.jsonl.gz"))[:200]
    benchmarks = Benchmarks([str(gsm8k / "test.jsonl.gz")], size=13)
    training = read_rows(str(gsm8k / "train.jsonl.gz"))
    texts = [row["question"] + " " + row["answer"] for row in itertools.chain(tests, training)]
    found = benchmarks.contaminated(texts)
    assert sum(place < 200 for place in found) >= 199
    assert 5 <= sum(place >= 200 for place in found) <= 15
