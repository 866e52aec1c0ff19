"""accord data assistance: what models' opinions do to a project's votes."""

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from accord.annotation.monitoring import Share
    from accord.store.assistance_report import Oversight, Suggestions


def assistance(arguments: list[str]) -> int:
    """How often people follow a model's suggestion, and which way its critique moves votes."""
    parser = argparse.ArgumentParser(prog="accord data assistance", description=assistance.__doc__)
    parser.add_argument("--database", help="SQLite file or URL (default: ACCORD_DATABASE_URL)")
    parser.add_argument("--project", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="the figures as JSON")
    options = parser.parse_args(arguments)
    from accord.core import files
    from accord.store.assistance_report import assistance_report
    from accord.store.judgements import SqlJudgements
    from accord.store.location import open_database
    from accord.store.revising import SqlRevisions

    database = open_database(options.database)
    try:
        standing = SqlJudgements(database).current(options.project)
        votes = SqlRevisions(database).first_votes(options.project)
    finally:
        database.close()
    report, console = assistance_report(standing, votes, seed=options.seed), Console()
    if report.suggestions is None and report.oversight is None:
        console.print(f"{escape(options.project)}: nobody was shown a suggestion or a critique")
    if report.suggestions is not None:
        _show_suggestions(report.suggestions, console)
    if report.oversight is not None:
        _show_oversight(report.oversight, console)
    if options.output is not None:
        files.write_text(options.output, json.dumps(report.as_json(), indent=1) + "\n")
    return 0


def _show_suggestions(found: "Suggestions", console: Console) -> None:
    table = Table("annotator", "shown", "hidden", title="the same answer as the model's, 95%")
    for person in found.people:
        table.add_row(escape(person.name), _share(person.shown), _share(person.hidden))
    table.add_row("all", _share(found.anchoring.shown), _share(found.anchoring.hidden))
    console.print(table)
    console.print(f"anchoring, shown less hidden: {_interval(found.anchoring.effect)}")
    if found.wrong is not None:
        console.print(
            f"where another answer is known to be right: shown {_share(found.wrong.shown)}, hidden "
            f"{_share(found.wrong.hidden)}; difference {_interval(found.wrong.effect)}"
        )


def _show_oversight(found: "Oversight", console: Console) -> None:
    table = Table("annotator", "changed", "towards", "away", title="votes after a critique, 95%")
    rows = [*((escape(p.name), p.moves) for p in found.people), ("all", found.moves)]
    for name, moves in rows:
        table.add_row(name, *map(_share, moves))
    console.print(table)
    console.print(
        f"agreement with the critique: before {_share(found.agreement_before)}, after "
        f"{_share(found.agreement_after)}, hidden {_share(found.agreement_control)}; "
        f"{found.waiting} first votes wait for the second"
    )
    if found.gold is not None:
        gold = found.gold
        console.print(
            f"where the answer is known: right before {_share(gold.accuracy_before)}, after "
            f"{_share(gold.accuracy_after)}, hidden {_share(found.accuracy_control)}; gain "
            f"{_interval(gold.gain)}\nput right by a right critique {_share(gold.help)}, given up "
            f"for a wrong one {_share(gold.over_trust)}"
        )


def _share(found: "Share") -> str:
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})" if found.total else "–"


def _interval(found: tuple[float, float, float]) -> str:
    value, low, high = found
    return "–" if math.isnan(value) else f"{value:+.2f} ({low:+.2f} to {high:+.2f})"
