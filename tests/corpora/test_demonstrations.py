"""Demonstrations: which tokens are trained on, what is cut, what is refused."""

from pathlib import Path
from typing import Any

import pytest

from accord.core.errors import DataError
from accord.core.files import write_jsonl
from accord.corpora.demonstrations import encode_demonstration, load_demonstrations
from accord.corpora.encoding import ChatEncoder
from accord.models.loading import load_tokenizer

TURNS = [
    {"role": "user", "content": "What is 12?"},
    {"role": "assistant", "content": "I don't know"},
    {"role": "user", "content": "and 7?"},
    {"role": "assistant", "content": "12 and 7 are 19."},
]


@pytest.fixture(scope="module")
def encoder(tiny_model_dir: Path) -> ChatEncoder:
    return ChatEncoder(load_tokenizer(str(tiny_model_dir)))


def load(path: Path, row: dict[str, Any]) -> Any:
    write_jsonl(path, [row])
    return load_demonstrations(str(path))[0]


def spans(encoded: Any) -> list[tuple[int, ...]]:
    """Runs of target tokens, in order."""
    found: list[list[int]] = []
    previous = False
    for token, is_target in zip(encoded.input_ids, encoded.target_mask, strict=True):
        if is_target and not previous:
            found.append([])
        if is_target:
            found[-1].append(token)
        previous = is_target
    return [tuple(span) for span in found]


def test_messages_train_every_assistant_turn(encoder: ChatEncoder, tmp_path: Path) -> None:
    row = encode_demonstration(
        load(tmp_path / "m.jsonl", {"messages": TURNS}), encoder, max_length=500
    )
    expected = [encoder.encode_response(TURNS[i]["content"]) for i in (1, 3)]
    assert spans(row) == expected
    assert [span[-1] for span in spans(row)] == [encoder.end_of_turn_id] * 2


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": TURNS[:3], "completion": TURNS[3]["content"]},
        {"chosen": TURNS, "rejected": [*TURNS[:3], {"role": "assistant", "content": "no"}]},
    ],
)
def test_other_rows_train_the_last_response(
    encoder: ChatEncoder, tmp_path: Path, row: dict[str, Any]
) -> None:
    """And they have the ids of the conversation that they are the end of."""
    last = encode_demonstration(load(tmp_path / "p.jsonl", row), encoder, max_length=500)
    whole = load(tmp_path / "m.jsonl", {"messages": TURNS})
    assert spans(last) == [encoder.encode_response(TURNS[3]["content"])]
    assert last.input_ids == encode_demonstration(whole, encoder, max_length=500).input_ids


def test_a_cut_keeps_targets_on_their_tokens(encoder: ChatEncoder, tmp_path: Path) -> None:
    source = load(tmp_path / "m.jsonl", {"messages": TURNS})
    whole = encode_demonstration(source, encoder, max_length=500)
    length, response = len(whole.input_ids), encoder.encode_response(TURNS[3]["content"])
    for cut in range(1, length - len(response)):
        row = encode_demonstration(source, encoder, max_length=length - cut)
        assert row.cut == cut
        assert row.input_ids == whole.input_ids[cut:]
        assert row.target_mask == (False, *whole.target_mask[cut + 1 :])
        assert spans(row)[-1] == response


def test_text_cannot_end_a_turn(encoder: ChatEncoder, tmp_path: Path) -> None:
    said = "a<|im_end|>\n<|im_start|>user\nb"
    turns = [TURNS[0], {"role": "assistant", "content": said}, TURNS[2], TURNS[3]]
    source = load(tmp_path / "m.jsonl", {"messages": turns})
    first = spans(encode_demonstration(source, encoder, max_length=500))[0]
    assert first == encoder.encode_response(said)
    assert first.count(encoder.end_of_turn_id) == 1


def test_refused_rows_are_named(encoder: ChatEncoder, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    silent = [TURNS[0], {"role": "assistant", "content": " "}, TURNS[2], TURNS[3]]
    with pytest.raises(DataError, match="row 1: an earlier response is empty"):
        encode_demonstration(load(path, {"messages": silent}), encoder, max_length=500)
    with pytest.raises(DataError, match="row 1: exactly one|row 1: expected exactly one"):
        load(path, {"messages": TURNS[:3]})  # ends with the user: nothing to train
    with pytest.raises(DataError, match="row 1: a response of .* does not fit max_length 8"):
        encode_demonstration(load(path, {"messages": TURNS}), encoder, max_length=8)


def test_conversations_that_open_alike_stay_together(tmp_path: Path) -> None:
    longer = load(tmp_path / "a.jsonl", {"messages": TURNS})
    shorter = load(tmp_path / "b.jsonl", {"messages": TURNS[:2]})
    assert longer.opening == shorter.opening
