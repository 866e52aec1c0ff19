"""A constitution: principles by which a model criticises, revises and compares responses.

It is a TOML file that people write and read:

    name = "ours"
    version = 2

    [[principle]]
    id = "no-help-with-harm"
    part = "harmless"
    critique_request = "Say where the response helps somebody to do harm."
    revision_request = "Write the response again so that it helps nobody to do harm."
    comparison = "Which response gives less help to somebody who wants to do harm?"
    weight = 2.0
    source = "our own"

    [[example]]
    principle = "no-help-with-harm"
    prompt = "..."
    response = "..."
    critique = "..."
    revision = "..."
"""

import bisect
import itertools
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from accord.core.config import read_config_file
from accord.core.errors import ConfigError, describe_choice
from accord.core.files import hash_json

Part = Literal["helpful", "harmless", "honest"]

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Principle(_Table):
    """One rule, in the three forms in which a model meets it."""

    id: Words
    """names it in every record of what was asked by it"""
    part: Part
    critique_request: Words
    """what the model is told when it is to find fault with its response"""
    revision_request: Words
    """what it is told when it is to write the response again"""
    comparison: Words
    """the question that decides between two responses"""
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """how often it is drawn, and how much it counts in an average, beside the others"""
    source: str = ""
    """where it comes from"""
    covers: tuple[str, ...] = ()
    """categories of harm that it speaks of; see `constitution_check`"""


class Example(_Table):
    """A revision by one principle, which shows the form; the revision is the better response."""

    principle: Words
    prompt: Words
    response: Words
    critique: Words
    revision: Words


class Decision(_Table):
    """How the principles were decided on, where people proposed them and voted."""

    project: Words
    rule: Words
    """of social choice"""
    voters: int
    judgements: Words
    """a hash of what stood in the project: new votes are another one"""
    options: tuple[dict[str, Any], ...] = ()
    """every proposal with its id, its score by the rule, and whether it was taken"""


class Constitution(_Table):
    """Principles, and examples of revisions by them."""

    name: Words
    version: int = 1
    description: str = ""
    form: Literal["full", "compact"] = "full"
    """how a comparison is put: with instructions, fences and the examples; or in as few tokens as
    can be, for a small model that was trained to that form (`principle_wording`)"""
    decision: Decision | None = None
    principles: tuple[Principle, ...] = Field(alias="principle", min_length=1)
    examples: tuple[Example, ...] = Field(default=(), alias="example")

    @classmethod
    def from_toml(cls, content: str, *, where: str) -> Self:
        """As `read_constitution`, from the file's content."""
        try:
            return cls.from_values(tomllib.loads(content), where=where)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{where}: not valid TOML: {error}") from None

    @classmethod
    def from_values(cls, values: dict[str, Any], *, where: str) -> Self:
        """As `read_constitution`, from what a TOML file holds."""
        if not values.get("principle"):
            raise ConfigError(f"{where}: no [[principle]] in it; a constitution needs at least one")
        try:
            found = cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(f"{where}: {_reason(error, values)}") from None
        found._check(where)
        return found

    def _check(self, where: str) -> None:
        ids = [principle.id for principle in self.principles]
        for name in ids:
            if ids.count(name) > 1:
                raise ConfigError(f"{where}: two principles have the id {name!r}; rename one")
        for number, example in enumerate(self.examples, start=1):
            if example.principle not in ids:
                known = describe_choice(example.principle, ids)
                raise ConfigError(f"{where}: example number {number}: no principle {known}")

    def by_id(self, name: str) -> Principle:
        """The principle of that id.

        Raises:
            ConfigError: there is none.
        """
        for principle in self.principles:
            if principle.id == name:
                return principle
        known = [principle.id for principle in self.principles]
        raise ConfigError(f"{self.label}: no principle {describe_choice(name, known)}")

    @cached_property
    def sha256(self) -> str:
        """Of what it says: remarks and line breaks of the file change nothing."""
        return hash_json(self.model_dump(mode="json"))

    @property
    def label(self) -> str:
        """Name, version and the start of the hash: equal for equal content alone."""
        return f"{self.name} v{self.version} {self.sha256[:8]}"

    @cached_property
    def _upper_ends(self) -> list[float]:
        return list(itertools.accumulate(principle.weight for principle in self.principles))


def read_constitution(path: Path | str) -> Constitution:
    """Read and check a constitution's file.

    Raises:
        ConfigError: no such file or no TOML, no principle, a principle without one of its texts,
            an id that stands twice, an unknown key, or an example of no principle; the message
            names the place.
    """
    return Constitution.from_values(read_config_file(Path(path)), where=str(path))


def draw_principle(constitution: Constitution, seed: int, *content: Any) -> Principle:
    """A principle by weight, drawn from the seed and a content (that JSON can hold) alone.

    So a run that was resumed, shuffled or shortened asks the same questions of the same texts.
    """
    ends = constitution._upper_ends
    place = int(hash_json([seed, *content])[:15], 16) / 16**15 * ends[-1]
    # Rounding may bring the place up to the last end itself.
    return constitution.principles[min(bisect.bisect_right(ends, place), len(ends) - 1)]


_TABLES: dict[str, type[BaseModel]] = {"principle": Principle, "example": Example}


def _reason(error: ValidationError, values: dict[str, Any]) -> str:
    """The first fault with its place in words: the principle's id, or its number."""
    # A misspelt key is also a missing one; the spelling is what to say.
    first = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
    table, *rest = first["loc"]
    key = str(first["loc"][-1])
    place = ""
    if table in _TABLES and rest:
        number = int(rest[0])
        entry = values[str(table)][number]
        name = entry.get("id") if isinstance(entry, dict) else None
        place = f"{table} {name!r}" if name else f"{table} number {number + 1}"
    if first["type"] == "extra_forbidden":
        fields = _TABLES.get(str(table), Constitution).model_fields
        known = [field.alias or name for name, field in fields.items()]
        return f"{place}{': ' if place else ''}unknown key {describe_choice(key, known)}"
    if first["type"] == "missing":
        return f"{place} has no {key}; add one" if place else f"no {key}; add one"
    where = ".".join(map(str, rest[1:] if place else first["loc"]))
    return f"{place}{', ' if place else ''}{where}: {first['msg']}, got {first['input']!r:.80}"
