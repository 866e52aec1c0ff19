"""Benchmark files that are not what they should be."""

import gzip
from pathlib import Path

import pytest

from accord.core.errors import DataError
from accord.suites.files import read_benchmark, shipped


def test_csv_and_jsonl_plain_and_packed(tmp_path: Path) -> None:
    text = 'a,b\n1,"two\nlines, and a ""quote"""\n'
    expected = [{"a": "1", "b": 'two\nlines, and a "quote"'}]
    (tmp_path / "t.csv").write_text(text)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(b'{"a": "1", "b": "x"}\n'))
    assert read_benchmark(tmp_path / "t.csv", ["a", "b"]) == expected
    assert read_benchmark(tmp_path / "t.csv.gz", ["a", "b"]) == expected
    assert read_benchmark(tmp_path / "t.jsonl.gz", ["a"]) == [{"a": "1", "b": "x"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "no rows"),
        ("t.csv", b"a\n", "no rows"),
        ("t.csv", b"b\n1\n", "row 1: no field 'a'; expected a, found b"),
        ("t.csv", b"a\n\xff\n", "unreadable"),
        ("t.csv.gz", b"no gzip", "unreadable"),
        ("t.csv.gz", gzip.compress(b"a\n" * 9999)[:-20], "unreadable"),
        ("t.csv.gz", gzip.compress(bytes(9999))[:10] + b"\xff" * 50, "unreadable"),
        ("t.jsonl", b'{"a": 1}\n{"b": 1}\n', "row 2: no field 'a'"),
        ("t.jsonl", b"a\n", "row 1: not valid JSON"),
    ],
)
def test_what_is_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_benchmark(tmp_path / name, ["a"])


@pytest.mark.parametrize("name", ["none.csv", "none.jsonl"])
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_benchmark(tmp_path / name, [])


def test_what_ships_can_be_read() -> None:
    assert shipped("facts.jsonl", ["question", "answers"])
