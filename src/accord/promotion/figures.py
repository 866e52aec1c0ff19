"""The figures of a finished run under the names that gates use."""

from collections.abc import Callable, Mapping
from typing import Any

from accord.promotion.gate import Figure

Figures = dict[str, Figure]


def of_policy(result: Mapping[str, Any], policy: str) -> Figures:
    """Of one policy in an evaluation.

    Its own figures by their names (`harmful_refused`, `kl_nats` ...), `win_rate.judge`,
    `win_rate.scorer` and `win_rate.people` against the baseline, and `change.NAME`, the difference
    to the baseline. The baseline itself has neither of these.

    Args:
        result: of the evaluate stage.
    """
    found = {name: _figure(one, "mean") for name, one in result["policies"][policy].items()}
    for by, rate in result["win_rates"].get(policy, {}).items():
        found[f"win_rate.{by}"] = _figure(rate, "mean")
        if "by_people" in rate:
            ends = rate["by_people_low"], rate["by_people_high"]
            found["win_rate.people"] = Figure(rate["by_people"], *ends)
    for name, one in result["changes"].get(policy, {}).items():
        if one is not None:
            found[f"change.{name}"] = _figure(one, "mean")
    return found


def of_suites(result: Mapping[str, Any]) -> Figures:
    """Of a benchmark: `SUITE.FIGURE`."""
    return {
        f"{suite}.{name}": _figure(one, "value")
        for suite, found in result["suites"].items()
        for name, one in found["figures"].items()
    }


def of_red_team(result: Mapping[str, Any]) -> Figures:
    """Of a red team: shares within all attempts.

    `attack_success`, `attack_success.family.NAME` (also attack, category, aim, split),
    `over_refusal` and what else was counted of harmless prompts, and `regression.split.NAME` or
    `regression.family.NAME` of the frozen set.
    """
    found: Figures = {}
    for part, by_name in result["success"].items():
        for name, by_k in by_name.items():
            key = "attack_success" if part == "all" else f"attack_success.{part}.{name}"
            found[key] = _last(by_k)
    for name, one in ((result["over_refusal"] or {}).get("figures") or {}).items():
        found[name] = _figure(one, "value")
    for part in ("split", "family"):
        for name, by_k in (result["regression"] or {}).get(part, {}).items():
            found[f"regression.{part}.{name}"] = _last(by_k)
    return found


OF_ONE_MODEL: dict[str, Callable[[Mapping[str, Any]], Figures]] = {
    "benchmark": of_suites,
    "red_team": of_red_team,
}
"""By stage; `evaluate` measures several."""


def _figure(one: Mapping[str, Any], value: str) -> Figure:
    return Figure(one[value], one.get("low"), one.get("high"))


def _last(by_k: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Within the most attempts."""
    return _figure(by_k[max(by_k, key=lambda at: int(at.removeprefix("at_")))], "value")
