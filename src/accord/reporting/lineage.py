"""Where a run's models come from: a nested list back to files, and a layered drawing of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from accord.reporting.run_files import Run, StepFiles


@dataclass(frozen=True)
class Source:
    """One input of a step: an output of another step, or a file from outside (`step` is None)."""

    field: str
    value: str
    sha256: str | None
    step: str | None
    output: str | None  # the parent's result field that the input is, when it is one

    @property
    def label(self) -> str:
        """As a config names it (`sft.model`), or the file's name."""
        if self.step:
            return f"{self.step}.{self.output}" if self.output else self.step
        # A file's last two parts tell more than `train.jsonl` alone.
        path = PurePath(self.value)
        return path.name if len(path.parts) < 2 else "/".join(path.parts[-2:])


@dataclass(frozen=True)
class Branch:
    """A step in a model's ancestry; `is_repeated` when its own sources were listed before."""

    step: str
    stage: str
    is_repeated: bool
    sources: list[tuple[Source, "Branch | None"]] = field(default_factory=list)


def sources(run: Run, step: StepFiles) -> list[Source]:
    """Every input of a step, in the config's order."""
    return [
        Source(label, str(entry["value"]), entry.get("sha256"), *_origin(run, step, entry))
        for name, entries in step.manifest["inputs"].items()
        for label, entry in zip(_labels(name, step, len(entries)), entries, strict=True)
    ]


def _labels(name: str, step: StepFiles, count: int) -> list[str]:
    """The field's name for each of its entries; where the config names them, with that name."""
    named = step.config.get(name)
    if isinstance(named, dict) and len(named) == count:
        return [f"{name}.{key}" for key in named]
    return [name] * count


def _origin(run: Run, step: StepFiles, entry: dict[str, Any]) -> tuple[str | None, str | None]:
    """Which parent's output an input is. Run directories move, so only the end of a path counts."""
    path = f"/{PurePath(str(entry['value'])).as_posix()}"
    for parent in step.manifest["parents"]:
        made_by = run.step(parent)
        for name, output in (made_by.outputs if made_by else {}).items():
            if isinstance(output, str) and output and path.endswith(f"/{parent}/{output}"):
                return parent, name
        if path.endswith(f"/{parent}/result.json"):
            return parent, "result"
    for parent in step.manifest["parents"]:
        if f"/{parent}/" in path:
            return parent, None
    return None, None


def model_outputs(step: StepFiles) -> list[str]:
    """Result fields of a step that are models."""
    return [
        name
        for name, value in step.outputs.items()
        if (name == "model" or name.endswith("_model")) and isinstance(value, str)
    ]


def ancestry(run: Run, step: StepFiles) -> Branch:
    """The nested list of a step: its inputs, and theirs, down to the files from outside."""
    seen: set[str] = set()

    def grow(current: StepFiles) -> Branch:
        if current.name in seen:
            return Branch(current.name, current.stage, is_repeated=True)
        seen.add(current.name)
        branch = Branch(current.name, current.stage, is_repeated=False)
        for source in sources(run, current):
            parent = run.step(source.step) if source.step else None
            branch.sources.append((source, grow(parent) if parent else None))
        return branch

    return grow(step)


# The drawing -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """A box, centred at (x, y) in pixels; `kind` is "step" or "file"."""

    key: str
    title: str
    note: str
    kind: str
    x: float
    y: float


@dataclass(frozen=True)
class Drawing:
    """Boxes and the curves between them (SVG path data), in a canvas of the given pixels."""

    width: int
    height: int
    nodes: list[Node]
    edges: list[str]


BOX_WIDTH, BOX_HEIGHT = 148, 40
_GAP_X, _GAP_Y = 18, 38
_BEND_WIDTH = 26  # room for a line that passes between the boxes of a layer


def draw(run: Run) -> Drawing:
    """Layers from the files (top) to what no other step reads (bottom).

    A line that skips a layer gets a place of its own in it (a bend), so that it never runs through
    a box; then each layer is ordered by the mean place of what its members are joined to
    (Sugiyama et al. 1981).
    """
    titles, edges = _graph(run)
    layers_of = _layers(list(titles), edges)
    members: list[list[str]] = [[] for _ in range(max(layers_of.values()) + 1)]
    for key in titles:
        members[layers_of[key]].append(key)
    routes: list[list[str]] = []
    for start, end in edges:
        bends = [f"bend {start} {end} {n}" for n in range(layers_of[start] + 1, layers_of[end])]
        for place, bend in enumerate(bends, start=layers_of[start] + 1):
            members[place].append(bend)
        routes.append([start, *bends, end])
    _untangle(members, routes)
    x = _columns(members, routes)
    left = min(x[key] - BOX_WIDTH / 2 for key in titles)
    left = min([left, *(place - _BEND_WIDTH / 2 for place in x.values())]) - 1
    x = {key: place - left for key, place in x.items()}
    width = round(max([*x.values(), *(x[key] + BOX_WIDTH / 2 for key in titles)])) + 2
    y = {
        key: BOX_HEIGHT / 2 + 1 + layer * (BOX_HEIGHT + _GAP_Y)
        for layer, keys in enumerate(members)
        for key in keys
    }
    nodes = [Node(key, *titles[key], x=x[key], y=y[key]) for key in titles]
    height = len(members) * (BOX_HEIGHT + _GAP_Y) - _GAP_Y + 2
    return Drawing(width, height, nodes, [_curve(route, x, y) for route in routes])


def _graph(run: Run) -> tuple[dict[str, tuple[str, str, str]], list[tuple[str, str]]]:
    """Titles, notes and kinds by key, and each pair that is joined."""
    boxes: dict[str, tuple[str, str, str]] = {}
    edges: dict[tuple[str, str], None] = {}
    for step in run.steps:
        for source in sources(run, step):
            key = source.step or f"file {source.value}"
            if source.step is None:
                note = (source.sha256 or "")[:12] or "not hashed"
                boxes.setdefault(key, (source.label, note, "file"))
            edges[key, step.name] = None
    boxes |= {step.name: (step.name, step.stage, "step") for step in run.steps}
    return boxes, [(a, b) for a, b in edges if a in boxes and a != b]


def _layers(keys: list[str], edges: list[tuple[str, str]]) -> dict[str, int]:
    """Longest way from a source; what has no source stands just above what it first feeds."""
    layer = dict.fromkeys(keys, 0)
    for _ in keys:  # relaxes at most as often as the longest path; circles end here too
        for start, end in edges:
            layer[end] = max(layer[end], min(layer[start] + 1, len(keys)))
    for key in keys:
        readers = [layer[end] for start, end in edges if start == key]
        if readers and all(end != key for _, end in edges):
            layer[key] = min(readers) - 1
    lowest = min(layer.values())
    return {key: value - lowest for key, value in layer.items()}


def _untangle(members: list[list[str]], routes: list[list[str]]) -> None:
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for route in routes:
        for start, end in pairwise(route):
            after.setdefault(start, []).append(end)
            before.setdefault(end, []).append(start)
    for sweep in range(8):
        joined = before if sweep % 2 == 0 else after
        place = {key: i / max(1, len(keys) - 1) for keys in members for i, key in enumerate(keys)}
        for keys in members if sweep % 2 == 0 else reversed(members):
            wanted = {key: _mean(place, joined.get(key, [key])) for key in keys}
            keys.sort(key=wanted.__getitem__)
            place |= {key: i / max(1, len(keys) - 1) for i, key in enumerate(keys)}


def _mean(place: dict[str, float], keys: Iterable[str]) -> float:
    values = [place[key] for key in keys]
    return sum(values) / len(values)


def _columns(members: list[list[str]], routes: list[list[str]]) -> dict[str, float]:
    """Places in pixels: layers start centred, then move towards what they are joined to."""

    def room(key: str) -> float:
        return _BEND_WIDTH if key.startswith("bend ") else BOX_WIDTH + _GAP_X

    width = max(sum(map(room, keys)) for keys in members)
    joined: dict[str, list[str]] = {}
    for route in routes:
        for start, end in pairwise(route):
            joined.setdefault(start, []).append(end)
            joined.setdefault(end, []).append(start)
    x: dict[str, float] = {}
    for keys in members:
        left = (width - sum(map(room, keys))) / 2
        for key in keys:
            x[key] = left + room(key) / 2
            left += room(key)
    for _ in range(12):
        for keys in members:
            wanted = [_mean(x, joined.get(key, [key])) for key in keys]
            _spread(keys, wanted, room, width, x)
    return x


def _spread(
    keys: list[str],
    wanted: list[float],
    room: Callable[[str], float],
    width: float,
    x: dict[str, float],
) -> None:
    """Each key as near to where it is wanted as order and room allow."""
    rest = sum(map(room, keys))
    left = 0.0
    for key, place in zip(keys, wanted, strict=True):
        rest -= room(key)
        half = room(key) / 2
        x[key] = min(max(place, left + half), width - rest - half)
        left = x[key] + half


def _curve(route: list[str], x: dict[str, float], y: dict[str, float]) -> str:
    """From a box's lower edge to another's upper edge, vertical at both ends and at each bend."""
    half = BOX_HEIGHT / 2
    points = [(x[route[0]], y[route[0]] + half)]
    for bend in route[1:-1]:
        points += [(x[bend], y[bend] - half), (x[bend], y[bend] + half)]
    points.append((x[route[-1]], y[route[-1]] - half))
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for number, ((x0, y0), (x1, y1)) in enumerate(pairwise(points)):
        if number % 2:  # inside a layer: straight down
            path += f"L{x1:.1f} {y1:.1f}"
        else:
            middle = (y0 + y1) / 2
            path += f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}"
    return path
