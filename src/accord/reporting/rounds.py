"""What each round brought: gain, agreement and drift, a column a round."""

from dataclasses import dataclass

from accord.reporting.run_files import Run

_SHOWN = {
    "comparison_count": "comparisons to learn from",
    "agreement": "equal verdicts of two annotators",
    "heldout_accuracy": "reward model, held-out accuracy",
    "heldout_score_before": "held-out reward before",
    "heldout_score_after": "held-out reward after",
    "heldout_kl_nats": "drift in the round, nats a response",
}
_GAIN = "gain"


@dataclass(frozen=True)
class RoundRow:
    """One figure of one step, round by round; None where a round has none (yet)."""

    step: str
    what: str
    values: list[float | None]


def round_rows(run: Run) -> list[RoundRow]:
    """Rows for the report; none in a run without rounds."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for step in run.steps:
        number, _, name = step.name.removeprefix("round-").partition("/")
        if not step.name.startswith("round-") or not number.isdecimal() or not name:
            continue
        figures = {k: v for k, v in step.outputs.items() if k in _SHOWN and _is_figure(v)}
        if {"heldout_score_before", "heldout_score_after"} <= figures.keys():
            figures[_GAIN] = figures["heldout_score_after"] - figures["heldout_score_before"]
        found.setdefault(name, {})[int(number)] = figures
    count = max((n for by_round in found.values() for n in by_round), default=0)
    rows = []
    for name, by_round in found.items():
        for key, what in {**_SHOWN, _GAIN: "gain in held-out reward"}.items():
            values = [by_round.get(n, {}).get(key) for n in range(1, count + 1)]
            if any(value is not None for value in values):
                rows.append(RoundRow(name, what, values))
    return rows


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
