"""What commands print of results: a table, the headline of a run, and what a gate found."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from accord.promotion.gate import lines

if TYPE_CHECKING:
    from accord.pipeline import Outcome

FELL_SHORT = 3
"""Exit status where everything ran, and a model did not keep its gate's conditions."""


def print_gates(console: Console, outcomes: "Mapping[str, Outcome]") -> int:
    """A line a condition of every step that has a gate; returns the exit status.

    Args:
        outcomes: of steps, by name.
    """
    gates = {name: gate for name, one in outcomes.items() if (gate := one.result.get("gate"))}
    for name, gate in gates.items():
        console.print(f"[bold]gate of {escape(name)}[/bold]")
        for line in lines(gate):
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
        if "deployed" in outcomes[name].result:
            text = _deployment(outcomes[name])
            console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)
    return 0 if all(gate["held"] for gate in gates.values()) else FELL_SHORT


def _deployment(outcome: "Outcome") -> str:
    result = outcome.result
    model, alias = result["sha256"][:12], result["alias"]
    if not result["deployed"]:
        return f"refused {model}; alias {alias!r} is as it was"
    file = os.path.normpath(outcome.path / result["aliases"])
    return f"deployed {model} as alias {alias!r}: accord serve --aliases {file}"


def brief(result: dict[str, Any]) -> str:
    """The first three numbers."""
    numbers = {k: v for k, v in result.items() if isinstance(v, float)}
    return "  ".join(f"{k} {v:.3g}" for k, v in list(numbers.items())[:3])


def as_table(result: dict[str, Any]) -> Table:
    """A line a field."""
    table = Table(show_header=False, box=None)
    for key, value in result.items():
        table.add_row(key, f"{value:.4g}" if isinstance(value, float) else str(value)[:120])
    return table


def print_headline(console: Console, summary: dict[str, Any]) -> None:
    """The evaluation's main figures, a column a policy."""
    headline = summary.get("headline")
    if not headline:
        return
    policies = headline["policies"]
    table = Table(title="What changed, on held-out prompts", title_justify="left")
    table.add_column("")
    for name in policies:
        table.add_column(name, justify="right")
    for key in dict.fromkeys(key for figures in policies.values() for key in figures):
        table.add_row(key, *(_cell(figures.get(key)) for figures in policies.values()))
    for key in dict.fromkeys(key for found in headline["changes"].values() for key in found):
        cells = [headline["changes"].get(name, {}).get(key) for name in policies]
        table.add_row(f"{key}, change from {headline['baseline']}", *map(_cell, cells))
    for by in ("scorer", "judge"):
        cells = [headline["win_rates"].get(name, {}).get(by) for name in policies]
        if any(cells):
            table.add_row(f"win rate, by the {by}", *map(_cell, cells))
    console.print(table)


def _cell(figure: dict[str, float] | None) -> str:
    return "" if figure is None else f"{figure['mean']:.3f}"
