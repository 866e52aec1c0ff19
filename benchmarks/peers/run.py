"""Accord beside its peers: the same work, a fresh process a side and round, A B A B.

    make bench                                       # everything, in its own environments
    python -m benchmarks.peers.run --only sft dpo    # some works; the figures of others are kept
    python -m benchmarks.peers.run --quick           # minutes: does everything run? (no figures)
    python -m benchmarks.peers.run --figures F.json  # elsewhere: the tables go to the output

Figures are kept by work in `benchmarks/peers.json`, from which the section of `benchmarks/results.md`
between its two marks and the plot `benchmarks/memory.svg` are written anew.
"""  # noqa: E501

import argparse
import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.peers import floors, report, work

SIDES = {"ours": "ours", "trl": "trl_side", "generate": "trl_side", "vllm": "vllm_side"}
FIGURES = work.ROOT / "benchmarks/peers.json"
QUICK = work.ROOT / "build/bench/quick"


def plan(case: str, *, has_vllm: bool) -> list[tuple[str, str]]:
    """(side, configuration) in the order of a round, ours beside what it is compared with."""
    kind = work.method(case)
    pairs = [("ours", "float32"), ("trl", "float32"), ("ours", "bf16"), ("trl", "bf16")]
    if kind == "sampling":
        runs = [(s, "bf16") for s in ("ours", "generate", "vllm")[: 2 + has_vllm]]
        return runs if case != kind else [(s, "float32") for s, _ in runs] + runs
    pairs.append(("trl", "bf16-weights"))
    return pairs + [("ours", f"{p}-shared") for p in ("float32", "bf16") if kind == "ppo"]


def call(python: str, module: str, *arguments: str, seed: int = 0) -> dict[str, Any]:
    """One fresh process; its last line is JSON."""
    environment = {
        **os.environ, "PYTHONPATH": f"{work.ROOT / 'src'}:{work.ROOT}", "OMP_NUM_THREADS": "2",
        "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "ACCORD_QUIET": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1", "ACCORD_BENCH_SEED": str(seed),
    }  # fmt: skip
    command = [python, "-m", f"benchmarks.peers.{module}", *arguments]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=work.ROOT, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def python_of(side: str, case: str, options: argparse.Namespace) -> str:
    """The interpreter whose environment has a side."""
    if side == "trl" and case == "ppo":
        return str(options.trl_old)
    return str({"ours": options.accord, "vllm": options.vllm}.get(side, options.trl))


def compare(case: str, options: argparse.Namespace) -> dict[str, Any]:
    """All sides of one work, interleaved, and the machine's limits before the first."""
    limits = call(options.accord, "limits")
    runs = plan(case, has_vllm=options.vllm is not None)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {run: [] for run in runs}
    for round_ in range(options.rounds):
        for (side, configuration), results in found.items():
            python = python_of(side, case, options)
            arguments = [SIDES[side], case, configuration]
            results.append(call(python, *arguments, seed=round_ if is_seeded(case) else 0))
            seconds = mean(results[-1]["seconds"])
            print(f"  {case} {round_} {side} {configuration} {seconds:.3f}", file=sys.stderr)
    ours = {c: rounds for (side, c), rounds in found.items() if side == "ours"}
    return {
        **circumstances(),
        "rounds": options.rounds,
        "limits": limits,
        "rows": work.BATCH[case],
        "tokens": mean(tokens(t) for r in next(iter(ours.values())) for t in r["trees"]),
        "floors": {c: floor_of(case, c, rounds, limits) for c, rounds in ours.items()},
        "runs": {f"{side} {c}": summary(rounds) for (side, c), rounds in found.items()},
    }


def is_seeded(case: str) -> bool:
    """What samples while it learns gets another seed every round."""
    return case in work.ONLINE


def tokens(trees: list[Any]) -> int:
    """Real tokens of a step, as a peer has to read them: every response with its own prompt."""
    return sum(len(responses) * prompt + sum(responses) for prompt, responses in trees)


def floor_of(
    case: str, configuration: str, rounds: list[dict[str, Any]], limits: dict[str, float]
) -> float:
    """Mean seconds of the written floor over the steps that were timed."""
    config = json.loads((Path(work.model(case)) / "config.json").read_text())
    shape = floors.Shape.of(config)
    machine = floors.Machine.of(limits, configuration.split("-")[0])
    return mean(
        floors.floor(
            work.method(case), shape, trees, machine,
            epochs=work.PPO_EPOCHS, shared=configuration.endswith("-shared"),
        )
        for round_ in rounds
        for trees in round_["trees"]
    )  # fmt: skip


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over rounds; loss and reward are those of the later half of a run's steps.

    `losses` are the first round's, of every step.
    """
    seconds = [mean(r["seconds"]) for r in rounds]

    def late(name: str) -> float | None:
        halves = [r[name][len(r[name]) // 2 :] for r in rounds]
        return mean(mean(half) for half in halves) if all(halves) else None

    return {
        "seconds": median(seconds),
        "fastest": min(seconds),
        "slowest": max(seconds),
        "peak_mb": median(r["peak_mb"] for r in rounds),
        "loss": late("losses"),
        "losses": rounds[0]["losses"],
        "reward": late("rewards"),
    }


def circumstances() -> dict[str, Any]:
    """When, of what, on what."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=work.ROOT
    )
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit.stdout.strip() or "unknown",
        "machine": f"{processor()}, {len(os.sched_getaffinity(0))} cores{gpu()}",
    }


def processor() -> str:
    """As Linux names it, for half of what is measured depends on its maker."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def gpu() -> str:
    """The first GPU's name, where there is one: all sides then run on it."""
    with contextlib.suppress(OSError):
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        names = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return "".join(f", {name}" for name in names.splitlines()[:1])
    return ""


def measure_memory(options: argparse.Namespace) -> dict[str, Any]:
    """Every point of the curves on both sides, once: a peak varies by less than its curve."""
    from benchmarks.peers import memory

    found = []
    wanted = memory.points()
    for curve, vocabulary, rows, length in wanted[:1] if work.IS_QUICK else wanted:
        for kind in ("step", "head"):
            point = {"curve": curve, "kind": kind, "vocabulary": vocabulary}
            point |= {"tokens": rows * length, "length": length}
            point["of_weights_mb"] = memory.of_weights_mb(kind, vocabulary)
            for side, python in (("ours", options.accord), ("trl", options.trl)):
                size = (str(vocabulary), str(rows), str(length))
                point[side] = call(python, "memory", side, kind, *size)["peak_mb"]
            print("  memory", *point.values(), file=sys.stderr)
            found.append(point)
    return {**circumstances(), "points": found}


def main(arguments: list[str] | None = None) -> None:
    """Parse, measure, merge, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*work.WORKS, "memory"]
    parser.add_argument("--only", nargs="*", default=names, choices=names, metavar="WORK")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a sanity run in build/bench/quick")
    parser.add_argument("--accord", default=sys.executable, help="python that runs our side")
    parser.add_argument("--trl", default=sys.executable, help="python with the newest TRL")
    parser.add_argument("--trl_old", default=sys.executable, help="python with the last TRL's PPO")
    parser.add_argument("--vllm", help="python with vLLM; without, sampling is beside generate")
    parser.add_argument("--figures", type=Path, help="keep them there, print the tables")
    parser.add_argument("--write", action="store_true", help="measure nothing, write the tables")
    options = parser.parse_args(arguments)
    if options.quick and not work.IS_QUICK:  # the sides read it, too, and it is read at import
        os.environ["ACCORD_BENCH_QUICK"] = "1"
        again = [*sys.argv[1:], "--rounds", "1"]
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.peers.run", *again])
    figures = options.figures or (QUICK / "peers.json" if options.quick else FIGURES)
    figures.parent.mkdir(parents=True, exist_ok=True)
    if not options.write:
        subprocess.run([options.accord, "-m", "benchmarks.peers.models"], check=True, cwd=work.ROOT)
    failed = []
    for case in [] if options.write else options.only:
        try:
            found = measure_memory(options) if case == "memory" else compare(case, options)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            failed.append(case)
            continue
        report.merge(figures, case, found)  # at once: a later failure loses nothing
    found = json.loads(figures.read_text()) if figures.exists() else {}
    if options.quick or options.figures:
        print(report.section(found))
    elif found:
        report.write(found, work.ROOT / "benchmarks")
    if failed:
        raise SystemExit(f"these works failed, their older figures stay: {' '.join(failed)}")


if __name__ == "__main__":
    main()
