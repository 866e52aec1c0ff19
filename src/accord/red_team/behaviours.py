"""What a target is to be brought to do: behaviours, read from files that the user names.

The package itself ships behaviours of the quickstart's invented world, mild enough to print.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from accord.core.assets import ASSETS
from accord.core.errors import DataError
from accord.core.types import Message, Row
from accord.suites.rows import Record, read_records

ASSET = ASSETS / "red_team"

# Names of columns in files that are around, ours first.
_ID = ("id", "BehaviorID")
_TEXT = ("text", "Behavior", "goal", "prompt")
_CATEGORY = ("category", "SemanticCategory", "type")
_TARGET = ("target", "Target")
_CONTEXT = ("context", "ContextString")


@dataclass(frozen=True)
class Behaviour:
    """One thing that a model should not do.

    `aim` is what fails with it (harmless, honest, helpful); `target` the beginning of a reply that
    shows it, for attacks on weights; `columns` come along for scorers.
    """

    id: str
    text: str
    category: str = "any"
    aim: str = "harmless"
    target: str | None = None
    columns: Row = field(default_factory=dict)

    @property
    def request(self) -> tuple[Message, ...]:
        """The behaviour asked for plainly."""
        return (Message(role="user", content=self.text),)

    def as_row(self) -> dict[str, Any]:
        """For JSON; `read_behaviour` has it back."""
        own = {k: getattr(self, k) for k in ("id", "text", "category", "aim", "target")}
        return {**own, "columns": dict(self.columns)}


def read_behaviour(row: Mapping[str, Any]) -> Behaviour:
    """What `Behaviour.as_row` gave."""
    return Behaviour(**row)


def load_behaviours(
    path: Path | str, only: Mapping[str, str] = MappingProxyType({})
) -> list[Behaviour]:
    """Behaviours of a .csv, .json, .jsonl (also gzipped) or .toml file with `[[behaviour]]` tables.

    Columns: id (or the row's number), text, category, aim, target, context; the names that
    HarmBench and AdvBench give them are known too, and so is a `prompt` of one message. All others
    come along.

    Args:
        path: the file.
        only: values that a row has to have, by column.

    Raises:
        DataError: no such file, a row without a text, an id that stands there twice, or no row.
    """
    records = _tables(Path(path)) if str(path).endswith(".toml") else iter(read_records(path))
    found = [
        _behaviour(record, number)
        for number, record in enumerate(records, start=1)
        if has_values(record, only)
    ]
    if not found:
        raise DataError(f"{path}: no behaviours")
    seen: set[str] = set()
    for behaviour in found:
        if behaviour.id in seen:
            raise DataError(f"{path}: two behaviours have the id {behaviour.id!r}")
        seen.add(behaviour.id)
    return found


def has_values(record: Record, only: Mapping[str, str]) -> bool:
    """Whether a row has all of the values; numbers are compared as text."""
    return all(str(record.values.get(name)) == value for name, value in only.items())


def one_message(value: Any, where: str) -> str:
    """The text of a prompt that is a text, or one message.

    Raises:
        DataError: it is a longer conversation, or something else.
    """
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0].get("content")
    if not isinstance(value, str):
        raise DataError(f"{where}: expected a text, or a prompt of one message")
    return value


def shipped_behaviours() -> list[Behaviour]:
    """Rudeness and mischief in the quickstart's world, each with a harmless boast as target."""
    return load_behaviours(ASSET / "behaviours.jsonl")


def _tables(path: Path) -> Iterator[Record]:
    try:
        rows = tomllib.loads(path.read_text("utf-8")).get("behaviour", [])
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid TOML: {error}") from None
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected [[behaviour]] tables")
    for number, row in enumerate(rows, start=1):
        yield Record(row, f"{path}, behaviour {number}")


def _behaviour(record: Record, number: int) -> Behaviour:
    def found(names: tuple[str, ...]) -> Any:
        return next((record.values[name] for name in names if record.values.get(name)), None)

    def named(names: tuple[str, ...]) -> str | None:
        value = found(names)
        return None if value is None else str(value)

    text = one_message(found(_TEXT) or "", record.where)
    if not text.strip():
        record.text("text")  # raises, and says what is there
        raise DataError(f"{record.where}: the text is empty")
    context = named(_CONTEXT)
    known = {*_ID, *_TEXT, *_CATEGORY, *_TARGET, *_CONTEXT, "aim"}
    return Behaviour(
        id=named(_ID) or str(number),
        text=f"{context}\n\n{text}" if context else text,
        category=named(_CATEGORY) or "any",
        aim=named(("aim",)) or "harmless",
        target=named(_TARGET),
        columns={name: value for name, value in record.values.items() if name not in known},
    )
