"""Every format is read, and every wrong row is named."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from accord.core.errors import DataError
from accord.corpora.formats import (
    parse_transcript,
    to_comparison,
    to_demonstration,
    to_prompt,
    to_text,
)
from accord.corpora.readers import read_rows

ROWS = [{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d"}]


def test_jsonl_gz_parquet_and_dataset_directory_agree(tmp_path: Path) -> None:
    text = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "a.jsonl").write_text(text)
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write(text)
    parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    hub = tmp_path / "org" / "set"
    hub.mkdir(parents=True)
    (hub / "train.jsonl").write_text(text)
    for name in ("a.jsonl", "a.jsonl.gz", "a.parquet"):
        assert read_rows(str(tmp_path / name)) == ROWS
    assert read_rows(f"{hub}:train") == ROWS
    assert read_rows(f"{hub}:train[:1]") == ROWS[:1]


def test_missing_broken_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_rows(str(tmp_path / "a.jsonl"))
    path = tmp_path / "b.jsonl"
    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(DataError, match=r"b\.jsonl, row 2: not valid JSON"):
        read_rows(str(path))
    path.write_text("[1]\n")
    with pytest.raises(DataError, match="row 1: expected a JSON object"):
        read_rows(str(path))
    path.write_text("")
    with pytest.raises(DataError, match="no rows"):
        read_rows(str(path))
    packed = tmp_path / "c.jsonl.gz"
    packed.write_bytes(gzip.compress(b'{"a": 1}\n' * 1000)[:-20])
    with pytest.raises(DataError, match=r"c\.jsonl\.gz: unreadable"):
        read_rows(str(packed))


TRANSCRIPT = "\n\nHuman: hi\n\nAssistant: yes?\n\nHuman: say: Human: no\n\nAssistant: no"


def test_transcript() -> None:
    assert [(m["role"], m["content"]) for m in parse_transcript(TRANSCRIPT)] == [
        ("user", "hi"),
        ("assistant", "yes?"),
        ("user", "say: Human: no"),
        ("assistant", "no"),
    ]


def test_comparison_forms_agree() -> None:
    prompt = [{"role": "user", "content": "q"}]
    forms: list[dict[str, Any]] = [
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
        {
            "prompt": prompt,
            "chosen": [{"role": "assistant", "content": "a"}],
            "rejected": [{"role": "assistant", "content": "b"}],
        },
        {
            "chosen": [*prompt, {"role": "assistant", "content": "a"}],
            "rejected": [*prompt, {"role": "assistant", "content": "b"}],
        },
    ]
    read = [to_comparison(form, "row 1") for form in forms]
    assert all(r == read[0] for r in read)
    assert read[0].prompt == ({"role": "user", "content": "q"},)
    assert (read[0].chosen, read[0].rejected, read[0].p_chosen) == ("a", "b", 1.0)
    assert to_demonstration(forms[1], "row 1").completion == "a"
    assert to_prompt(forms[1], "row 1").prompt == read[0].prompt


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "q", "chosen": "a"}, "row 7: no column 'rejected'"),
        ({"prompt": "q", "chosen": "a", "rejected": " "}, "row 7: the response is empty"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "row 7: .*identical"),
        ({"prompt": " ", "chosen": "a", "rejected": "b"}, "row 7: the prompt is empty"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "p_chosen": 1.5}, "row 7: p_chosen"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "margin": math.inf}, "row 7: margin must"),
        ({"chosen": "a", "rejected": "b"}, "row 7: .*do not share a prompt"),
        ({"prompt": 3, "chosen": "a", "rejected": "b"}, "row 7, column 'prompt': expected text"),
    ],
)
def test_wrong_comparisons_are_named(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        to_comparison(row, "row 7")


def test_wrong_demonstrations_are_named() -> None:
    with pytest.raises(DataError, match="row 2: the response is empty"):
        to_demonstration({"prompt": "q", "completion": ""}, "row 2")
    with pytest.raises(DataError, match="row 2: no column 'prompt'; .*found question"):
        to_demonstration({"question": "q"}, "row 2")


def test_text_forms() -> None:
    assert to_text({"text": "x"}, "r") == "x"
    assert [m["content"] for m in to_text({"question": "q", "answer": "a"}, "r")] == ["q", "a"]  # type: ignore[index]


def test_native_transcripts(accord_data: Path) -> None:
    """Rows of the published file: all are read or refused with a reason, most are read."""
    reference = str(accord_data / "preferences/hh-harmless/native.jsonl.gz")
    rows = read_rows(reference)
    good = 0
    for number, row in enumerate(rows, start=1):
        try:
            to_comparison(row, f"row {number}")
            good += 1
        except DataError as error:
            assert f"row {number}" in str(error)
    assert len(rows) == 2056
    assert good >= 2040
