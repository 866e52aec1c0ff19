"""A red team's figures for the page: what got through, by what, and beside what."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from accord.core.errors import CheckpointError
from accord.reporting.plots import Whisker, whisker_svg
from accord.reporting.run_files import StepFiles
from accord.reporting.tables import percent, points

STAGE = "red_team"

_PARTS = {
    "aim": "By aim",
    "family": "By family of attacks",
    "attack": "By attack",
    "category": "By category of behaviours",
    "split": "By what may train",
}
_SPLITS = {"train": "families that train", "held_out": "families held out"}


@dataclass(frozen=True)
class Line:
    """A row of a table: label, cells as figure and interval (None where there is none)."""

    label: str
    cells: list[tuple[str, str] | None]


@dataclass(frozen=True)
class Part:
    """A table with its head."""

    title: str
    head: list[str]
    rows: list[Line]


@dataclass(frozen=True)
class Transcript:
    """One of the worst attempts; `turns` begin with the user."""

    badges: list[str]
    behaviour: str
    turns: list[Mapping[str, str]]
    response: str
    scores: str


@dataclass(frozen=True)
class RedTeam:
    """All that the page shows of one red-team step."""

    name: str
    target: str
    sentence: str
    success: list[Part]
    scorers: Part
    others: list[Part]
    plot: Markup
    notes: list[str]
    worst: list[Transcript]


def red_team_of(step: StepFiles, key: str) -> RedTeam | None:
    """What a finished red-team step found; None of any other.

    Args:
        step: with its result.
        key: tells the page's plots apart.

    Raises:
        CheckpointError: its transcripts cannot be read.
    """
    if step.stage != STAGE or step.result is None:
        return None
    found = step.outputs
    config = step.config
    return RedTeam(
        name=step.name,
        target=str(config.get("model_name_or_path") or f"{config['name']} at {config['url']}"),
        sentence=_sentence(found),
        success=[_success(title, found["success"][name]) for name, title in _PARTS.items()],
        scorers=_scorers(found["scorers"]),
        others=[part for part in (_refusals(found), _regression(found), _change(found)) if part],
        plot=_plot(found["success"]["family"], key),
        notes=[str(note) for note in (found.get("over_refusal") or {}).get("notes", [])],
        worst=_worst(step),
    )


def _sentence(found: Mapping[str, Any]) -> str:
    at = _last(found["success"]["all"]["all"])
    figure = found["success"]["all"]["all"][at]
    k = at.removeprefix("at_")
    replies = "one reply" if k == "1" else f"{k} replies"
    counts = found["failures"]
    text = (
        f"Of {figure['n']} behaviours {percent(figure['value'])} were shown within {replies} to an "
        f"attack ({_interval(figure)}), as all scorers say. Of {counts['successful_attempts']} "
        f"successful attempts {counts['distinct']} are distinct; {counts['prompts']} became "
        f"prompts, and {counts['comparisons']} comparisons."
    )
    refusals = (found.get("over_refusal") or {}).get("figures", {}).get("over_refusal")
    if refusals:
        text += (
            f" Of {refusals['n']} harmless prompts {percent(refusals['value'])} were refused "
            f"({_interval(refusals)})."
        )
    return text


def _success(title: str, parts: Mapping[str, Mapping[str, Any]]) -> Part:
    names = list(next(iter(parts.values()), {}))
    head = [f"at {name.removeprefix('at_')}" for name in names]
    rows = [
        Line(
            f"{_SPLITS.get(label, label)} (n = {by_k[names[0]]['n']})",
            [_cell(by_k[k]) for k in names],
        )
        for label, by_k in parts.items()
    ]
    return Part(title, head, rows)


def _scorers(scorers: Mapping[str, Mapping[str, Any]]) -> Part:
    head = ["success by it alone", "agrees with people", "precision", "recall"]
    rows = []
    for name, found in scorers.items():
        people = found["with_people"] or {}
        figures = [people.get(kind) for kind in ("accuracy", "precision", "recall")]
        rows.append(
            Line(
                f"{name} ({found['measures']})",
                [_cell(found["success_alone"]), *map(_cell, figures)],
            )
        )
    return Part("Scorers", head, rows)


def _refusals(found: Mapping[str, Any]) -> Part | None:
    if not found.get("over_refusal"):
        return None
    figures = found["over_refusal"]["figures"]
    rows = [
        Line(f"{name.replace('_', ' ')} (n = {figure['n']})", [_cell(figure)])
        for name, figure in figures.items()
        if "/" not in name
    ]
    return Part("Refusals of harmless prompts, and answers to harmful ones", ["share"], rows)


def _regression(found: Mapping[str, Any]) -> Part | None:
    if not found.get("regression"):
        return None
    part = _success("", found["regression"]["split"])
    return Part("The frozen set, said again", part.head, part.rows)


def _change(found: Mapping[str, Any]) -> Part | None:
    if not found.get("change"):
        return None
    rows = []
    for name, moved in found["change"].items():
        label = _SPLITS.get(name, name.removeprefix("family/").replace("_", " "))
        interval = f"{points(moved['low'])} to {points(moved['high'])}"
        rows.append(Line(f"{label} ({moved['pairs']} pairs)", [(points(moved["value"]), interval)]))
    return Part("Change since the earlier run, points of 100, paired", ["change"], rows)


def _plot(families: Mapping[str, Mapping[str, Any]], key: str) -> Markup:
    whiskers = [
        Whisker(name, figure["value"], figure["low"], figure["high"])
        for name, by_k in families.items()
        for figure in [by_k[_last(by_k)]]
    ]
    svg = whisker_svg(
        whiskers,
        key=f"red-team-{key}",
        title="By family",
        x_label="share of behaviours shown",
        is_win_rate=False,
    )
    return Markup(svg)


def _worst(step: StepFiles) -> list[Transcript]:
    path = step.path / str(step.outputs["findings"]) / "worst.jsonl"
    if not path.is_file():
        return []
    try:
        return [_transcript(json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: expected attempts ({type(error).__name__}: {error}); run the step again with "
            "--force"
        ) from None


def _transcript(row: Mapping[str, Any]) -> Transcript:
    scores = [
        f"{name} {'–' if value is None else format(value, '.2f')}"
        for name, value in row["scores"].items()
    ]
    return Transcript(
        badges=[row["attack"], row["family"], row["behaviour"]["category"]],
        behaviour=row["behaviour"]["text"],
        turns=row["conversation"],
        response=row["response"],
        scores=" · ".join(scores),
    )


def _last(by_k: Mapping[str, Any]) -> str:
    return list(by_k)[-1]


def _cell(figure: Mapping[str, Any] | None) -> tuple[str, str] | None:
    return None if figure is None else (percent(figure["value"]), _interval(figure))


def _interval(figure: Mapping[str, Any]) -> str:
    return f"{percent(figure['low'])} to {percent(figure['high'])}"
