"""Simulated annotators: error rates as stated, symmetric, deterministic, marked as simulated."""

from collections import Counter

import pytest

from accord.corpora.sample_set import ANNOTATORS, SampleSet, SimulatedAnnotator, score


@pytest.mark.parametrize("annotator", ANNOTATORS, ids=lambda annotator: annotator.name)
def test_error_rate_on_clear_pairs(annotator: SimulatedAnnotator, made: SampleSet) -> None:
    errors = []
    for row in made.rows[:2000]:
        good, bad = row["candidates"][0]["text"], row["candidates"][-1]["text"]
        assert score(good, row) - score(bad, row) > 0.3
        errors.append(annotator.judge(row, good, bad) != "a")
    # three standard errors of 2,000 draws at 0.3 are 0.031
    assert sum(errors) / len(errors) == pytest.approx(annotator.error_rate, abs=0.031)


def test_swapping_the_responses_mirrors_the_verdict(made: SampleSet) -> None:
    mirrored = {"a": "b", "b": "a", "tie": "tie"}
    for row in made.rows[:200]:
        a, b = row["candidates"][0]["text"], row["candidates"][1]["text"]
        for annotator in ANNOTATORS:
            verdict = annotator.judge(row, a, b, seed=5)
            assert annotator.judge(row, b, a, seed=5) == mirrored[verdict]
            assert annotator.judge(row, a, a, seed=5) == "tie"


def test_tastes_differ(made: SampleSet) -> None:
    tastes = {
        tuple(annotator.taste(c["text"]) for row in made.rows[:10] for c in row["candidates"])
        for annotator in ANNOTATORS
    }
    assert len(tastes) == 5


def test_every_row_has_a_pair_with_three_simulated_judgements(made: SampleSet) -> None:
    of_row = Counter(record["row_id"] for record in made.judgements)
    assert set(of_row) == {row["id"] for row in made.rows if row["split"] != "test"}
    assert set(of_row.values()) == {3}
    assert set(Counter(record["task_id"] for record in made.judgements).values()) == {3}
    keys = {(record["task_id"], record["annotator"]) for record in made.judgements}
    assert len(keys) == len(made.judgements)
    assert {record["annotator_kind"] for record in made.judgements} == {"simulated"}
    assert {record["display_order"] for record in made.judgements} == {"ab", "ba"}
    assert all(record["response_a"] != record["response_b"] for record in made.judgements)
    verdicts = Counter(record["verdict"] for record in made.judgements)
    assert 0.8 < verdicts["a"] / verdicts["b"] < 1.25
    assert 0 < verdicts["tie"] < 0.15 * len(made.judgements)
