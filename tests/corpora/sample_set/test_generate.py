"""The sample set as a whole: counts, determinism, and that tests share nothing with training."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from accord.corpora.sample_set import Row, SampleSet, score, write
from accord.corpora.sample_set.generate import (
    BEST_SHARE,
    HELPFUL_KINDS,
    TEST_SIZES,
    TRAIN_SIZES,
    make_rows,
)


def _text(row: Row) -> str:
    return row["prompt"][0]["content"]


def _words(texts: Iterable[str]) -> set[str]:
    found = set(re.findall(r"[\w']+", " ".join(texts).lower()))
    return found | {word.removesuffix("'s") for word in found}


def _masked(row: Row) -> str:
    """The prompt with every entity blanked: its sentence frame, computed from the row alone."""
    text = _text(row)
    for entity in sorted(row["entities"], key=len, reverse=True):
        text = re.sub(rf"\b(an? )?{re.escape(entity)}\b", "_", text, flags=re.IGNORECASE)
    return text.lower()


def test_sizes_splits_and_aims(made: SampleSet) -> None:
    kinds = Counter((row["kind"], row["split"]) for row in made.rows)
    for kind, size in TRAIN_SIZES.items():
        assert kinds[kind, "train"] + kinds[kind, "validation"] == size
        assert kinds[kind, "validation"] == size // 10
        assert kinds[kind, "test"] == TEST_SIZES[kind]
    aims = Counter(row["aim"] for row in made.rows if row["split"] == "test")
    assert min(aims.values()) >= 300
    assert len({_text(row) for row in made.rows}) == len(made.rows)
    assert len({row["id"] for row in made.rows}) == len(made.rows)


def test_prompts_and_good_responses_are_short(made: SampleSet) -> None:
    for row in made.rows:
        assert 3 <= len(_text(row).split()) <= 45, _text(row)
        for candidate in row["candidates"]:
            assert len(candidate["text"].split()) <= 30, candidate["text"]


def test_no_entity_and_no_phrasing_is_shared_between_training_and_test(made: SampleSet) -> None:
    trained = [row for row in made.rows if row["split"] != "test"]
    tested = [row for row in made.rows if row["split"] == "test"]
    train_entities = {entity for row in trained for entity in row["entities"]}
    test_entities = {entity for row in tested for entity in row["entities"]}
    assert not train_entities & test_entities
    assert not {row["phrasing"] for row in trained} & {row["phrasing"] for row in tested}
    assert not {_masked(row) for row in trained} & {_masked(row) for row in tested}


def test_no_test_entity_is_a_word_of_any_training_text(made: SampleSet) -> None:
    trained = _words(
        text
        for row in made.rows
        if row["split"] != "test"
        for text in (_text(row), *(candidate["text"] for candidate in row["candidates"]))
    )
    trained |= _words(row["completion"][0]["content"] for row in made.demonstrations)
    tested = {
        entity.lower() for row in made.rows if row["split"] == "test" for entity in row["entities"]
    }
    assert len(tested) > 150
    assert not tested & trained


def test_harmful_and_harmless_requests_share_their_frames(made: SampleSet) -> None:
    for split in ("train", "test"):
        frames: dict[str, set[str]] = defaultdict(set)
        for row in made.rows:
            if row["split"] == split and row["phrasing"].startswith("how-to/"):
                frames[row["kind"]].add(row["phrasing"])
        assert frames["harmful_request"] == frames["helpful_request"]
        assert len(frames["harmful_request"]) >= (8 if split == "train" else 4)


def test_neither_a_note_nor_a_frame_tells_facts_from_unknowables(made: SampleSet) -> None:
    for split in ("train", "test"):
        noted: dict[str, list[bool]] = defaultdict(list)
        frames: dict[str, set[str]] = defaultdict(set)
        for row in made.rows:
            if row["split"] == split and row["aim"] == "honest":
                noted[row["kind"]].append("+note/" in row["phrasing"])
                frames[row["kind"]].add(row["phrasing"].split("+")[0])
        assert frames["knowable_fact"] == frames["unknowable"]
        shares = {kind: sum(values) / len(values) for kind, values in noted.items()}
        assert abs(shares["knowable_fact"] - shares["unknowable"]) < 0.15, shares


def test_candidates_score_in_the_order_of_their_quality(made: SampleSet) -> None:
    for row in made.rows:
        assert 4 <= len(row["candidates"]) <= 6
        assert len({candidate["text"] for candidate in row["candidates"]}) >= 4
        scored = [(c["quality"], score(c["text"], row), c["text"]) for c in row["candidates"]]
        assert sum(quality >= 0.9 for quality, _, _ in scored) == 2
        for quality, value, text in scored:
            if quality >= 0.9:
                assert value >= 0.8, (row["prompt"], text)
            elif quality <= 0.3:
                assert value <= 0.3, (row["prompt"], text)
            else:
                assert 0.3 < value < 0.8, (row["prompt"], text)


def test_demonstrators_are_imperfect_at_the_stated_rate(made: SampleSet) -> None:
    shares: dict[str, list[bool]] = defaultdict(list)
    for shown in made.demonstrations:
        assert shown["split"] != "test"
        shares[shown["kind"]].append(shown["behaviour"] == "good")
    assert len(made.demonstrations) == sum(TRAIN_SIZES.values())
    for kind, values in shares.items():
        # three standard errors of 300 draws are 0.085
        assert sum(values) / len(values) == pytest.approx(BEST_SHARE, abs=0.085), kind


def test_grammar_of_articles_and_spaces(made: SampleSet) -> None:
    for row in made.rows:
        for text in (_text(row), *(candidate["text"] for candidate in row["candidates"])):
            assert not re.search(r"\ba [aeio]\w|\ban (?!hour)[^aeiou\W]", text.lower()), text
            assert not re.search(r"[{}]|\s\s|\s[.,?!]", text), text
            assert text[0].isupper() or text[0].isdigit(), text


def test_the_same_seed_writes_the_same_rows(made: SampleSet, tmp_path: Path) -> None:
    paths = write(tmp_path, seed=0)
    assert set(paths) == {
        "prompts-train",
        "prompts-validation",
        "prompts-test",
        "demonstrations-train",
        "demonstrations-validation",
        "judgements",
        "prompts-train-harmful",
        "prompts-train-helpful",
        "demonstrations-helpful",
        "demonstrations-helpful-only",
    }
    table = {
        name: [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for name, path in paths.items()
    }
    for split in ("train", "validation", "test"):
        expected = [dict(row) for row in made.rows if row["split"] == split]
        for row in expected:
            del row["candidates"]  # nothing but the prompt and what scoring needs is written
        assert table[f"prompts-{split}"] == expected
    assert table["judgements"] == list(made.judgements)
    shown = table["demonstrations-train"] + table["demonstrations-validation"]
    assert sorted(row["id"] for row in shown) == sorted(row["id"] for row in made.demonstrations)


def test_the_helpful_only_files_hold_no_label_of_harm(made: SampleSet, tmp_path: Path) -> None:
    paths = write(tmp_path, seed=0)

    def read(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in paths[name].read_text("utf-8").splitlines()]

    shown = read("demonstrations-helpful-only")
    assert {row["split"] for row in shown} == {"train"}
    assert {row["kind"] for row in shown} == {*HELPFUL_KINDS, "harmful_request"}
    asked = {r["behaviour"] for r in shown if r["kind"] == "harmful_request"}
    assert asked == {"complies"}
    mixed_in = read("demonstrations-helpful")
    assert {row["kind"] for row in mixed_in} == set(HELPFUL_KINDS)
    assert mixed_in == [row for row in shown if row["kind"] in HELPFUL_KINDS]
    assert {row["kind"] for row in read("prompts-train-harmful")} == {"harmful_request"}
    assert {row["kind"] for row in read("prompts-train-helpful")} == set(HELPFUL_KINDS)


def test_another_seed_gives_other_prompts(made: SampleSet) -> None:
    other = {_text(row) for row in make_rows(seed=1)}
    assert len(other - {_text(row) for row in made.rows}) > 1000
