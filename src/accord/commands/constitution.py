"""accord constitution: looking at one, reading it critically, and drafting one together."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from accord.commands import drafting
from accord.core.assets import resolve_asset
from accord.core.errors import ConfigError, describe_choice

if TYPE_CHECKING:
    from accord.judges.constitution import Constitution
    from accord.judges.constitution_check import Contradiction

OURS = "accord:constitution.toml"
HARMS = "accord:harms.toml"
CHECKED = Path("runs/constitution-check")
"""Where a judge's answers are kept, by the constitution: a second check asks what is missing."""


def constitution(arguments: list[str]) -> int:
    """accord constitution ACTION: one action; accord constitution ACTION --help has its options."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print("usage: accord constitution ACTION [options]\n")
        for name, action in _ACTIONS.items():
            print(f"  {name:<9}{(action.__doc__ or '').splitlines()[0]}")
        return 0
    if arguments[0] not in _ACTIONS:
        known = describe_choice(arguments[0], list(_ACTIONS))
        raise ConfigError(f"accord constitution: no action {known}")
    return _ACTIONS[arguments[0]](arguments[1:])


def show(arguments: list[str]) -> int:
    """A constitution's principles, its version and hash, and how it was decided on."""
    parser = _parser("show", show)
    options = parser.parse_args(arguments)
    ours, console = _read(options.file), Console(highlight=False)
    console.print(
        f"[bold]{escape(ours.label)}[/bold], {ours.form} form, {len(ours.examples)} examples"
    )
    console.print(f"sha256 {ours.sha256}")
    if ours.description:
        console.print(escape(ours.description))
    table = Table("part", Column("id", no_wrap=True), "weight", "compares by", "source")
    for p in sorted(ours.principles, key=lambda p: p.part):
        table.add_row(p.part, p.id, f"{p.weight:g}", escape(p.comparison), escape(p.source))
    console.print(table)
    if ours.decision:
        by = ours.decision
        console.print(
            f"decided in project {escape(by.project)} by {by.rule}, {by.voters} voters, "
            f"{len(by.options)} rules; judgements {by.judgements[:12]}"
        )
    return 0


def check(arguments: list[str]) -> int:
    """Repeats, pairs that contradict each other (by a judge), and harms that nothing covers."""
    parser = _parser("check", check)
    parser.add_argument("--judge", help="a local judge, which flags contradictory pairs")
    parser.add_argument("--judge_url", help="a judge behind an endpoint, such as https://HOST/v1")
    parser.add_argument("--judge_name", help="the model's name at that endpoint")
    parser.add_argument("--judge_key_variable", help="environment variable with its key")
    parser.add_argument(
        "--harms",
        help="categories of harm: a .toml taxonomy (default: the one that ships), or a file of "
        "behaviours with a column category or SemanticCategory, such as HarmBench's",
    )
    parser.add_argument(
        "--near", type=float, default=0.75, help="similarity of a near repeat, 0..1"
    )
    options = parser.parse_args(arguments)
    from accord.judges import constitution_check as checks

    ours, console = _read(options.file), Console(highlight=False)
    console.print(f"[bold]{escape(ours.label)}[/bold]: {len(ours.principles)} principles")
    repeats = checks.repeats(ours, threshold=options.near)
    for found in repeats:
        how = "the same" if found.similarity == 1 else f"nearly the same ({found.similarity:.2f})"
        console.print(f"  repeat: {found.first} and {found.second} have {how} {found.field}")
    contradictions = _contradictions(ours, options, console)
    harms = checks.read_harms(resolve_asset(HARMS))
    if options.harms and options.harms.endswith(".toml"):
        harms = checks.read_harms(options.harms)
    categories = [harm.id for harm in harms]
    if options.harms and not options.harms.endswith(".toml"):
        categories = _categories(options.harms)
    strange = checks.unknown_harms(ours, categories, harms)
    for name, unknown in strange.items():
        console.print(f"  unknown: {name} covers {', '.join(unknown)}, which no taxonomy has")
    covered = checks.coverage(ours, categories, harms)
    missing = [name for name, by in covered.items() if not by]
    for name in missing:
        console.print(f"  uncovered: no principle covers {name}")
    console.print(
        f"{len(repeats)} repeats, {contradictions} contradictions, "
        f"{len(categories) - len(missing)} of {len(categories)} harms covered"
    )
    return 1 if repeats or strange else 0


def _contradictions(
    ours: "Constitution", options: argparse.Namespace, console: Console
) -> "int | str":
    """How many the judge flags, each printed; without a judge the word for that."""
    from accord.core.judge_config import JudgeConfig

    names = ("judge", "judge_url", "judge_name", "judge_key_variable")
    given = {name: getattr(options, name) for name in names if getattr(options, name)}
    config = JudgeConfig.parse(given, where="accord constitution check")
    if not config.has_judge:
        return "no judge asked for"
    from accord.judges.configured import judge_of
    from accord.judges.constitution_check import contradictions
    from accord.training.interrupt import stop_on_signal

    with stop_on_signal() as stop:
        answers = CHECKED / ours.sha256[:8] / "answers.jsonl"
        judge = judge_of(config, answers, max_length=2048, stop=stop)
        assert judge is not None
        found: list[Contradiction] = contradictions(judge.pairs, ours)
    for pair in found:
        console.print(
            f"  contradiction: {pair.first} and {pair.second}, says {escape(judge.name)} with "
            f"p = {pair.probability:.2f}"
        )
    return len(found)


def _categories(path: str) -> list[str]:
    """The distinct categories of a file of behaviours."""
    from accord.suites.rows import read_records

    found: dict[str, None] = {}
    for record in read_records(path):
        row = record.values
        name = row.get("category") or row.get("SemanticCategory")
        if not name:
            raise ConfigError(f"{record.where}: no column category or SemanticCategory")
        found[str(name)] = None
    return list(found)


def _read(file: str) -> "Constitution":
    from accord.judges.constitution import read_constitution

    return read_constitution(resolve_asset(file))


def _parser(action: str, function: Callable[..., int]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"accord constitution {action}", description=function.__doc__, allow_abbrev=False
    )
    parser.add_argument("file", nargs="?", default=OURS, help=f"a TOML file (default: {OURS})")
    return parser


_ACTIONS: dict[str, Callable[[list[str]], int]] = {
    "show": show,
    "check": check,
    "propose": drafting.propose,
    "vote": drafting.vote,
    "draft": drafting.draft,
}
