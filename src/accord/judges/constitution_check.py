"""Reading a constitution critically: what it says twice, what pulls apart, what it leaves out."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accord.core.config import read_config_file
from accord.core.errors import ConfigError
from accord.core.interfaces import PairJudge
from accord.core.types import Message
from accord.corpora.checking.duplicates import jaccard, shingles
from accord.corpora.checking.texts import normal
from accord.judges.both_orders import ask_both_orders
from accord.judges.constitution import Constitution, Principle

NEAR = 0.75
"""Two requests that share so many of their words are nearly one."""

_FIELDS = ("critique_request", "revision_request", "comparison")

_CANNOT = "No: whoever follows one of the two rules breaks the other."
_CAN = "Yes: a response can follow both rules."


@dataclass(frozen=True)
class Repeat:
    """Two principles that say the same, or nearly; `similarity` is in (0, 1]."""

    first: str
    second: str
    field: str
    similarity: float


@dataclass(frozen=True)
class Contradiction:
    """Two principles of which a judge thinks that no response follows both."""

    first: str
    second: str
    probability: float


@dataclass(frozen=True)
class Harm:
    """A kind of harm; `also` are other people's names for it."""

    id: str
    words: str = ""
    also: tuple[str, ...] = ()


def read_harms(path: Path | str) -> list[Harm]:
    """A taxonomy: a TOML file with [[harm]] tables, as accord:harms.toml is.

    Raises:
        ConfigError: no file, no harm in it, or one without an id.
    """
    tables = read_config_file(Path(path)).get("harm")
    if not tables:
        raise ConfigError(f"{path}: no [[harm]] in it")
    for number, table in enumerate(tables, start=1):
        if not table.get("id"):
            raise ConfigError(f"{path}: harm number {number} has no id; add one")
    return [Harm(t["id"], t.get("words", ""), tuple(t.get("also", ()))) for t in tables]


def repeats(constitution: Constitution, *, threshold: float = NEAR) -> list[Repeat]:
    """Pairs of principles with a request in common, by the words that they share.

    Args:
        constitution: to read.
        threshold: Jaccard's similarity of two requests' words from which on they are nearly one.
    """
    found = []
    for first, second in itertools.combinations(constitution.principles, 2):
        for field in _FIELDS:
            one, other = getattr(first, field), getattr(second, field)
            is_same = normal(one) == normal(other)
            similarity = 1.0 if is_same else jaccard(shingles(one, 1), shingles(other, 1))
            if similarity >= threshold:
                found.append(Repeat(first.id, second.id, field, similarity))
    return found


def contradictions(judge: PairJudge, constitution: Constitution) -> list[Contradiction]:
    """Pairs of which the judge finds it likelier than not that no response follows both.

    It is asked which of two statements about a pair of principles is right, in both orders, so
    that a taste for what stands first flags nothing. Likeliest first.
    """
    pairs = list(itertools.combinations(constitution.principles, 2))
    prompts = [_question(first, second) for first, second in pairs]
    asked = ask_both_orders(judge, prompts, [_CANNOT] * len(pairs), [_CAN] * len(pairs))
    found = [
        Contradiction(first.id, second.id, float(p))
        for (first, second), p in zip(pairs, asked.mean(), strict=True)
        if p > 0.5
    ]
    return sorted(found, key=lambda c: -c.probability)


def _question(first: Principle, second: Principle) -> list[Message]:
    rules = [f"{p.revision_request} ({p.comparison})" for p in (first, second)]
    text = (
        "Two rules for the responses of an assistant.\n"
        f"Rule 1: {rules[0]}\nRule 2: {rules[1]}\nCan a response follow both rules?"
    )
    return [Message(role="user", content=text)]


def coverage(
    constitution: Constitution, categories: Sequence[str], harms: Sequence[Harm]
) -> dict[str, list[str]]:
    """By category of harm, the ids of the principles that cover it; none where it is left out.

    Args:
        constitution: whose principles name what they cover.
        categories: of a taxonomy, or of somebody's file of behaviours.
        harms: by which other people's names are understood.
    """
    own = {name: harm.id for harm in harms for name in (harm.id, *harm.also)}
    return {
        category: [
            principle.id
            for principle in constitution.principles
            if {category, own.get(category)} & set(principle.covers)
        ]
        for category in categories
    }


def unknown_harms(
    constitution: Constitution, categories: Sequence[str], harms: Sequence[Harm]
) -> dict[str, list[str]]:
    """By principle, what it claims to cover and no taxonomy knows."""
    known = {*categories, *(name for harm in harms for name in (harm.id, *harm.also))}
    strange = {p.id: [n for n in p.covers if n not in known] for p in constitution.principles}
    return {name: found for name, found in strange.items() if found}
