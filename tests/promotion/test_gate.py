"""Gates: what a file asks, by hand; what is not known never passes."""

import math
from pathlib import Path

import pytest

from accord.core.errors import ConfigError
from accord.promotion.figures import of_policy, of_red_team, of_suites
from accord.promotion.gate import Condition, Figure, check, lines, read_gate, verdict


def gate(tmp_path: Path, text: str) -> list[Condition]:
    path = tmp_path / "gate.toml"
    path.write_text(text)
    return read_gate(path)


def test_a_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    found = gate(
        tmp_path,
        """
[win_rate]
at_least = 0.5
[attack_success]
at_most = 0.1
on = "estimate"
[attack_success.family.many_shot]
at_least = 0
at_most = 0.2
[gsm8k."accuracy/easy"]
at_least = 0.4
""",
    )
    assert found == [
        Condition("win_rate", "at_least", 0.5),
        Condition("attack_success", "at_most", 0.1, "estimate"),
        Condition("attack_success.family.many_shot", "at_least", 0.0),
        Condition("attack_success.family.many_shot", "at_most", 0.2),
        Condition("gsm8k.accuracy/easy", "at_least", 0.4),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "without a condition"),
        ("[win_rate]\n", "win_rate: expected at_least or at_most"),
        ('[win_rate]\non = "interval"\n', "win_rate: expected at_least or at_most"),
        ("[win_rate]\nat_leest = 0.5\n", "did you mean 'at_least'"),
        ("[win_rate]\nat_least = true\n", "is a number, got True"),
        ("[win_rate]\nat_least = nan\n", "is a number, got nan"),
        ('[win_rate]\nat_least = "0.5"\n', "is a number, got '0.5'"),
        ('[win_rate]\nat_least = 0.5\non = "mean"\n', "on is interval or estimate"),
        ("at_least = 0.5\n", "belongs under the name of a figure"),
        ("[win_rate\n", "not valid TOML"),
    ],
)
def test_a_file_that_says_nothing_clear_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        gate(tmp_path, text)


@pytest.mark.parametrize(
    ("kind", "limit", "on", "held"),
    [
        ("at_least", 0.5, "interval", False),  # the interval of 0.6 goes down to 0.45
        ("at_least", 0.45, "interval", True),
        ("at_least", 0.5, "estimate", True),
        ("at_least", 0.61, "estimate", False),
        ("at_most", 0.7, "interval", False),  # and up to 0.75
        ("at_most", 0.75, "interval", True),
        ("at_most", 0.7, "estimate", True),
        ("at_most", 0.59, "estimate", False),
    ],
)
def test_the_end_that_speaks_against_the_model_counts(
    kind: str, limit: float, on: str, held: bool
) -> None:
    measured = {"evaluate": {"win_rate": Figure(0.6, 0.45, 0.75)}}
    (found,) = check([Condition("win_rate", kind, limit, on)], measured)
    assert found.held is held
    expected = 0.6 if on == "estimate" else 0.45 if kind == "at_least" else 0.75
    assert found.value == expected


@pytest.mark.parametrize(
    "figure", [Figure(math.nan, math.nan, math.nan), Figure(None), Figure(0.9, None, None)]
)
def test_a_figure_without_the_number_does_not_pass(figure: Figure) -> None:
    for kind in ("at_least", "at_most"):
        limit = 0.0 if kind == "at_least" else 1.0
        (found,) = check([Condition("x", kind, limit)], {"run": {"x": figure}})
        assert not found.held and found.value is None


def test_what_nobody_measured_falls_short_and_the_nearest_is_named() -> None:
    (found,) = check([Condition("win_rat", "at_most", 1.0)], {"run": {"win_rate": Figure(0.5)}})
    assert not found.held and found.run is None
    assert lines(verdict([found])) == [
        "FELL SHORT: win_rat at most 1: nobody measured 'win_rat'; did you mean 'win_rate'?"
    ]
    assert not verdict([])["held"]


def test_a_condition_holds_in_every_run_and_for_every_part() -> None:
    good, bad = Figure(0.7, 0.6, 0.8), Figure(0.5, 0.4, 0.6)
    rates = {"win_rate.judge": good, "win_rate.scorer": bad, "win_rates": bad}
    found = check([Condition("win_rate", "at_least", 0.5)], {"a": rates})
    assert [(f.figure, f.held) for f in found] == [
        ("win_rate.judge", True),
        ("win_rate.scorer", False),
    ]
    condition = Condition("over_refusal", "at_most", 0.65)
    both = {"first": {"over_refusal": bad}, "second": {"over_refusal": good}}
    found = check([condition], both)
    assert [(f.run, f.held) for f in found] == [("first", True), ("second", False)]
    assert verdict(found)["held"] is False
    assert lines(verdict(found))[1] == (
        "FELL SHORT: over_refusal 0.8 (upper end of the interval), at most 0.65 [second]"
    )


def test_the_names_of_an_evaluations_figures() -> None:
    def one(mean: float) -> dict[str, float]:
        return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": 9}

    result = {
        "policies": {"sft": {"score": one(0.1)}, "ppo": {"score": one(0.3)}},
        "changes": {"ppo": {"score": one(0.2)}},
        "win_rates": {
            "ppo": {
                "judge": {**one(0.7), "by_people": 0.6, "by_people_low": 0.5, "by_people_high": 0.8}
            }
        },
    }
    found = of_policy(result, "ppo")
    assert found["win_rate.people"] == Figure(0.6, 0.5, 0.8)
    assert {name: round(figure.value or 0, 6) for name, figure in found.items()} == {
        "score": 0.3, "win_rate.judge": 0.7, "win_rate.people": 0.6, "change.score": 0.2,
    }  # fmt: skip
    assert set(of_policy(result, "sft")) == {"score"}


def test_the_names_of_a_benchmarks_and_a_red_teams_figures() -> None:
    def one(value: float) -> dict[str, float | None]:
        return {"value": value, "low": 0.0, "high": None, "n": 9, "standard_error": None}

    suites = {"gsm8k": {"figures": {"accuracy": one(0.4)}, "notes": []}}
    assert of_suites({"suites": suites}) == {"gsm8k.accuracy": Figure(0.4, 0.0, None)}
    result = {
        "success": {
            "all": {"all": {"at_1": one(0.1), "at_16": one(0.3), "at_4": one(0.2)}},
            "family": {"many_shot": {"at_1": one(0.4)}},
        },
        "over_refusal": {"figures": {"over_refusal": one(0.5)}, "notes": []},
        "regression": {"rows": 3, "split": {"held_out": {"at_1": one(0.6)}}, "family": {}},
    }
    values = {name: figure.value for name, figure in of_red_team(result).items()}
    assert values == {
        "attack_success": 0.3,
        "attack_success.family.many_shot": 0.4,
        "over_refusal": 0.5,
        "regression.split.held_out": 0.6,
    }
    empty = {**result, "over_refusal": None, "regression": None}
    assert set(of_red_team(empty)) == {"attack_success", "attack_success.family.many_shot"}
