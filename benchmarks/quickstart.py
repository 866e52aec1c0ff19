"""The quickstart over several seeds: each figure's mean and standard deviation, as Markdown.

    python benchmarks/quickstart.py --seeds 0 1 2 --output_dir runs/benchmark

A seed that has finished is not run again. Win rates and changes are listed seed by seed with their
95% intervals, since the claim is about each of them.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from accord.commands.showing import FELL_SHORT


def run_seed(directory: Path, seed: int) -> dict[str, Any]:
    """The run's summary.json; the wall time stands beside it, for the run that made it."""
    summary, clock = directory / "summary.json", directory / "wall_s.json"
    if not clock.exists():
        started = time.monotonic()
        command = ["quickstart", "--seed", str(seed), "--output_dir", str(directory), "--quiet"]
        done = subprocess.run([sys.executable, "-m", "accord.cli", *command])
        if done.returncode != FELL_SHORT:  # the figures of such a seed count, too
            done.check_returncode()
        clock.write_text(json.dumps(time.monotonic() - started))
    found: dict[str, Any] = json.loads(summary.read_text())
    return found | {"wall_s": json.loads(clock.read_text())}


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    deviation = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{deviation}"


def figures(summaries: list[dict[str, Any]]) -> list[str]:
    """A row a figure, a column a policy."""
    tables = [summary["headline"]["policies"] for summary in summaries]
    policies = list(tables[0])
    lines = [f"| figure | {' | '.join(policies)} |", "|---" * (len(policies) + 1) + "|"]
    for name in tables[0][policies[0]]:
        cells = [spread([table[policy][name]["mean"] for table in tables]) for policy in policies]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def against_baseline(summaries: list[dict[str, Any]], kind: str) -> list[str]:
    """A row a policy and figure, a column a seed, with intervals."""
    tables = [summary["headline"][kind] for summary in summaries]
    lines = []
    for policy, named in tables[0].items():
        for name in named:
            found = [table[policy][name] for table in tables]
            cells = [f"{f['mean']:.3f} ({f['low']:.3f} to {f['high']:.3f})" for f in found]
            lines.append(f"| {policy}, {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Run what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output_dir", type=Path, default=Path("runs/benchmark"))
    options = parser.parse_args()
    runs = [run_seed(options.output_dir / f"seed-{seed}", seed) for seed in options.seeds]
    seconds = " ".join(f"{run['wall_s']:.0f}" for run in runs)
    print(f"seeds {options.seeds}; wall time in seconds: {seconds}\n")
    print("\n".join(figures(runs)))
    header = " | ".join(f"seed {seed}" for seed in options.seeds)
    for kind in ("changes", "win_rates"):
        title = f"{kind.replace('_', ' ')} against {runs[0]['headline']['baseline']}"
        print(f"\n| {title} | {header} |")
        print("|---" * (len(runs) + 1) + "|")
        print("\n".join(against_baseline(runs, kind)))


if __name__ == "__main__":
    main()
