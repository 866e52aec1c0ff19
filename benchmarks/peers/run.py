"""Accord beside its peers: the same work, a fresh process a side and round, A B A B.

    make bench                                     # everything, in its own environments
    python -m benchmarks.peers.run --only sft dpo --rounds 5

Prints Markdown: medians over rounds, ratios, losses, memory, and the share of the machine's limit.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.peers import work

ROOT = Path(__file__).resolve().parents[2]
CASES = ["sft", "reward", "dpo", "kto", "grpo", "rloo", "ppo", "sampling"]


def run_side(python: str, side: str, case: str, precision: str) -> dict[str, Any]:
    """One fresh process; its last line is JSON."""
    environment = {
        **os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "2",
        "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "ACCORD_QUIET": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
    }  # fmt: skip
    command = [python, "-m", f"benchmarks.peers.{side}", case, precision]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def compare(case: str, precision: str, options: argparse.Namespace) -> dict[str, Any]:
    """Both sides of one case, interleaved."""
    peer = options.trl_old if case == "ppo" else options.trl
    sides: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}
    for _ in range(options.rounds):
        sides["ours"].append(run_side(options.accord, "ours", case, precision))
        sides["peer"].append(run_side(peer, "trl_side", case, precision))
        print(f"  {case} {precision}", *(f"{mean(s[-1]['seconds']):.3f}" for s in sides.values()), file=sys.stderr)  # fmt: skip  # noqa: E501
    return {
        "case": case,
        "precision": precision,
        **{
            side: {
                "seconds": median(mean(round_["seconds"]) for round_ in rounds),
                "peak_mb": median(round_["peak_mb"] for round_ in rounds),
                "loss": _mean_of_last(rounds[0]["losses"]),
            }
            for side, rounds in sides.items()
        },
    }


def _mean_of_last(losses: list[float]) -> float | None:
    last = losses[len(losses) // 2 :]
    return mean(last) if last else None


def table(results: list[dict[str, Any]]) -> str:
    """A row a case: seconds a step, the ratio, losses, memory."""
    lines = [
        "| work | precision | ours, s a step | peer, s a step | ratio | ours, rows a second | "
        "loss, ours / peer | memory above the model, ours / peer (MB) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        ours, peer = result["ours"], result["peer"]
        rows = work.BATCH.get(result["case"], work.SAMPLING_BATCH)
        losses = " / ".join("" if s["loss"] is None else f"{s['loss']:.3f}" for s in (ours, peer))
        lines.append(
            f"| {result['case']} | {result['precision']} | {ours['seconds']:.3f} | "
            f"{peer['seconds']:.3f} | {peer['seconds'] / ours['seconds']:.2f} | "
            f"{rows / ours['seconds']:.1f} | {losses} | "
            f"{ours['peak_mb']:.0f} / {peer['peak_mb']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=CASES, choices=CASES)
    parser.add_argument("--precision", nargs="*", default=["float32", "bf16"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--accord", default=sys.executable, help="python that runs our side")
    parser.add_argument("--trl", default=sys.executable, help="python with the newest TRL")
    parser.add_argument("--trl_old", default=sys.executable, help="python with the last TRL's PPO")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    command = [options.accord, "-m", "benchmarks.peers.limits"]
    limits = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)  # fmt: skip  # noqa: E501
    results = [compare(c, p, options) for c in options.only for p in options.precision]
    print(f"{platform.machine()}, {os.cpu_count()} cores, two threads; {options.rounds} rounds\n")
    print("limits: " + ", ".join(f"{name} {value:.0f}" for name, value in limits.items()) + "\n")
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps({"limits": limits, "results": results}, indent=1))


if __name__ == "__main__":
    main()
