"""How far a learned reward can be trusted: reward and gold against sqrt(KL).

    ACCORD_DATA=DIR python -m benchmarks.over_optimisation recorded [--write docs]
    python -m benchmarks.over_optimisation quickstart --seeds 1 2 0 --output DIR [--write docs]

`recorded` chooses among recorded responses (seconds). `quickstart` runs the quickstart with every
seed, or takes finished `--runs` of it: curves of three proxies on the first, the brake on all.
What was done before it was stopped is not done again.
"""

import argparse
import os
import tomllib
from pathlib import Path

from benchmarks.over_optimisation import drawing, quickstart, recorded
from benchmarks.over_optimisation.runs import Quickstart, Settings
from benchmarks.planted_hacking import write_between

from accord.cli import main as accord
from accord.commands.showing import FELL_SHORT

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
    paths = options.runs or [finished(options.output, seed) for seed in options.seeds]
    runs = [Quickstart(path, _seed(path)) for path in paths]
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


def finished(output: Path, seed: int) -> Path:
    """A run of the quickstart with this seed; what it has done is skipped."""
    path = output / f"quickstart-{seed}"
    status = accord(["quickstart", "--seed", str(seed), "--output_dir", str(path), "--quiet"])
    if status not in (0, FELL_SHORT):
        raise SystemExit(f"{path}: the quickstart failed")
    return path


def _seed(run: Path) -> int:
    """The seed that a run of the quickstart was made with."""
    return int(tomllib.loads((run / "sft/config.toml").read_text("utf-8"))["seed"])


def main(arguments: list[str] | None = None, *, settings: Settings | None = None) -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["recorded", "quickstart"])
    parser.add_argument("--seed", type=int, default=0, help="recorded: of the split")
    parser.add_argument("--seeds", type=int, nargs="+", help="quickstart: runs to make")
    parser.add_argument("--runs", type=Path, nargs="+", help="quickstart: finished runs instead")
    parser.add_argument("--output", type=Path, help="quickstart: folder of what is trained")
    parser.add_argument("--write", type=Path, help=f"folder of {PAGE}")
    options = parser.parse_args(arguments)
    if options.what == "recorded":
        from_recorded(options)
    elif (options.runs or options.seeds) and options.output:
        from_quickstart(options, settings or Settings())
    else:
        parser.error("quickstart needs --seeds (or --runs) and --output")


if __name__ == "__main__":
    main()
