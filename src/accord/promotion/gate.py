"""A gate: a file of conditions on figures, and which of them held.

    [win_rate.judge]          # a figure; its name alone stands for all of its parts
    at_least = 0.5            # the lower end of its 95% interval has to reach this

    [attack_success]
    at_most = 0.1
    on = "estimate"           # the figure itself, not the end of its interval

A condition on a figure that nobody measured does not hold: what is not known is no reason to trust.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from accord.core.config import read_config_file
from accord.core.errors import ConfigError, describe_choice

_LIMITS = ("at_least", "at_most")
_ON = ("interval", "estimate")


class Figure(NamedTuple):
    """A number with the ends of its 95% interval; None where it has none."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Condition:
    """What is asked of a figure.

    `kind` is at_least or at_most; `on` is "interval", whose end on the wrong side of the figure has
    to keep the limit, or "estimate".
    """

    figure: str
    kind: str
    limit: float
    on: str = "interval"


@dataclass(frozen=True)
class Finding:
    """What became of a condition in one run; `run` and `value` are None where nobody measured it.

    `value` is the number that was held against the limit.
    """

    figure: str
    run: str | None
    kind: str
    limit: float
    on: str
    value: float | None
    held: bool
    why: str


def read_gate(path: str | Path) -> list[Condition]:
    """The conditions of a TOML or YAML file, in its order.

    Raises:
        ConfigError: there is no such file, no condition in it, or one that says nothing.
    """
    found = list(_conditions(read_config_file(Path(path)), (), str(path)))
    if not found:
        raise ConfigError(
            f"{path}: a gate without a condition lets everything through; write [FIGURE] and under "
            "it at_least or at_most"
        )
    return found


def _conditions(table: Mapping[str, Any], name: tuple[str, ...], where: str) -> Iterator[Condition]:
    figure = ".".join(name)
    own = {key: value for key, value in table.items() if not isinstance(value, dict)}
    for key in own:
        if key not in (*_LIMITS, "on"):
            raise ConfigError(
                f"{where}: {figure}: unknown key {describe_choice(key, [*_LIMITS, 'on'])}"
            )
    if own and not name:
        raise ConfigError(f"{where}: {next(iter(own))} belongs under the name of a figure, [NAME]")
    on = own.pop("on", "interval")
    if on not in _ON:
        raise ConfigError(f"{where}: {figure}: on is {' or '.join(_ON)}, got {on!r}")
    for kind, limit in own.items():
        is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
        if not is_number or not math.isfinite(limit):
            raise ConfigError(f"{where}: {figure}: {kind} is a number, got {limit!r}")
        yield Condition(figure, kind, float(limit), on)
    parts = {key: value for key, value in table.items() if isinstance(value, dict)}
    if name and not own and not parts:
        raise ConfigError(f"{where}: {figure}: expected at_least or at_most")
    for key, inner in parts.items():
        yield from _conditions(inner, (*name, key), where)


def check(
    conditions: Sequence[Condition], measured: Mapping[str, Mapping[str, Figure]]
) -> list[Finding]:
    """Hold every condition against every run that measured its figure; it has to hold in each.

    Args:
        measured: figures by name, by run.
    """
    return [finding for one in conditions for finding in _findings(one, measured)]


def _findings(
    condition: Condition, measured: Mapping[str, Mapping[str, Figure]]
) -> Iterator[Finding]:
    known = [
        (run, name, figures[name])
        for run, figures in measured.items()
        for name in _meant(condition.figure, figures)
    ]
    for run, name, figure in known:
        value, why = _compared(condition, figure)
        is_met = value is not None and _is_met(condition, value)
        yield Finding(name, run, condition.kind, condition.limit, condition.on, value, is_met, why)
    if not known:
        names = sorted({name for figures in measured.values() for name in figures})
        why = f"nobody measured {describe_choice(condition.figure, names)}"
        yield Finding(
            condition.figure, None, condition.kind, condition.limit, condition.on, None, False, why
        )


def _meant(name: str, figures: Mapping[str, Figure]) -> list[str]:
    """The figure of that name, else all of which it is the first part."""
    return [name] if name in figures else [n for n in figures if n.startswith(f"{name}.")]


def _compared(condition: Condition, figure: Figure) -> tuple[float | None, str]:
    """The number that counts, and in words what it is, or why there is none."""
    if condition.on == "estimate":
        value, what = figure.value, "estimate"
    elif condition.kind == "at_least":
        value, what = figure.low, "lower end of the interval"
    else:
        value, what = figure.high, "upper end of the interval"
    if value is None or not math.isfinite(value):
        return None, f"it has no {what}"
    return float(value), what


def _is_met(condition: Condition, value: float) -> bool:
    return value >= condition.limit if condition.kind == "at_least" else value <= condition.limit


def verdict(findings: Sequence[Finding]) -> dict[str, Any]:
    """For `result.json`: `held`, and `conditions` with one entry a finding."""
    held = bool(findings) and all(finding.held for finding in findings)
    return {"held": held, "conditions": [asdict(finding) for finding in findings]}


def lines(found: Mapping[str, Any]) -> list[str]:
    """A line a condition of what `verdict` gave: figure, limit, whether it held."""
    return [_line(one) for one in found["conditions"]]


def _line(one: Mapping[str, Any]) -> str:
    word = "held" if one["held"] else "FELL SHORT"
    limit = f"{one['kind'].replace('_', ' ')} {one['limit']:g}"
    if one["value"] is None:
        return f"{word}: {one['figure']} {limit}: {one['why']}"
    return f"{word}: {one['figure']} {one['value']:.4g} ({one['why']}), {limit} [{one['run']}]"
