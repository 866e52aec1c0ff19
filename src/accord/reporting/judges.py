"""A judge's figures: what its places decide, how calibrated it is, what it cost, who was asked."""

from typing import Any

from accord.reporting.run_files import StepFiles
from accord.reporting.tables import finite, percent

_SHARES = {
    "consistency": "Same verdict in both orders",
    "first_share": "Verdicts for what was shown first (50% is no bias)",
    "longer_share": "Verdicts for the longer response, which may be the better one",
}


def judge_table(step: StepFiles) -> list[tuple[str, str]]:
    """Label and text of each figure; of a step that judged nothing, none."""
    opinions = step.outputs.get("opinions") or {}
    if not opinions:
        return []
    rows = [("Judge", str(step.outputs.get("judge")))]
    for name in ("pairs", "rankings", "abstained", "inconsistent"):
        if name in opinions:
            rows.append((name.capitalize(), f"{opinions[name]:,}"))
    for name, label in _SHARES.items():
        share = finite(opinions.get(name))
        if share is not None:
            rows.append((label, percent(share)))
    agreed = step.outputs.get("agreement") or {}
    if agreed.get("pairs"):
        rows.append(("Agreement with people", f"{percent(agreed['share'])} of {agreed['pairs']:,}"))
    return rows + _calibration(step.outputs.get("calibration") or {}) + _people_and_price(step)


def _calibration(found: dict[str, Any]) -> list[tuple[str, str]]:
    if not found:
        return []
    before, after = percent(found["error"]), percent(found["error_calibrated"])
    return [
        ("Calibration error (ECE)", before),
        (f"The same by {found['method']}, on {found['pairs']:,} pairs it had not seen", after),
    ]


def _people_and_price(step: StepFiles) -> list[tuple[str, str]]:
    routed = step.outputs.get("routed") or {}
    rows = [(f"Left to people ({reason})", f"{count:,}") for reason, count in routed.items()]
    spent = step.outputs.get("spent") or {}
    if spent.get("prompt_tokens") or spent.get("completion_tokens"):
        tokens = f"{spent['prompt_tokens']:,} in, {spent['completion_tokens']:,} out"
        price = f"; price {spent['price']:,.2f}" if spent.get("price") else ""
        rows.append(("Tokens", tokens + price))
    return rows
