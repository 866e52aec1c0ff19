"""Which runs were made from an export, directly or from what such a run left; and what is live."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from accord.core.run_dir import run_of
from accord.promotion.aliases import read_aliases


def steps_with(exports: Iterable[str], runs: Path) -> list[Path]:
    """Directories of all steps under `runs` that stand on one of the exports, oldest first.

    A step does when its result names the export, when it reads a file that `accord data export`
    wrote for it, or when an input of it, or a parent, is of a step that does. Files whose notes lie
    under `runs` are known by their hash, so that moved and renamed ones are found, too; others by
    the note beside them.
    """
    wanted = set(exports)
    steps = [_Step(path.parent) for path in sorted(runs.rglob("manifest.json"))]
    steps = [step for step in steps if step.manifest.get("stage")]
    tainted = {
        _json(note).get("file_sha256", "")
        for note in runs.rglob("*.export.json")
        if _json(note).get("export_sha256") in wanted
    }
    found: list[_Step] = []
    rest = sorted(steps, key=lambda step: str(step.manifest.get("started_at")))
    while True:
        new = [step for step in rest if step.stands_on(wanted, tainted, found)]
        if not new:
            return [step.path for step in found]
        found += new
        rest = [step for step in rest if step not in new]


def aliases_with(steps: Iterable[Path]) -> dict[tuple[Path, str], bool]:
    """Aliases that know a model which one of these steps deployed, by file and name: whether they
    lead to it now, or would after a rollback.
    """
    found: dict[tuple[Path, str], bool] = {}
    for step in steps:
        result = _json(step / "result.json")
        file = (step / str(result.get("aliases", ""))).resolve()
        if not (result.get("deployed") and file.is_file()):
            continue
        for name, pointer in read_aliases(file).items():
            known = [one.sha256 for one in (pointer.serves, *pointer.before)]
            if result["sha256"] in known:
                is_live = pointer.serves.sha256 == result["sha256"]
                found[file, name] = is_live or found.get((file, name), False)
    return found


class _Step:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = _json(path / "manifest.json")
        self.result = _json(path / "result.json")

    def stands_on(self, exports: set[str], tainted: set[str], found: "list[_Step]") -> bool:
        """Whether an export or a step that is found already is among what this one reads."""
        if self.result.get("export_sha256") in exports:
            return True
        inputs = self.manifest.get("inputs", {})
        entries = [entry for entries in inputs.values() for entry in entries]
        if tainted & {entry.get("sha256") for entry in entries}:
            return True
        notes = (_json(Path(f"{entry['value']}.export.json")) for entry in entries)
        if any(note.get("export_sha256") in exports for note in notes):
            return True
        parents = {(run_of(self.path) / name).resolve() for name in self.manifest["parents"]}
        places = [Path(entry["value"]).resolve() for entry in entries]
        return any(
            step.path.resolve() in parents
            or any(place.is_relative_to(step.path.resolve()) for place in places)
            for step in found
        )


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
