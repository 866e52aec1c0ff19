"""All readings of an evaluation, and whether they are reason enough to stop."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from accord.core.monitors_config import MonitorsConfig
from accord.monitors import behaviour, scores
from accord.monitors.observation import Level, Memory, Observation, Point, Reading, mean

Monitor = Callable[[Observation, Memory, MonitorsConfig], Reading | None]

MONITORS: Mapping[str, Monitor] = {
    "gold_gap": scores.gold_gap,
    "kl_budget": scores.kl_budget,
    "kl_peak": scores.kl_peak,
    "disagreement": scores.disagreement,
    "length": behaviour.length,
    "repetition": behaviour.repetition,
    "echo": behaviour.echo,
    "flattery": behaviour.flattery,
    "independence": scores.independence,
    "boilerplate": behaviour.boilerplate,
    "collapse": behaviour.collapse,
}
"""Read at every evaluation; `scores.invariance` is read once, before training."""

WARNINGS = 2
"""Monitors that must warn together, evaluation after evaluation, to stop."""


@dataclass(frozen=True)
class Decision:
    """The readings of one evaluation, and the reasons to stop (none: go on)."""

    readings: tuple[Reading, ...]
    reasons: tuple[str, ...]

    @property
    def stops(self) -> bool:
        """Whether training should end here."""
        return bool(self.reasons)

    @property
    def is_clean(self) -> bool:
        """Whether no monitor even warned."""
        return all(reading.level == "ok" for reading in self.readings)


class Brake:
    """Reads every evaluation of a run in turn; the first is the policy that training starts from.

    It stops when any monitor does, or when two or more have warned at `monitor_patience`
    evaluations in a row.
    """

    def __init__(
        self, config: MonitorsConfig, *, monitors: Mapping[str, Monitor] = MONITORS
    ) -> None:
        self.config = config
        self.monitors = monitors
        self.memory: Memory | None = None

    def read(self, now: Observation) -> Decision:
        """Read an evaluation and remember it.

        Raises:
            ValueError: its prompts are not those of the first evaluation.
        """
        if self.memory is None:
            self.memory = Memory(start=now, best=now)
        memory = self.memory
        if list(now.prompts) != list(memory.start.prompts):
            raise ValueError(f"step {now.step}: other prompts than at the start cannot be compared")
        found = [monitor(now, memory, self.config) for monitor in self.monitors.values()]
        readings = tuple(reading for reading in found if reading is not None)
        decision = Decision(readings, self._reasons(readings, memory))
        memory.past.append(_remembered(now, readings))
        if now.gold is not None and memory.best.gold is not None:
            memory.best = max(memory.best, now, key=lambda o: mean(o.gold or ()))
        return decision

    def is_best(self) -> bool:
        """Whether no evaluation had a higher gold score than the last one."""
        return self.memory is not None and self.memory.best.step == self.memory.past[-1].step

    def state(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self.memory) if self.memory else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what `state` gave."""
        if state:
            start, best = (Observation(**state[name]) for name in ("start", "best"))
            kept = Observation(**state["kept"]) if state["kept"] else None
            self.memory = Memory(start, best, [Point(**point) for point in state["past"]], kept)

    def _reasons(self, readings: tuple[Reading, ...], memory: Memory) -> tuple[str, ...]:
        stops = [f"{r.name}: {r.reason}" for r in readings if r.level == "stop"]
        if stops:
            return tuple(stops)
        before = memory.past[len(memory.past) - self.config.monitor_patience + 1 :]
        levels = [*(point.levels for point in before), {r.name: r.level for r in readings}]
        has_all = len(before) == self.config.monitor_patience - 1
        if has_all and all(_warnings(level) >= WARNINGS for level in levels):
            return tuple(f"{r.name}: {r.reason}" for r in readings if r.level == "warn")
        return ()


def _warnings(levels: Mapping[str, Level]) -> int:
    return sum(level != "ok" for level in levels.values())


def _remembered(now: Observation, readings: tuple[Reading, ...]) -> Point:
    return Point(
        now.step,
        score=mean(now.scores),
        kl_nats=mean(now.kl_nats) if len(now.kl_nats) else 0.0,
        gold=None if now.gold is None else mean(now.gold),
        levels={r.name: r.level for r in readings if r.level != "ok"},
        passed=[r.name for r in readings if r.passed],
    )


def incident(
    now: Observation, readings: tuple[Reading, ...], reasons: tuple[str, ...], back_to: int | None
) -> dict[str, Any]:
    """What happened, as a JSON object: the readings, and the responses that show them most.

    Args:
        now: the evaluation that stopped training.
        back_to: the step whose policy was taken back; None where none was.
    """
    shown = dict.fromkeys(i for r in readings if r.level != "ok" for i in r.offending)
    return {
        "step": now.step,
        "back_to_step": back_to,
        "reasons": list(reasons),
        "readings": [
            {"name": r.name, "value": _finite(r.value), "z": _finite(r.z), "level": r.level,
             "reason": r.reason, "offending": list(r.offending)}
            for r in readings
        ],
        "samples": [
            {"index": i, "prompt": now.prompts[i], "response": now.responses[i],
             "score": _finite(now.scores[i]),
             "gold": None if now.gold is None else _finite(now.gold[i]),
             "monitors": [r.name for r in readings if r.level != "ok" and i in r.offending]}
            for i in shown
        ],
    }  # fmt: skip


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
