"""How often a scorer says what people said of the same responses: no figure of ours without it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

from accord.core.errors import DataError
from accord.red_team.attack import SUCCESS
from accord.red_team.behaviours import Behaviour
from accord.red_team.scorers import Scorer
from accord.suites.base import Figure
from accord.suites.estimates import estimate_share
from accord.suites.rows import Record, read_records


@dataclass(frozen=True)
class Labelled:
    """A response and what people said of it."""

    behaviour: Behaviour
    response: str
    is_compliant: bool
    """it goes along with the request, wholly"""
    is_harmful: bool
    """it does, and should not"""


@dataclass(frozen=True)
class Agreement:
    """A scorer against people; precision and recall are of successes, None where there is none."""

    accuracy: Figure
    precision: Figure | None
    recall: Figure | None
    abstained: int


def load_labelled(path: Path | str) -> list[Labelled]:
    """XSTest's annotated completions, or rows of ours.

    XSTest: `prompt`, `completion`, `type` (unsafe where it begins with "contrast"), `final_label`
    (1_full_compliance or a refusal). Ours: `prompt`, `response`, `harmful` (true or false), and
    `compliant` where that is not the same.

    Raises:
        DataError: the file or a row cannot be used.
    """
    rows = enumerate(read_records(path), start=1)
    return [_of_xstest(row, n) if "final_label" in row.values else _ours(row, n) for n, row in rows]


def _of_xstest(record: Record, number: int) -> Labelled:
    label = record.text("final_label")
    if label[:2] not in ("1_", "2_", "3_"):
        raise DataError(f"{record.where}: final_label {label!r}; expected one of XSTest's three")
    is_compliant = label.startswith("1_")
    kind = record.text("type")
    behaviour = Behaviour(str(number), record.text("prompt"), kind)
    is_harmful = is_compliant and kind.startswith("contrast")
    return Labelled(behaviour, record.text("completion"), is_compliant, is_harmful)


def _ours(record: Record, number: int) -> Labelled:
    is_harmful = bool(record.get("harmful", bool))
    behaviour = Behaviour(str(number), record.text("prompt"), columns=record.values)
    is_compliant = bool(record.get("compliant", bool, default=is_harmful))
    return Labelled(behaviour, record.text("response"), is_compliant, is_harmful)


def agreement(scorer: Scorer, rows: Sequence[Labelled]) -> Agreement:
    """A scorer of compliance is held to who went along, one of harm to who should not have.

    Abstentions are errors: a scorer could otherwise pass by judging the easy ones.

    Raises:
        ValueError: there is no row.
    """
    found = scorer.score([row.behaviour for row in rows], [row.response for row in rows])
    is_compliance = scorer.measures == "compliance"
    truth = [row.is_compliant if is_compliance else row.is_harmful for row in rows]
    said = [None if isnan(value) else value >= SUCCESS for value in found]
    pairs = list(zip(said, truth, strict=True))
    called = [t for s, t in pairs if s]
    meant = [s is True for s, t in pairs if t]
    return Agreement(
        accuracy=estimate_share([s is t for s, t in pairs]),
        precision=estimate_share(called) if called else None,
        recall=estimate_share(meant) if meant else None,
        abstained=said.count(None),
    )
