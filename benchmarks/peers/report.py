"""Figures kept by work, and the tables and the plot made of them."""

import json
from pathlib import Path
from typing import Any

from benchmarks.peers import work

BEGIN = "<!-- peers: written by benchmarks.peers.run -->"
END = "<!-- peers: end -->"
LOSS_TOLERANCE = 0.02
"""A configuration reaches a loss that it exceeds by no more than this share of it."""
REWARD_TOLERANCE = 0.02
"""A configuration reaches a reward that it misses by no more than this (the reward is a share)."""
GOALS = {
    **dict.fromkeys(("sft", "reward", "dpo", "kto"), (1.5, 2.5)),
    **dict.fromkeys(("grpo", "rloo"), (None, 3.0)),
    "ppo": (None, 5.0),
}
"""Ratios wanted at equal precision and fastest against fastest; sampling has its own, by peer."""
SAMPLING_GOALS = {"generate": 3.0, "vllm": 1.5}
LARGE_SAMPLING_GOALS = {"generate": 1.5, "vllm": 1.0}

Figures = dict[str, Any]


def merge(path: Path, case: str, found: Figures) -> None:
    """Put one work's figures in the place of its older ones; the other works' stay."""
    every = json.loads(path.read_text()) if path.exists() else {}
    every[case] = found
    order = [*work.WORKS, "memory"]
    kept = {name: every[name] for name in sorted(every, key=order.index)}
    path.write_text(json.dumps(kept, indent=1) + "\n")


def goal(case: str, peer: str, *, fastest: bool) -> float | None:
    """The ratio that a work is to reach."""
    if case == "sampling":
        return SAMPLING_GOALS[peer]
    if case == "sampling-100m":
        return LARGE_SAMPLING_GOALS[peer]
    return GOALS[work.method(case)][fastest]


def peers_of(runs: Figures) -> list[str]:
    """The other sides, in their order."""
    return list(dict.fromkeys(name.split()[0] for name in runs if not name.startswith("ours")))


def reaches(run: Figures, target: Figures) -> bool:
    """Whether a run's loss (reward, where it samples) is as good as another's; true of sampling."""
    if target["reward"] is not None:
        return bool(run["reward"] >= target["reward"] - REWARD_TOLERANCE)
    if target["loss"] is not None:
        return bool(run["loss"] <= target["loss"] + LOSS_TOLERANCE * abs(target["loss"]))
    return True


def fastest_of(runs: Figures, side: str, target: Figures) -> str | None:
    """The name of a side's fastest run that reaches the target."""
    fit = [name for name in runs if name.split()[0] == side and reaches(runs[name], target)]
    return min(fit, key=lambda name: float(runs[name]["seconds"]), default=None)


def target_of(runs: Figures, peer: str) -> Figures:
    """The peer's float32 run, or its only precision."""
    found: Figures = runs.get(f"{peer} float32") or runs[f"{peer} bf16"]
    return found


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _learned(run: Figures) -> str:
    return _number(run["loss"] if run["reward"] is None else run["reward"])


def _goal(value: float | None, reached: float) -> str:
    return "" if value is None else f"{value:g}: {'yes' if reached >= value else 'no'}"


def equal_rows(case: str, entry: Figures) -> list[str]:
    """A row a precision and peer: equal precision and architecture."""
    runs, rows = entry["runs"], []
    for peer in peers_of(runs):
        for precision in ("float32", "bf16"):
            ours, theirs = runs.get(f"ours {precision}"), runs.get(f"{peer} {precision}")
            if ours is None or theirs is None:
                continue
            ratio, floor = theirs["seconds"] / ours["seconds"], entry["floors"][precision]
            count, speed = entry["tokens"], 1 / ours["seconds"]
            if work.method(case) == "sampling":
                count = entry["rows"] * work.NEW_TOKENS
            memory = f"{ours['peak_mb']:.0f} / {theirs['peak_mb']:.0f}"
            share = f"{ours['peak_mb'] / theirs['peak_mb']:.2f}" if theirs["peak_mb"] else ""
            learned = f"{_learned(ours)} / {_learned(theirs)}" if _learned(ours) else ""
            wanted = _goal(goal(case, peer, fastest=False), ratio)
            rows.append(
                f"| {case} | {precision} | {peer} | {ours['seconds']:.3f} | "
                f"{theirs['seconds']:.3f} | {ratio:.2f} | {wanted} | {count * speed:.0f} | "
                f"{entry['rows'] * speed:.1f} | {floor:.3f} | "
                f"{floor / ours['seconds']:.0%} / {floor / theirs['seconds']:.0%} | {learned} | "
                f"{memory} | {'' if peer == 'vllm' else share} |"
            )
    return rows


def loss_rows(case: str, entry: Figures) -> list[str]:
    """A row a precision and peer, of works that do not sample: their losses, step by step."""
    runs, rows = entry["runs"], []
    for peer in peers_of(runs) if case not in work.ONLINE else ():
        for precision in ("float32", "bf16"):
            sides = (runs.get(f"{side} {precision}", {}) for side in ("ours", peer))
            ours, theirs = (run.get("losses") for run in sides)
            if ours and theirs:
                gap = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))
                rows.append(f"| {case} | {precision} | {peer} | {len(ours)} | {gap:.1e} |")
    return rows


def fastest_rows(case: str, entry: Figures) -> list[str]:
    """A row a peer: each side's fastest configuration that reaches the same loss or reward."""
    runs, rows = entry["runs"], []
    for peer in peers_of(runs):
        target = target_of(runs, peer)
        names = [fastest_of(runs, side, target) for side in ("ours", peer)]
        if names[0] is None or names[1] is None:
            rows.append(
                f"| {case} | {peer} | none of ours reaches {_learned(target)} | | | | | | |"
            )
            continue
        ours, theirs = runs[names[0]], runs[names[1]]
        ratio = theirs["seconds"] / ours["seconds"]
        configurations = " | ".join(name.split()[1] for name in names if name)
        learned = f"{_learned(ours)} / {_learned(theirs)}" if _learned(ours) else ""
        share = entry["floors"][str(names[0]).split()[1]] / ours["seconds"]
        rows.append(
            f"| {case} | {peer} | {configurations} | {ours['seconds']:.3f} | "
            f"{theirs['seconds']:.3f} | {ratio:.2f} | "
            f"{_goal(goal(case, peer, fastest=True), ratio)} | {share:.0%} | {learned} |"
        )
    return rows


def run_rows(case: str, entry: Figures) -> list[str]:
    """A row a configuration of each side, with the spread over rounds."""
    return [
        f"| {case} | {name.replace(' ', ' | ')} | {run['seconds']:.3f} "
        f"({run['fastest']:.3f} to {run['slowest']:.3f}) | {_number(run['loss'])} | "
        f"{_number(run['reward'])} | {run['peak_mb']:.0f} |"
        for name, run in entry["runs"].items()
    ]


def memory_rows(points: list[Figures]) -> list[str]:
    """A row a point."""
    return [
        f"| {p['curve']} | {p['kind']} | {p['vocabulary']} | {p['tokens']} | {p['length']} | "
        f"{p['ours']:.0f} / {p['trl']:.0f} | {p['of_weights_mb']:.0f} | "
        f"{p['ours'] - p['of_weights_mb']:.0f} / {p['trl'] - p['of_weights_mb']:.0f} |"
        for p in points
    ]


def _ruled(*headings: str) -> list[str]:
    return [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]


def section(figures: Figures) -> str:
    """The tables as Markdown."""
    works = {name: entry for name, entry in figures.items() if name != "memory"}
    lines = ["Equal precision and architecture:", ""]
    lines += _ruled(
        "work", "precision", "peer", "ours, s a step", "peer, s a step", "ratio", "goal",
        "ours, tokens/s", "ours, rows/s", "floor, s", "floor's share, ours / peer",
        "loss or reward, ours / peer", "MB above the model, ours / peer", "share",
    )  # fmt: skip
    lines += [row for name, entry in works.items() for row in equal_rows(name, entry)]
    lines += [
        "",
        "Fastest against fastest: each side's fastest configuration whose late loss is at most "
        f"{LOSS_TOLERANCE:.0%} above the peer's in float32, or whose late reward is at most "
        f"{REWARD_TOLERANCE} below it:",
        "",
    ]
    lines += _ruled(
        "work", "peer", "ours", "peer's", "ours, s a step", "peer, s a step", "ratio", "goal",
        "floor's share", "loss or reward, ours / peer",
    )  # fmt: skip
    lines += [row for name, entry in works.items() for row in fastest_rows(name, entry)]
    lines += ["", "The same losses: the largest relative difference of any step's loss:", ""]
    lines += _ruled("work", "precision", "peer", "steps", "largest difference")
    lines += [row for name, entry in works.items() for row in loss_rows(name, entry)]
    lines += ["", "Every configuration (a loss of an online method is not comparable):", ""]
    lines += _ruled(
        "work", "side", "configuration", "s a step (fastest to slowest round)", "loss", "reward",
        "MB above the model",
    )  # fmt: skip
    lines += [row for name, entry in works.items() for row in run_rows(name, entry)]
    lines += ["", "When, and the machine's limits in the same run:", ""]
    lines += _ruled("work", "date", "commit", "machine", "rounds", "limits (GFLOP/s, GB/s)")
    for name, entry in works.items():
        measured = ", ".join(f"{key} {value:.0f}" for key, value in entry["limits"].items())
        lines.append(
            f"| {name} | {entry['date']} | {entry['commit']} | {entry['machine']} | "
            f"{entry['rounds']} | {measured} |"
        )
    if "memory" in figures:
        made = figures["memory"]
        lines += ["", f"Memory curves ({made['date']}, {made['commit']}; `memory.svg`):", ""]
        lines += _ruled(
            "curve", "of", "vocabulary", "tokens", "row's length", "peak MB, ours / TRL",
            "gradients and moments, MB", "the rest, ours / TRL",
        )  # fmt: skip
        lines += memory_rows(made["points"])
    return "\n".join(lines)


def write(figures: Figures, folder: Path) -> None:
    """Write the marked section of results.md (at its end the first time) and the plot."""
    path = folder / "results.md"
    text = path.read_text()
    if BEGIN not in text:
        text += f"\n## Beside the peers\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN)
    path.write_text(f"{before}{BEGIN}\n\n{section(figures)}\n\n{END}{rest.split(END)[1]}")
    if "memory" in figures:
        from benchmarks.peers.plot import plot

        plot(figures["memory"]["points"], folder / "memory.svg")
