"""The knobs of stages that read the preference store, or write to it."""

from typing import Self

from pydantic import Field, model_validator

from accord.core.config import StageConfig
from accord.core.errors import ConfigError
from accord.core.types import Aggregation, Rule, ValueRule


class StorePlace(StageConfig):
    """Where the store is."""

    project: str | None = None
    """project of the preference store; without one, the step has a store of its own in its
    directory"""
    database: str | None = None
    """the store: a SQLite file or an SQLAlchemy URL (default: ACCORD_DATABASE_URL, where a URL
    with a password belongs: configs are written to disk)"""

    @property
    def fills_the_store(self) -> bool:
        """Whether the stage puts tasks or judgements there."""
        return False


class StoreConfig(StorePlace):
    """Where standing judgements are, and how they become comparisons."""

    project: str | None = None
    """project of the preference store that is read or, with prompts, judgements or dataset_name,
    filled first; without one, the step has a store of its own in its directory"""
    aggregation: Aggregation = "majority"
    """from several judgements of a pair to one probability: the smoothed share of the votes, or
    with annotators weighed by what the votes say of them; _by_side undoes a taste for the left"""
    rule: Rule | None = None
    """whose values: from what groups of annotators prefer to one probability, in place of the
    aggregation of all their votes"""
    group_by: str | None = None
    """what annotators declared of themselves by which they are grouped, such as language"""
    group_quotas: dict[str, float] = Field(default={})
    """weight of each group, for the rule quota"""
    group_size: int = Field(default=5, ge=2)
    """fewest people in a group; smaller ones are pooled, or left out"""

    @model_validator(mode="after")
    def _check_rule(self) -> Self:
        if (self.rule is None) != (self.group_by is None) or (self.rule and not self.project):
            raise ConfigError("rule and group_by go together, with project")
        if (self.rule == "quota") != bool(self.group_quotas):
            raise ConfigError("group_quotas are for the rule quota, which needs them")
        return self

    def value_rule(self) -> ValueRule | None:
        """The rule with what it needs, if one was chosen."""
        if self.rule is None or self.group_by is None:
            return None
        return ValueRule(self.rule, self.group_by, self.group_quotas, self.group_size)
