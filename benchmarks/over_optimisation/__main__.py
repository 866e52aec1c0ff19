"""How far a learned reward can be trusted: reward and gold against sqrt(KL).

    ACCORD_DATA=DIR python -m benchmarks.over_optimisation recorded [--write docs]
    python -m benchmarks.over_optimisation quickstart --runs RUN... --output DIR [--write docs]

`recorded` chooses among recorded responses (seconds). `quickstart` takes finished runs of the
quickstart (its seed in each `sft/config.toml`): curves of three proxies on the first, the brake on
all. What was done before it was stopped is not done again.
"""

import argparse
import os
import tomllib
from pathlib import Path

from benchmarks.over_optimisation import drawing, quickstart, recorded
from benchmarks.over_optimisation.runs import Quickstart, Settings
from benchmarks.planted_hacking import write_between

PAGE = "over-optimisation.md"


def from_recorded(options: argparse.Namespace) -> None:
    """Print the table of recorded responses, and write it with its plot."""
    text, paths, curves = recorded.measure(Path(os.environ["ACCORD_DATA"]), options.seed)
    print(text)
    if options.write:
        recorded.plot(paths, curves, options.write / "over-optimisation-recorded.svg")
        write_between(options.write / PAGE, "recorded", text)


def from_quickstart(options: argparse.Namespace, settings: Settings) -> None:
    """Train what is missing, print both tables, and write them with their plot."""
    runs = [Quickstart(path, _seed(path)) for path in options.runs]
    folders = [quickstart.settle(options.output, settings, run) for run in runs]
    found = [quickstart.run_brake(*pair, settings) for pair in zip(runs, folders, strict=True)]
    braked = [outcome for outcome, _ in found]
    outcomes = drawing.brake_table(braked)
    print(outcomes, flush=True)
    tracks, agreement = quickstart.run_curves(runs[0], folders[0], settings, found[0][1])
    curves = drawing.curves_table(tracks)
    said = f"The two gold scorers rank {agreement:.0%} of the pool's pairs alike."
    print(f"{curves}\n\n{said}")
    if options.write:
        drawing.plot(tracks, braked[0], options.write / "over-optimisation.svg")
        write_between(options.write / PAGE, "curves", f"{curves}\n\n{said}")
        write_between(options.write / PAGE, "brake", outcomes)


def _seed(run: Path) -> int:
    """The seed that a run of the quickstart was made with."""
    return int(tomllib.loads((run / "sft/config.toml").read_text("utf-8"))["seed"])


def main(arguments: list[str] | None = None, *, settings: Settings | None = None) -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["recorded", "quickstart"])
    parser.add_argument("--seed", type=int, default=0, help="recorded: of the split")
    parser.add_argument("--runs", type=Path, nargs="+", help="quickstart: finished runs")
    parser.add_argument("--output", type=Path, help="quickstart: folder of what is trained")
    parser.add_argument("--write", type=Path, help=f"folder of {PAGE}")
    options = parser.parse_args(arguments)
    if options.what == "recorded":
        from_recorded(options)
    elif options.runs and options.output:
        from_quickstart(options, settings or Settings())
    else:
        parser.error("quickstart needs --runs and --output")


if __name__ == "__main__":
    main()
