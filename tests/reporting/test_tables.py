from pathlib import Path
from typing import Any

from accord.reporting.judges import judge_table
from accord.reporting.reward_models import reliability_curves, reward_model_table
from accord.reporting.run_files import StepFiles
from accord.reporting.tables import evaluation_table, verdicts
from reporting.fake_run import reward_result


def step(result: dict[str, Any]) -> StepFiles:
    return StepFiles("s", Path("s"), {"stage": "evaluate"}, {}, [], result)


def figure(mean: float, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"mean": mean, "low": low, "high": high, "n": 10}


def test_best_is_the_highest_the_lowest_or_nobody() -> None:
    policies = {
        "a": {"fact_correct": figure(0.5), "fact_wrong": figure(0.2), "kl_nats": figure(0.1)},
        "b": {"fact_correct": figure(0.6), "fact_wrong": figure(0.3), "kl_nats": figure(2.0)},
    }
    (honest, shape) = evaluation_table(step({"policies": policies, "baseline": "a"}))
    assert honest.title == "Honest"
    best = [[cell.is_best for cell in row.cells if cell] for row in honest.rows + shape.rows]
    assert best == [[False, True], [True, False], [False, False]]


def test_what_is_equal_as_shown_has_no_best_and_ties_share_it() -> None:
    def stars(*values: float) -> list[bool]:
        policies = {str(i): {"score": figure(value)} for i, value in enumerate(values)}
        (group,) = evaluation_table(step({"policies": policies, "baseline": "0"}))
        return [cell.is_best for cell in group.rows[0].cells if cell]

    assert stars(0.501, 0.502) == [False, False]
    assert stars(0.501, 0.502, 0.3) == [True, True, False]


def test_missing_and_unknown_figures() -> None:
    policies = {
        "a": {"rhymes": figure(0.25, 0.2, 0.3)},
        "b": {"rhymes": figure(float("nan")), "score": figure(-1.5, -2.0, -1.0)},
    }
    other, quality = evaluation_table(step({"policies": policies, "baseline": "a"}))
    assert other.rows[0].label == "Rhymes" and other.rows[0].better == ""
    first, second = other.rows[0].cells
    assert first and first.text == "0.25" and first.interval == "0.20 to 0.30" and second is None
    cell = quality.rows[0].cells[1]
    assert cell and cell.text == "−1.50" and cell.interval == "−2.00 to −1.00"


def test_changes_are_points_against_the_baseline() -> None:
    found = evaluation_table(
        step(
            {
                "policies": {"sft": {}, "ppo": {}},
                "changes": {"ppo": {"score_honest": figure(-0.0312, -0.05, 0.002)}},
                "baseline": "sft",
            }
        )
    )
    assert found[-1].title == "Change from sft, points of 100, paired by prompt"
    (row,) = found[-1].rows
    assert row.label == "Mean score, honest aim" and row.cells[0] is None
    assert row.cells[1] and row.cells[1].text == "−3.1"
    assert row.cells[1].interval == "−5.0 to +0.2"


def test_verdicts_follow_the_interval() -> None:
    rates = {
        "win": {"judge": figure(0.6, 0.52, 0.68)},
        "draw": {"judge": figure(0.6, 0.49, 0.71)},
        "lose": {"judge": figure(0.4, 0.31, 0.49), "scorer": figure(0.5, 0.4, 0.6)},
    }
    found = verdicts(step({"win_rates": rates, "baseline": "sft"}))
    assert found == [
        "win against sft: wins by the judge model (60.0%, 52.0% to 68.0%).",
        "draw against sft: cannot be told from it by the judge model (60.0%, 49.0% to 71.0%).",
        "lose against sft: loses by the judge model (40.0%, 31.0% to 49.0%); "
        "cannot be told from it by the scorer (50.0%, 40.0% to 60.0%).",
    ]


def test_people_put_a_verdict_right() -> None:
    by_people = {"by_people": 0.55, "by_people_low": 0.48, "by_people_high": 0.62}
    rates = {"ppo": {"judge": {**figure(0.6, 0.52, 0.68), **by_people}}}
    (found,) = verdicts(step({"win_rates": rates, "baseline": "sft"}))
    assert found.endswith("; 55.0% (48.0% to 62.0%) as people's slice puts the judge model right.")


def test_reward_model_with_cross_validation() -> None:
    found = {
        "heldout_accuracy": 0.65,
        "tfidf_accuracy": float("nan"),
        "cross_validation": {
            "folds": 5,
            "reward_model": {"accuracy": 0.64, "by_fold": []},
            "difference_to_tfidf": {"mean": 0.021, "low": -0.004, "high": 0.046},
        },
    }
    assert reward_model_table(step(found)) == [
        ("Held-out accuracy", "65.0%"),
        ("5-fold cross-validation, reward model", "64.0%"),
        ("Same folds, difference to TF-IDF", "+2.1 points (−0.4 to +4.6)"),
    ]


def test_reward_model_by_length_attribute_and_calibration() -> None:
    rows = dict(reward_model_table(step(reward_result(0.8))))
    assert rows["Accuracy, chosen under 0.5 times as long"] == "70.0% of 90"
    assert rows["Accuracy, chosen 0.5 to 2 times as long"] == "80.0% of 210"
    assert rows["Accuracy, chosen 2 times and more as long"] == "85.0% of 112"
    assert rows["Accuracy of the head “helpful”"] == "80.0%"
    assert not any("harmless" in label for label in rows)
    assert rows["Calibration error (ECE)"] == "8.1%"
    assert rows["The same at the fitted temperature, 1.62"] == "2.3%"
    assert rows["Correlation of score and length"] == "−0.21"
    assert "Mean spread of the members" not in rows
    curves = reliability_curves(step(reward_result(0.8)))
    assert curves["as scored"][0] == (0.55, 0.56)
    assert len(curves["with the temperature"]) == 4
    assert reliability_curves(step({})) == {}


def test_a_judges_figures() -> None:
    result = {
        "judge": "m (pair)",
        "opinions": {
            "pairs": 2000, "abstained": 3, "inconsistent": 40, "consistency": 0.9,
            "first_share": None,
        },
        "agreement": {"share": 0.75, "pairs": 20},
        "calibration": {
            "method": "isotonic", "pairs": 20, "error": 0.2, "error_calibrated": 0.05,
            "curve": [{"confidence": 0.9, "share": 0.7}],
            "curve_calibrated": [{"confidence": 0.7, "share": 0.7}],
        },
        "routed": {"unsure": 5},
        "spent": {"prompt_tokens": 1000, "completion_tokens": 20, "price": 1.5},
    }  # fmt: skip
    rows = dict(judge_table(step(result)))
    assert rows["Same verdict in both orders"] == "90.0%"
    assert rows["Agreement with people"] == "75.0% of 20"
    assert rows["The same by isotonic, on 20 pairs it had not seen"] == "5.0%"
    assert rows["Left to people (unsure)"] == "5"
    assert rows["Tokens"] == "1,000 in, 20 out; price 1.50"
    assert not any(label.startswith("Verdicts for what was shown first") for label in rows)
    assert list(reliability_curves(step(result))) == ["as scored", "calibrated"]
    assert judge_table(step({})) == []
