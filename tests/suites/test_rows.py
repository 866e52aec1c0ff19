"""Benchmark files: what is wrong is named by file, line and field."""

import gzip
from pathlib import Path

import pytest

from accord.core.errors import DataError
from accord.suites.rows import NUMBER, read_records


def write(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("a.jsonl", '{"x": "one", "n": 1}\n\n{"x": "two", "n": 2.5}\n', "line 3"),
        ("a.jsonl.gz", '{"x": "one", "n": 1}\n{"x": "two", "n": 2.5}\n', "line 2"),
        ("a.json", '[{"x": "one", "n": 1},\n {"x": "two", "n": 2.5}]', "row 2"),
        ("a.csv", "x,n\none,1\ntwo,2.5\n", "line 3"),
    ],
)
def test_formats(tmp_path: Path, name: str, text: str, where: str) -> None:
    path = write(tmp_path / name, text)
    first, second = read_records(path)
    assert (first.text("x"), second.text("x")) == ("one", "two")
    assert (first.number("n"), second.number("n")) == (1.0, 2.5)
    assert second.where == f"{path}, {where}"


def test_a_missing_field_is_named_with_its_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"x": "one"}\n\n{"y": 1, "x": null}\n')
    record = read_records(path)[1]
    with pytest.raises(DataError, match=r"a\.jsonl, line 3: field 'x' is missing; found y, x"):
        record.text("x")
    with pytest.raises(DataError, match="line 3: field 'y' is 1; expected text"):
        record.text("y")
    assert record.get("x", str, default="z") == "z"
    table = write(tmp_path / "b.csv", "x,n\none,\n")
    with pytest.raises(DataError, match=r"b\.csv, line 2: field 'n' is missing"):
        read_records(table)[0].number("n")


def test_types(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", '[{"b": true, "t": ["a", 1], "e": [], "n": "many"}]')
    (record,) = read_records(path)
    with pytest.raises(DataError, match="'b' is True; expected a number"):
        record.get("b", NUMBER)
    assert record.get("b", bool) is True
    for field in ("t", "e"):
        with pytest.raises(DataError, match=f"row 1: field '{field}' .* a list of texts"):
            record.texts(field)
    with pytest.raises(DataError, match="'n' is 'many'; expected a number"):
        record.number("n")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"x": 1}\n{"x": \n', "a.jsonl, line 2: not valid JSON"),
        ("a.jsonl", '{"x": 1}\n[2]\n', "a.jsonl, line 2: expected a JSON object, got list"),
        ("a.json", '[\n{"x": 1},\n', "a.json, line 3: not valid JSON"),
        ("a.json", '{"x": 1}', "a.json: expected a list of objects, got dict"),
        ("a.json", "[1]", "a.json, row 1: expected a JSON object, got int"),
        ("a.jsonl", "\n", "a.jsonl: no rows"),
        ("a.txt", "x", "a.txt: expected .jsonl"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_records(write(tmp_path / name, text))


def test_cut_and_absent_files(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"x": 1}\n' * 1000)[:-20])
    with pytest.raises(DataError, match="unreadable"):
        read_records(path)
    with pytest.raises(DataError, match="no such file"):
        read_records(tmp_path / "b.jsonl")
