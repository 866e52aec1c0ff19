"""Comparisons: bad rows, encoding, splits."""

from pathlib import Path

import pytest

from accord.core.errors import DataError
from accord.core.files import write_jsonl
from accord.core.types import Comparison, Message
from accord.corpora.encoding import ChatEncoder
from accord.corpora.pairs import (
    encode_pairs,
    load_comparisons,
    load_usable_comparisons,
    split_by_prompt,
)
from accord.models.loading import load_tokenizer

GOOD = {"prompt": "q", "chosen": "a", "rejected": "b"}
BAD = {"prompt": "q", "chosen": "a", "rejected": "a"}


def prompt(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def test_bad_rows_are_counted_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    write_jsonl(path, [GOOD, BAD, GOOD, BAD])
    with pytest.raises(DataError, match=r"pairs\.jsonl, row 2: .*identical"):
        load_comparisons([str(path)])
    with pytest.raises(DataError, match="row 4"):
        load_usable_comparisons([str(path)], max_bad_rows=1)
    comparisons, bad = load_usable_comparisons([str(path)], max_bad_rows=2)
    assert (len(comparisons), bad) == (2, 2)


def test_both_sides_are_cut_alike(tiny_model_dir: Path) -> None:
    encoder = ChatEncoder(load_tokenizer(str(tiny_model_dir)))
    pair = Comparison(prompt("user asks " * 20), "12", "I don't know, but I can help you")
    whole = encode_pairs([pair], encoder, max_length=1000)
    length = whole.lengths[0] - 4
    cut = encode_pairs([pair], encoder, max_length=length)
    assert (whole.cut_rows, cut.cut_rows) == (0, 1)
    assert cut.chosen[0].prompt_ids == cut.rejected[0].prompt_ids == whole.chosen[0].prompt_ids[4:]
    assert cut.lengths == [length]
    with pytest.raises(DataError, match="comparison 1: a response of"):
        encode_pairs([pair], encoder, max_length=5)


def test_a_prompt_is_on_one_side_of_a_split() -> None:
    prompts = [prompt(f"q{i % 50}") for i in range(200)]
    kept, held = split_by_prompt(prompts, fraction=0.3, seed=1)
    assert sorted(kept + held) == list(range(200))
    assert not {prompts[i][0]["content"] for i in kept} & {prompts[i][0]["content"] for i in held}
    assert 0.1 < len(held) / 200 < 0.5
    assert split_by_prompt(prompts, fraction=0.3, seed=2) != (kept, held)
