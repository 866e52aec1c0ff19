"""Win rates by many judgements of a model and few of people: by hand, and by how often the interval
holds the truth."""

import numpy as np
import pytest

from accord.annotation.prediction_powered import corrected_mean
from accord.annotation.tables import Floats
from accord.annotation.win_rates import clustered_standard_error


def test_by_hand() -> None:
    """Three pairs that people judged as well, two that only the judge did; full weight.

    mean of the others 0.5; people less judge -0.5, 0, 0 on average -1/6: 1/3. The variances:
    (0.25 + 0.25) / 2^2 and (1/9 + 1/36 + 1/36) / 3^2, times 5/4 for five prompts.
    """
    judge = [1.0, 1.0, 0.0, 1.0, 0.0]
    people = [0.5, 1.0, 0.0, np.nan, np.nan]
    found = corrected_mean(judge, people, range(5), weight=1.0)
    assert found.value == pytest.approx(0.5 - 1 / 6)
    variance = 5 / 4 * (0.5 / 4 + (1 / 9 + 2 / 36) / 9)
    assert found.standard_error == pytest.approx(np.sqrt(variance))
    assert found.low == pytest.approx(found.value - 1.959964 * found.standard_error)
    assert (found.labelled, found.unlabelled) == (3, 2)
    assert found.by_judge == pytest.approx(0.6) and found.by_people == pytest.approx(0.5)


def test_without_weight_it_is_what_people_said() -> None:
    rng = np.random.default_rng(0)
    judge, people = rng.random(50), np.where(np.arange(50) < 20, rng.random(50), np.nan)
    found = corrected_mean(judge, people, range(50), weight=0.0)
    assert found.value == pytest.approx(people[:20].mean())
    slice_error = clustered_standard_error(people[:20], range(20))
    # the factor for few clusters is of fifty here, of twenty there
    assert found.standard_error == pytest.approx(slice_error * np.sqrt(50 / 49 * 19 / 20), rel=1e-9)


def test_a_judge_who_knows_nothing_is_given_no_weight() -> None:
    rng = np.random.default_rng(1)
    judge = rng.random(4000)
    people = np.where(np.arange(4000) < 2000, rng.random(4000), np.nan)
    assert corrected_mean(judge, people, range(4000)).weight == pytest.approx(0.0, abs=0.05)
    same = np.where(np.arange(4000) < 2000, judge, np.nan)
    # n / N of the slice to the rest: 1 / (1 + 1)
    assert corrected_mean(judge, same, range(4000)).weight == pytest.approx(0.5, abs=0.01)


def simulate(
    rng: np.random.Generator, *, prompts: int, each: int, share: float
) -> tuple[Floats, Floats, list[int]]:
    """A judge 0.1 too kind to the first; pairs of a prompt go together. The truth is 0.55."""
    skill = np.repeat(rng.beta(5.5, 4.5, prompts), each)
    people = (rng.random(prompts * each) < skill).astype(float)
    judge = np.clip(0.6 * people + 0.4 * skill + 0.1, 0, 1)
    clusters = np.repeat(np.arange(prompts), each)
    seen = np.repeat(rng.random(prompts) < share, each)
    return judge, np.where(seen, people, np.nan), clusters.tolist()


@pytest.mark.parametrize("each", [1, 3])
def test_the_interval_holds_the_truth_as_often_as_it_says(each: int) -> None:
    rng = np.random.default_rng(0)
    held, naive, widths, by_people = 0, 0, [], []
    for _ in range(600):
        judge, people, clusters = simulate(rng, prompts=300, each=each, share=0.3)
        found = corrected_mean(judge, people, clusters)
        held += found.low <= 0.55 <= found.high
        naive += abs(judge.mean() - 0.55) < 1.96 * clustered_standard_error(judge, clusters)
        widths.append(found.standard_error)
        labelled = ~np.isnan(people)
        slice_clusters = [c for c, keep in zip(clusters, labelled, strict=True) if keep]
        by_people.append(clustered_standard_error(people[labelled], slice_clusters))
    assert 0.93 <= held / 600 <= 0.97
    assert naive / 600 < 0.2  # the judge's own interval is beside the truth
    assert np.mean(widths) < 0.8 * np.mean(by_people)  # and the judge saves people's work


def test_what_cannot_be_estimated_is_refused() -> None:
    with pytest.raises(ValueError, match="two prompts"):
        corrected_mean([0.5, 0.5], [1.0, np.nan], range(2))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        corrected_mean([1.5, 0.5, 0.5], [1.0, 0.0, np.nan], range(3))


def test_where_people_judged_everything_there_is_nothing_to_correct() -> None:
    found = corrected_mean([0.9, 0.8, 0.1], [1.0, 0.0, 0.0], range(3))
    assert found.value == pytest.approx(1 / 3) and found.unlabelled == 0


def test_where_the_judge_abstained_people_are_heard_still() -> None:
    """It says nothing of the hard pairs, on which the first never wins."""
    rng = np.random.default_rng(0)
    hard = rng.random(2000) < 0.5
    judge = np.where(hard, np.nan, 1.0)
    people = np.where(rng.random(2000) < 0.3, np.where(hard, 0.0, 1.0), np.nan)
    found = corrected_mean(judge, people, range(2000))
    assert found.low < (~hard).mean() < found.high
    assert found.by_judge == pytest.approx(0.75, abs=0.02)


def test_two_who_agree_prove_little() -> None:
    found = corrected_mean([0.6, 0.4, 0.5, 0.7], [1.0, 1.0, np.nan, np.nan], range(4))
    assert found.value == 1.0 and found.low < 0.5
