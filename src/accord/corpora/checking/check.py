"""All checks of a data set, one after another: what each removes, with examples."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

from accord.core.errors import ConfigError, describe_choice
from accord.corpora.checking import quality
from accord.corpora.checking.contamination import Benchmarks
from accord.corpora.checking.duplicates import exact_duplicates, near_duplicates
from accord.corpora.checking.texts import Texts, normal, problem, texts_of

_EXAMPLES = 3
_SHOWN = 160
"""Characters of an example."""


@dataclass(frozen=True)
class Settings:
    """What to check.

    Args:
        against: files of benchmarks that must not be in the data.
        ngram: words in a run that a row may not share with them.
        near_threshold: Jaccard similarity from which on a row nearly repeats another.
        language: what the texts should be in; None does not ask.
        skip: names of filters to leave out.
    """

    against: tuple[str, ...] = ()
    ngram: int = 13
    near_threshold: float = 0.8
    language: str | None = None
    skip: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What a filter removed."""

    name: str
    what: str
    removed: int
    examples: list[dict[str, str]]


@dataclass(frozen=True)
class Checked:
    """The rows that are left, and a report: every removed row is counted by one filter, the first
    that found something.
    """

    kept: list[dict[str, Any]]
    rows: int
    filters: list[Found] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "rows": self.rows,
            "kept": len(self.kept),
            "filters": [asdict(found) for found in self.filters],
        }

    def table(self) -> Table:
        """For people."""
        table = Table(title=f"{len(self.kept)} of {self.rows} rows are kept", title_justify="left")
        for name, justify in (("filter", "left"), ("removed", "right"), ("for example", "left")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        for found in self.filters:
            example = found.examples[0] if found.examples else {"row": "", "reason": ""}
            said = f"{example['row']}: {example['reason']}" if example["row"] else found.what
            table.add_row(
                found.name, str(found.removed), said, style="" if found.removed else "dim"
            )
        return table


Rows = Sequence[tuple[str, dict[str, Any]]]
_Filter = Callable[[list[Texts]], dict[int, str]]


def check_rows(rows: Rows, settings: Settings) -> Checked:
    """Filter rows, each of which comes with where it is.

    Raises:
        ConfigError: there is no such filter or language.
        DataError: a benchmark's file cannot be read.
    """
    filters = _filters(settings)
    said = [problem(row, where) for where, row in rows]
    unusable = {n: reason for n, reason in enumerate(said) if reason is not None}
    places = [n for n in range(len(rows)) if n not in unusable]
    texts = [texts_of(rows[n][1], rows[n][0]) for n in places]
    found = [_found("unusable", "Rows that cannot be trained on", unusable, rows)]
    for name, (what, finds) in filters.items():
        bad = finds(texts)
        found.append(_found(name, what, {places[n]: reason for n, reason in bad.items()}, rows))
        left = [n for n in range(len(places)) if n not in bad]
        places, texts = [places[n] for n in left], [texts[n] for n in left]
    return Checked([rows[n][1] for n in places], len(rows), found)


def _filters(settings: Settings) -> dict[str, tuple[str, _Filter]]:
    """By name: what it is about, and places with reasons from the rows that are left."""
    single: dict[str, Callable[[Texts], str | None]] = {
        "empty": quality.empty,
        "identical": quality.identical,
        "junk": quality.junk,
        "roles": quality.leaked_roles,
        "repetition": quality.repetitive,
    }
    if settings.language is not None:
        if settings.language not in quality.STOP_WORDS:
            known = list(quality.STOP_WORDS)
            raise ConfigError(f"no language {describe_choice(settings.language, known)}")
        single["language"] = quality.language_filter(settings.language)
    filters: dict[str, tuple[str, _Filter]] = {
        name: (_first_line(check), _each(check)) for name, check in single.items()
    }
    filters["length"] = ("Responses out of all proportion.", quality.length_outliers)
    filters["duplicates"] = ("Rows that are an earlier one but for case and space.", _exact)
    near = settings.near_threshold
    filters["near_duplicates"] = ("Rows that are nearly an earlier one.", _near(near))
    if settings.against:
        benchmarks = Benchmarks(settings.against, size=settings.ngram)
        filters["contamination"] = ("Rows that hold parts of a benchmark.", _shared(benchmarks))
    for name in settings.skip:
        if name not in filters:
            raise ConfigError(f"no filter {describe_choice(name, list(filters))}")
        del filters[name]
    return filters


def _first_line(check: Callable[..., Any]) -> str:
    return (check.__doc__ or "").splitlines()[0]


def _each(check: Callable[[Texts], str | None]) -> _Filter:
    def finds(rows: list[Texts]) -> dict[int, str]:
        return {n: said for n, row in enumerate(rows) if (said := check(row))}

    return finds


def _exact(rows: list[Texts]) -> dict[int, str]:
    found = exact_duplicates([_in_order(row) for row in rows])
    return {n: f"the same as: {_cut(rows[first].whole)}" for n, first in found.items()}


def _in_order(row: Texts) -> str:
    """A pair that was judged the other way round is no repetition, but a second opinion."""
    return "\0".join(map(normal, (row.prompt, *row.responses)))


def _near(threshold: float) -> _Filter:
    def finds(rows: list[Texts]) -> dict[int, str]:
        found = near_duplicates([row.whole for row in rows], threshold=threshold)
        return {
            n: f"{similarity:.0%} like: {_cut(rows[other].whole)}"
            for n, (other, similarity) in found.items()
            # Near duplicates know no order: of a pair judged both ways, both stay.
            if rows[n].chosen is None or sorted(rows[n].responses) != sorted(rows[other].responses)
        }

    return finds


def _shared(benchmarks: Benchmarks) -> _Filter:
    def finds(rows: list[Texts]) -> dict[int, str]:
        found = benchmarks.contaminated([row.whole for row in rows])
        return {n: f"{hit.benchmark}: {hit.words}" for n, hit in found.items()}

    return finds


def _found(name: str, what: str, bad: dict[int, str], rows: Rows) -> Found:
    examples = [
        {"row": rows[n][0], "reason": bad[n], "text": _cut(str(rows[n][1]))}
        for n in sorted(bad)[:_EXAMPLES]
    ]
    return Found(name, what.rstrip("."), len(bad), examples)


def _cut(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _SHOWN else f"{plain[:_SHOWN]}..."
