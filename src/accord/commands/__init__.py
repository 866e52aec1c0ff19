"""What the command line does, a function a command: parse flags, call the library, print."""

import argparse
import itertools
import json
import os
import time
import tomllib
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from accord.commands.constitution import constitution
from accord.commands.data import data
from accord.commands.deploying import undo_deployment
from accord.commands.label import label
from accord.commands.lineage import lineage
from accord.commands.serving import engine
from accord.commands.showing import as_table, brief, print_gates, print_headline
from accord.core.assets import ASSETS
from accord.core.config import StageConfig, read_config_file
from accord.core.errors import ConfigError

__all__ = [
    "constitution",
    "data",
    "deploy",
    "engine",
    "evaluate",
    "label",
    "lineage",
    "quickstart",
    "redteam",
    "report",
    "run",
    "run_stage",
]

_COMMON = """options of every stage:
  --output_dir DIR   the run directory (needed)
  --config FILE      TOML or YAML with the fields above; flags override it
  --force            redo a finished stage; the old run is moved aside
  --quiet            no progress bar
  --json             print the result as JSON
  --push_to_hub REPO upload model/ to USER/NAME on the Hugging Face hub when the stage is done
  --hub_private      make a new repository there private"""


def _common_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--output_dir", "--output-dir", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--push_to_hub", "--push-to-hub", metavar="REPO")
    parser.add_argument("--hub_private", "--hub-private", action="store_true")
    return parser


def run_stage(stage: str, arguments: list[str]) -> int:
    """accord STAGE: one stage in one run directory."""
    from accord.wiring import stage_config

    options, rest = _common_parser().parse_known_args(arguments)
    cls = stage_config(stage)
    values = read_config_file(options.config) if options.config else {}
    config = _flags_over(cls, values, rest, stage=stage, where=str(options.config or "flags"))
    if options.output_dir is None:
        raise ConfigError(f"accord {stage}: give --output_dir, the folder for this run")
    _set_quiet(options.quiet or options.json)
    from accord.pipeline import execute
    from accord.publishing.hub import check_push, push_model

    if options.push_to_hub:
        check_push(stage, options.push_to_hub)
    outcome = execute(stage, config, options.output_dir, force=options.force)
    console = Console(quiet=options.json)
    state = "unchanged, skipped" if outcome.was_skipped else f"done in {outcome.wall_s:.0f} s"
    console.print(f"{stage} {state}: {outcome.path}")
    console.print(as_table({k: v for k, v in outcome.result.items() if k != "gate"}))
    status = print_gates(console, {stage: outcome})
    if options.json:
        print(json.dumps(outcome.result))
    if options.push_to_hub:
        address = push_model(outcome.path, options.push_to_hub, private=options.hub_private)
        console.print(f"pushed to {address}")
    return status


def _flags_over(
    cls: type[StageConfig], values: dict[str, Any], flags: list[str], *, stage: str, where: str
) -> StageConfig:
    """The config class as flags (by tyro), whose defaults are the file's values."""
    unknown = [key for key in values if key not in cls.model_fields]
    if unknown:
        cls.parse(values, where=where)  # raises, and names the nearest key
    values = cls.with_lists(values)
    defaults = {
        name: values.get(
            name,
            tyro.MISSING if f.is_required() else f.get_default(call_default_factory=True),
        )
        for name, f in cls.model_fields.items()
    }
    parsed = tyro.cli(
        cls,
        prog=f"accord {stage}",
        description=f"{cls.__doc__}\n\n{_COMMON}",
        args=_with_truths(cls, flags),
        default=cls.model_construct(**defaults),
        config=(tyro.conf.FlagConversionOff,),
        use_underscores=True,
    )
    # What was not given stays so: a default may depend on the rest.
    named = {f.removeprefix("--").partition("=")[0].replace("-", "_") for f in flags}
    given = {n: v for n, v in parsed.model_dump().items() if n in named or n in values}
    return cls.parse(given, where=f"accord {stage}")


def _with_truths(cls: type[StageConfig], flags: list[str]) -> list[str]:
    """`--bf16`, `--bf16 true` and `--bf16 True` are the same."""
    found: list[str] = []
    for flag, following in itertools.zip_longest(flags, flags[1:], fillvalue="--"):
        before = found[-1].removeprefix("--").replace("-", "_") if found else ""
        is_value = before in cls.model_fields and cls.model_fields[before].annotation is bool
        found.append(flag.capitalize() if is_value else flag)
        name = flag.removeprefix("--").replace("-", "_")
        is_switch = name in cls.model_fields and cls.model_fields[name].annotation is bool
        if flag.startswith("--") and is_switch and following.startswith("--"):
            found.append("True")
    return found


def evaluate(arguments: list[str]) -> int:
    """accord evaluate MODEL --suite ...: benchmarks; without MODEL, policies side by side."""
    if not arguments or arguments[0].startswith("-"):
        return run_stage("evaluate", arguments)
    return run_stage("benchmark", ["--model_name_or_path", *arguments])


def deploy(arguments: list[str]) -> int:
    """accord deploy: a policy behind an alias, if it keeps its gate; --rollback undoes the last."""
    if "--rollback" in arguments:
        return undo_deployment(arguments)
    return run_stage("deploy", arguments)


def redteam(arguments: list[str]) -> int:
    """accord redteam MODEL ...: attacks, and their page; an endpoint is named by --url."""
    is_model = bool(arguments) and not arguments[0].startswith("-")
    flags = ["--model_name_or_path", *arguments] if is_model else arguments
    run_stage("red_team", flags)
    options = _common_parser().parse_known_args(flags)[0]
    from accord.reporting.red_team_page import write_red_team_page

    Console(quiet=options.json).print(f"Report: {write_red_team_page(options.output_dir)}")
    return 0


def run(arguments: list[str]) -> int:
    """accord run: a whole pipeline."""
    parser = argparse.ArgumentParser(prog="accord run", description=run.__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the run's TOML or YAML file")
    _add_run_options(parser)
    options = parser.parse_args(arguments)
    return _run_config(options.config, options)


def quickstart(arguments: list[str]) -> int:
    """accord quickstart: the whole loop on what ships inside the package, offline."""
    parser = argparse.ArgumentParser(prog="accord quickstart", description=quickstart.__doc__)
    _add_run_options(parser)
    return _run_config(ASSETS / "quickstart.toml", parser.parse_args(arguments))


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output_dir", "--output-dir", type=Path, help="the run directory (default: runs/NAME)"
    )
    parser.add_argument("--seed", type=int, help="seed of every step that sets none itself")
    parser.add_argument("--rounds", type=int, help="run the steps with each_round = true so often")
    parser.add_argument(
        "--input", action="append", default=[], metavar="NAME=VALUE", help="replace a named input"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="STEP.FIELD=VALUE", help="set a step's field"
    )
    parser.add_argument(
        "--force", action="append", default=[], metavar="STEP", help="redo a step (repeatable)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.add_argument("--json", action="store_true", help="print summary.json when done")


def _run_config(path: Path, options: argparse.Namespace) -> int:
    from accord.pipeline import run_pipeline
    from accord.run_config import read_run_config

    settings = {key: _literal(value) for key, value in map(_assignment, options.set)}
    config = read_run_config(path, inputs=dict(map(_assignment, options.input)), settings=settings)
    given = {"seed": options.seed, "rounds": options.rounds}
    config = config.model_copy(update={k: v for k, v in given.items() if v is not None})
    directory = options.output_dir or Path("runs") / config.name
    _set_quiet(options.quiet or options.json)
    console = Console(quiet=options.json)
    console.print(f"[bold]{config.name}[/bold], seed {config.seed}, in {directory}")
    started = time.monotonic()

    def announce(step: Any, position: int, count: int, outcome: Any) -> None:
        if outcome is None:
            console.print(f"[{position}/{count}] {step.name} ({step.stage})", highlight=False)
        elif outcome.was_skipped:
            console.print("      unchanged, skipped", style="dim")
        else:
            console.print(f"      {outcome.wall_s:.0f} s  {brief(outcome.result)}", style="dim")

    found = run_pipeline(config, directory, where=str(path), force=options.force, announce=announce)
    from accord.reporting.report import write_report

    report_path = write_report(directory)
    if options.json:
        print((directory / "summary.json").read_text())
    else:
        print_headline(console, json.loads((directory / "summary.json").read_text()))
    status = print_gates(console, found)
    console.print(f"\nDone in {time.monotonic() - started:.0f} s.")
    console.print(f"Report:   {report_path}")
    console.print(f"Summary:  {directory / 'summary.json'}")
    console.print("Next:     open the report; then change one thing, such as a weaker pull to the")
    console.print("          reference: the same command with --set ppo.kl_coef=0.01, or read")
    console.print("          README.md, 'Your own data' and 'Real preferences'.")
    return status


def _assignment(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise ConfigError(f"expected NAME=VALUE, got {text!r}")
    return name, value


def _literal(text: str) -> Any:
    """A flag's text as a TOML value; text that is none is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def report(arguments: list[str]) -> int:
    """accord report: make a run's page again; of benchmarks, one page for several runs."""
    parser = argparse.ArgumentParser(prog="accord report", description=report.__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a run's directory")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks.html"), help="of several runs"
    )
    options = parser.parse_args(arguments)
    from accord.reporting.comparison import is_benchmark, write_comparison
    from accord.reporting.red_team_page import is_red_team, write_red_team_page
    from accord.reporting.report import write_report

    if len(options.runs) == 1 and is_red_team(options.runs[0]):
        print(write_red_team_page(options.runs[0]))
    elif len(options.runs) == 1 and not is_benchmark(options.runs[0]):
        print(write_report(options.runs[0]))
    else:
        print(write_comparison(options.runs, options.output))
    return 0


def _set_quiet(is_quiet: bool) -> None:
    if is_quiet:
        os.environ["ACCORD_QUIET"] = "1"
