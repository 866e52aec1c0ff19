"""accord data values: whose values a project's votes speak."""

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from accord.store.values_report import ValuesReport


def values(arguments: list[str]) -> int:
    """Groups of annotators: what they want, and what each loses under every rule."""
    parser = argparse.ArgumentParser(prog="accord data values", description=values.__doc__)
    parser.add_argument("--database", help="SQLite file or URL (default: ACCORD_DATABASE_URL)")
    parser.add_argument("--project", required=True)
    parser.add_argument("--group_by", required=True, help="what they declared, such as language")
    parser.add_argument("--k", type=int, default=5, help="fewest people of whom a figure is shown")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="the figures as JSON")
    options = parser.parse_args(arguments)
    from accord.core import files
    from accord.store.accounts import SqlAccounts
    from accord.store.judgements import SqlJudgements
    from accord.store.location import open_database
    from accord.store.values_report import values_report

    database = open_database(options.database)
    try:
        declared = {
            account.name: (account.groups or {}).get(options.group_by)
            for account in SqlAccounts(database).all()
        }
        standing = SqlJudgements(database).current(options.project)
    finally:
        database.close()
    report = values_report(standing, declared, k=options.k, seed=options.seed)
    _show(report, Console())
    if options.output is not None:
        files.write_text(options.output, json.dumps(report.as_json(), indent=1) + "\n")
    return 0


def _show(report: "ValuesReport", console: Console) -> None:
    names = [f"{escape(n)} ({p})" for n, p in zip(report.groups, report.people, strict=True)]
    agreement = Table("agreement", *names, title="within (diagonal) and between groups, 95%")
    for row, name in enumerate(names):
        cells = zip(
            report.agreement[row], report.agreement_low[row], report.agreement_high[row],
            strict=True,
        )  # fmt: skip
        agreement.add_row(name, *(f"{_n(v)} ({_n(low)} to {_n(high)})" for v, low, high in cells))
    console.print(agreement)
    found = report.findings
    console.print(
        f"{found.get('agreed', 0)} tasks agreed on, {found.get('noise', 0)} of noise, "
        f"{found.get('plural', 0)} plural; were groups drawn by lot they would differ as much with "
        f"p = {report.p_no_difference:.3f}"
    )
    losses = Table("rule", *names, title=f"what each group loses, mean of {report.prompts} prompts")
    for rule, by_group in report.losses.items():
        losses.add_row(rule, *map(_n, by_group))
    console.print(losses)


def _n(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"
