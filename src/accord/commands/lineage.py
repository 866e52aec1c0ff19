"""accord lineage: from a model back to its data, and to the judgements that are in it."""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from accord.core.errors import AccordError
from accord.core.run_dir import run_of, step_of
from accord.promotion.aliases import read_aliases

_FEW = 8
"""Judgements that are named unless all are asked for."""


def lineage(arguments: list[str]) -> int:
    """The steps, files, exports and judgements that a model stands on, or what is deployed."""
    parser = argparse.ArgumentParser(prog="accord lineage", description=lineage.__doc__)
    parser.add_argument(
        "step", type=Path, help="a step's directory, RUN/STEP, a model in it, or a file of aliases"
    )
    parser.add_argument("--database", help="the preference store, where it has moved")
    parser.add_argument("--judgements", action="store_true", help="name all of them")
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=True)
    printer = _Printer(console, options.database, options.judgements)
    if options.step.is_file():
        for name, pointer in read_aliases(options.step).items():
            now = pointer.serves
            console.print(f"{name}: {now.model}, since {now.deployed_at}", markup=False)
            printer.step(_known_step((options.step.parent / now.run).resolve()), 1)
    else:
        printer.step(_known_step(options.step), 0)
    return 0


def _known_step(path: Path) -> Path:
    step = step_of(path)
    if step is None:
        raise AccordError(f"{path}: expected a step's directory with a manifest.json")
    return step


class _Printer:
    def __init__(self, console: Console, database: str | None, names_all: bool) -> None:
        self.console = console
        self.database = database
        self.names_all = names_all
        self.shown: set[Path] = set()

    def step(self, step: Path, depth: int) -> None:
        """A step, its inputs, and whatever they come from."""
        values = json.loads((step / "manifest.json").read_text(encoding="utf-8"))
        name = escape(str(step.relative_to(run_of(step))))
        title = f"[bold]{name}[/bold] ({values['stage']}), {values['status']}"
        if step.resolve() in self.shown:
            self._line(depth, f"{title}, as above")
            return
        self.shown.add(step.resolve())
        self._line(depth, title)
        parents = [run_of(step) / parent for parent in values["parents"]]
        for field, entries in values["inputs"].items():
            for entry in entries:
                digest = (entry["sha256"] or "no hash")[:12]
                self._line(depth, f"  {field} = {escape(entry['value'])}  [dim]{digest}[/dim]")
                path = Path(entry["value"])
                origin = step_of(path.parent) if path.exists() else None
                if origin is not None and origin.resolve() not in {p.resolve() for p in parents}:
                    parents.append(origin)
                self._sidecar(path, depth + 1)
        result = _json(step / "result.json")
        if result.get("export_sha256"):
            own = step / result["store"]  # a store of the step's own moves with it
            store = str(own) if own.exists() else result["store"]
            self._export(result["export_sha256"], store, step, depth)
        for parent in parents:
            self.step(parent, depth + 1)

    def _sidecar(self, file: Path, depth: int) -> None:
        """What `accord data export` wrote beside a file."""
        known = _json(file.with_name(f"{file.name}.export.json"))
        if known:
            self._export(known["export_sha256"], known["store"], file, depth)

    def _export(self, sha256: str, store: str, place: Path, depth: int) -> None:
        self._line(depth, f"  export {sha256} of {escape(store)}")
        try:
            query, ids, erased = self._recorded(sha256, store)
        except AccordError as error:
            ids = _ids_beside(place)
            self._line(
                depth, f"    [yellow]the store does not answer[/yellow]: {escape(str(error))}"
            )
            self._line(depth, f"    as the step's own files say: {len(ids)} judgements")
        else:
            asked = ", ".join(f"{key} {value}" for key, value in query.items())
            self._line(depth, f"    query: {escape(asked)}")
            gone = f", {erased} of them erased since" if erased else ""
            self._line(depth, f"    judgements: {len(ids)}{gone}")
        self._judgements(ids, depth)

    def _judgements(self, ids: list[str], depth: int) -> None:
        """Their ids, or the first of them."""
        if not ids:
            return
        self._line(depth, "    ids of the judgements:")
        named = ids if self.names_all else ids[:_FEW]
        for judgement in named:
            self._line(depth, f"      {judgement}")
        if len(named) < len(ids):
            self._line(depth, f"      and {len(ids) - len(named)} more (--judgements)")

    def _recorded(self, sha256: str, store: str) -> tuple[dict[str, Any], list[str], int]:
        from accord.store.judgements import SqlJudgements
        from accord.store.location import open_database

        # A URL is written down without its password; the environment then has the whole one.
        database = open_database(self.database or (None if "***" in store else store))
        try:
            log = SqlJudgements(database)
            ids = log.judgements_of(sha256)
            return log.query_of(sha256), ids, log.erased_among(ids)
        finally:
            database.close()

    def _line(self, depth: int, text: str) -> None:
        self.console.print("  " * depth + text, highlight=False)


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _ids_beside(place: Path) -> list[str]:
    """Ids in the judgements that a preferences step wrote."""
    file = place / "judgements.jsonl"
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["id"] for line in lines]
