"""What a reader of the figures must know: cut rows, early stops, skipped batches, stale steps."""

from dataclasses import dataclass
from typing import Any

from accord.reporting.run_files import Run, StepFiles

_LARGEST_GAP_NATS = 1e-4
"""Between the log-probs of sampler and trainer, a token, in float32."""


@dataclass(frozen=True)
class Notice:
    """One sentence about a step; `is_serious` where figures may be wrong, not just narrower."""

    step: str
    text: str
    is_serious: bool


_COUNTS = {
    "cut_rows": "rows were too long and were cut at the prompt's start",
    "cut_tokens": "tokens were cut from the starts of prompts",
    "dropped_identical_candidates": "sampled responses were identical to another and were dropped",
    "dropped_empty_candidates": "sampled responses were empty and were dropped",
    "cut_prompts": "prompts were too long and were cut at their start",
    "skipped_prompts": "prompts were skipped",
    "skipped_rows": "rows were skipped",
}


def notices(run: Run) -> list[Notice]:
    """All notices in the order of the steps."""
    found: list[Notice] = []
    for step in run.steps:
        serious, plain = [*_unfinished(run, step), *_numerical(step)], _reported(step)
        found += [Notice(step.name, text, True) for text in serious]
        found += [Notice(step.name, text, False) for text in plain]
    found += [Notice(run.name, text, False) for text in _whole_run(run)]
    return found


def _unfinished(run: Run, step: StepFiles) -> list[str]:
    texts = []
    if step.result is None:
        texts.append("not finished: the same `accord run` command goes on from here")
    for name in step.manifest["parents"]:
        parent = run.step(name)
        if parent and parent.manifest["started_at"] > step.manifest["started_at"]:
            texts.append(f"older than its input {name!r}, which was run again since")
    return texts


def _numerical(step: StepFiles) -> list[str]:
    texts = []
    dumps = sorted(path.name for path in step.path.glob("nonfinite-*.pt"))
    if dumps:
        texts.append(
            f"{len(dumps)} optimizer steps were skipped for a non-finite loss or gradient; "
            f"their batches: {', '.join(dumps[:5])}{', …' if len(dumps) > 5 else ''}"
        )
    missing = sum(value is None for row in step.metrics for value in row.values())
    if missing:
        texts.append(f"{missing} logged metrics were not finite")
    policies = step.outputs.get("policies")
    figures = policies.values() if isinstance(policies, dict) else []
    gaps = [figure.get("sampler_gap_nats", {}).get("mean", 0.0) for figure in figures]
    gap = max([step.outputs.get("largest_sampler_gap_nats", 0.0), *gaps])
    if gap > _LARGEST_GAP_NATS:
        texts.append(
            f"sampler and trainer disagree by up to {gap:.1e} nats a token "
            f"(expected in float32: below {_LARGEST_GAP_NATS:.0e})"
        )
    return texts


def _reported(step: StepFiles) -> list[str]:
    texts = [
        f"{value:,} {_COUNTS.get(key, key.replace('_', ' '))}"
        for key, value in step.outputs.items()
        if (key in _COUNTS or key.startswith(("cut_", "skipped_", "dropped_"))) and _counts(value)
    ]
    if step.outputs.get("was_stopped_by_budget"):
        texts.append(
            "stopped when its held-out KL passed the budget (kl_budget_nats), and went back to the "
            "last policy within it"
        )
    if step.outputs.get("was_stopped_by_monitors"):
        texts.append(
            "stopped by its monitors, and went back to the best policy before (see Incidents)"
        )
    texts += [_refresh(found) for found in step.outputs.get("refreshes") or []]
    early = [row["policy/stopped_early"] for row in step.metrics if "policy/stopped_early" in row]
    if any(early):
        texts.append(
            f"{sum(map(bool, early))} of {len(early)} updates ended early on max_update_kl"
        )
    texts += [str(text) for text in step.outputs.get("warnings", [])]
    unhashed = [
        str(entry["value"])
        for entries in step.manifest["inputs"].values()
        for entry in entries
        if not entry.get("sha256")
    ]
    if unhashed:
        texts.append(f"inputs read from a hub, revision not pinned: {', '.join(unhashed)}")
    return texts


def _refresh(found: dict[str, Any]) -> str:
    text = (
        f"after update {found['update']} the reward model was refreshed: {found['pairs']} fresh "
        f"pairs judged by {found['judged_by']}"
    )
    if "accuracy_after" not in found:
        return f"{text}, too few to learn from"
    return (
        f"{text} and {found['old_pairs']} old ones; it ranked {found['accuracy_before']:.0%} of "
        f"the fresh ones held out as judged before, {found['accuracy_after']:.0%} after (weights "
        f"{found['model_sha256'][:12]})"
    )


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _whole_run(run: Run) -> list[str]:
    texts = []
    for key in ("versions", "hardware"):
        kinds = {str(sorted(step.manifest.get(key, {}).items())) for step in run.steps}
        if len(kinds) > 1:
            texts.append(
                f"steps ran with {len(kinds)} different {key}; those of the first are shown"
            )
    aside = sorted(path.name for path in run.path.glob("*.old-*") if path.is_dir())
    if aside:
        texts.append(f"results of earlier configs are kept beside this run: {', '.join(aside)}")
    return texts
