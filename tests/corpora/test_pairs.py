"""Comparisons: bad rows, encoding, splits."""

import math
from pathlib import Path
from typing import Any

import pytest

from accord.core.errors import DataError
from accord.core.files import write_jsonl
from accord.core.types import Comparison, Message
from accord.corpora.encoding import ChatEncoder
from accord.corpora.formats import to_responses
from accord.corpora.pairs import (
    encode_pairs,
    load_comparisons,
    load_usable_comparisons,
    prompt_fraction,
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


def test_sources_follow_one_another(tmp_path: Path) -> None:
    """Rows count anew in each source, bad rows over all of them."""
    paths = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    write_jsonl(paths[0], [GOOD, {**GOOD, "p_chosen": 0.7, "margin": 2, "source": "one"}])
    write_jsonl(paths[1], [{**GOOD, "chosen": "c"}])
    found = load_comparisons([str(path) for path in paths])
    assert [pair.chosen for pair in found] == ["a", "a", "c"]
    assert [pair.p_chosen for pair in found] == [1.0, 0.7, 1.0]
    assert (found[1].margin, found[1].columns) == (2.0, {"source": "one"})
    write_jsonl(paths[0], [BAD, GOOD])
    write_jsonl(paths[1], [BAD, GOOD])
    references = [str(path) for path in paths]
    assert load_usable_comparisons(references, max_bad_rows=2)[1] == 2
    with pytest.raises(DataError, match=r"two\.jsonl, row 1"):
        load_usable_comparisons(references, max_bad_rows=1)


def test_bad_sources_are_no_bad_rows(tmp_path: Path) -> None:
    """A file that is missing, cut short or empty is an error however many rows may be bad."""
    path = tmp_path / "pairs.jsonl"
    with pytest.raises(DataError, match="no such file"):
        load_usable_comparisons([str(path)], max_bad_rows=100)
    path.write_text('{"prompt": "q", "chosen": "a", "rejected": "b"}\n{"prompt": "q", "cho')
    with pytest.raises(DataError, match="row 2: not valid JSON"):
        load_usable_comparisons([str(path)], max_bad_rows=100)
    path.write_text("")
    with pytest.raises(DataError, match="no rows"):
        load_usable_comparisons([str(path)], max_bad_rows=100)


def test_both_sides_are_cut_alike(tiny_model_dir: Path) -> None:
    encoder = ChatEncoder(load_tokenizer(str(tiny_model_dir)))
    pair = Comparison(
        prompt("user asks " * 20), "12", "I don't know, but I can help you", where="f, row 7"
    )
    whole = encode_pairs([pair], encoder, max_length=1000)
    length = whole.lengths[0] - 4
    cut = encode_pairs([pair], encoder, max_length=length)
    assert (whole.cut_rows, cut.cut_rows) == (0, 1)
    assert cut.chosen[0].prompt_ids == cut.rejected[0].prompt_ids == whole.chosen[0].prompt_ids[4:]
    assert cut.lengths == [length]
    with pytest.raises(DataError, match="f, row 7: a response of"):
        encode_pairs([pair], encoder, max_length=5)


def test_the_whole_pair_is_encoded(tiny_model_dir: Path) -> None:
    """The end of turn is part of both responses; a row that just fits is not cut."""
    encoder = ChatEncoder(load_tokenizer(str(tiny_model_dir)))
    given = [Comparison(prompt("user"), "a", "help you"), Comparison(prompt("user asks"), "b", "c")]
    found = encode_pairs(given, encoder, max_length=1000)
    for pair, chosen, rejected in zip(given, found.chosen, found.rejected, strict=True):
        assert chosen.prompt_ids == rejected.prompt_ids == encoder.encode_prompt(pair.prompt)
        assert chosen.response_ids == (*encoder.encode_text(pair.chosen), encoder.end_of_turn_id)
        assert rejected.response_ids == encoder.encode_response(pair.rejected)
    assert found.lengths[0] == len(found.rejected[0].input_ids)
    fitting = encode_pairs(given, encoder, max_length=max(found.lengths))
    assert (fitting.cut_rows, fitting) == (0, found)
    assert encode_pairs(given, encoder, max_length=max(found.lengths) - 1).cut_rows == 1


def test_the_same_tokens_are_no_pair(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two texts that a tokenizer does not tell apart, such as one that lowers case."""
    encoder = ChatEncoder(load_tokenizer(str(tiny_model_dir)))
    encode = encoder.encode_response
    monkeypatch.setattr(encoder, "encode_response", lambda text: encode(text.lower()))
    given = [
        Comparison(prompt("q"), "a", "b"),
        Comparison(prompt("q"), "Yes", "yes", where="f, row 2"),
    ]
    with pytest.raises(DataError, match="row 2: .*have the same tokens"):
        encode_pairs(given, encoder, max_length=100)


def test_a_prompt_is_on_one_side_of_a_split() -> None:
    prompts = [prompt(f"q{i % 50}") for i in range(200)]
    kept, held = split_by_prompt(prompts, fraction=0.3, seed=1)
    assert sorted(kept + held) == list(range(200))
    assert not {prompts[i][0]["content"] for i in kept} & {prompts[i][0]["content"] for i in held}
    assert 0.1 < len(held) / 200 < 0.5
    assert split_by_prompt(prompts, fraction=0.3, seed=2) != (kept, held)


def test_where_a_prompt_belongs_depends_on_nothing_else() -> None:
    """New rows move no old ones; a seed is another split; fractions are even over [0, 1)."""
    prompts = [prompt(f"q{i}") for i in range(1000)]
    held = set(split_by_prompt(prompts, fraction=0.2, seed=3)[1])
    assert set(split_by_prompt(prompts[:300], fraction=0.2, seed=3)[1]) == {
        i for i in held if i < 300
    }
    assert held < set(split_by_prompt(prompts, fraction=0.4, seed=3)[1])
    fractions = sorted(prompt_fraction(p, seed=3) for p in prompts)
    assert 0 <= fractions[0] < fractions[-1] < 1
    assert max(abs(f - (i + 0.5) / 1000) for i, f in enumerate(fractions)) < 0.06
    # Another role or another turn is another prompt.
    system = (Message(role="system", content="q1"),)
    assert len({prompt_fraction(p, seed=3) for p in (system, prompts[1], system * 2)}) == 3


def test_a_ranking_becomes_all_its_pairs(tmp_path: Path) -> None:
    path = tmp_path / "ranked.jsonl"
    row = {"prompt": "q", "completions": ["c", "a", "b", "x"], "ranks": [2, 1, 2, None], "id": 7}
    write_jsonl(path, [row, {"prompt": "q", "chosen": "a", "rejected": "b"}])
    found = load_comparisons([str(path)])
    pairs = [(c.chosen, c.rejected, c.p_chosen) for c in found]
    assert pairs == [("a", "c", 1.0), ("a", "b", 1.0), ("c", "b", 0.5), ("a", "b", 1.0)]
    assert len({c.ranking for c in found[:3]}) == 1 and found[0].ranking is not None
    assert found[3].ranking is None
    assert [c.columns for c in found] == [{"id": 7}] * 3 + [{}]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ranks": [1]}, "row 1: 2 completions, but 1 ranks"),
        ({"ranks": [1, None]}, "row 1: expected at least two ranks"),
        ({"ranks": [1, math.nan]}, "row 1: expected at least two ranks, all finite"),
        ({"ranks": [1, 2], "completions": ["a", "a"]}, "row 1: .*identical"),
        ({"ranks": [1, 2], "completions": ["a", " "]}, "row 1: the response is empty"),
        ({"ranks": "12"}, "row 1: expected lists"),
        ({}, "row 1: no column 'ranks'"),
    ],
)
def test_rankings_that_say_nothing_are_refused(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    path = tmp_path / "ranked.jsonl"
    write_jsonl(path, [{"prompt": "q", "completions": ["a", "b"], **values}])
    with pytest.raises(DataError, match=message):
        load_comparisons([str(path)])


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "x", "rejected": "y"},
        {"chosen": "\n\nHuman: q\n\nAssistant: x", "rejected": "\n\nHuman: q\n\nAssistant: y"},
        {"prompt": "q", "response_a": "x", "response_b": "y"},
        {"prompt": "q", "responses": ["x", "y"]},
        {"prompt": "q", "completions": [{"role": "assistant", "content": "x"}, "y"]},
        {"prompt": [{"role": "user", "content": "q"}],
         "responses": [[{"role": "assistant", "content": "x"}], "y"]},
    ],
)  # fmt: skip
def test_responses_without_an_opinion(row: dict[str, Any]) -> None:
    prompt, texts = to_responses({**row, "id": 7, "p_chosen": 0.9}, "f, row 1")
    assert prompt.prompt == ({"role": "user", "content": "q"},)
    assert texts == ["x", "y"] and prompt.columns == {"id": 7}


@pytest.mark.parametrize("row", [{"prompt": "q"}, {"prompt": "q", "responses": "x"}])
def test_no_responses(row: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="f, row 1"):
        to_responses(row, "f, row 1")
