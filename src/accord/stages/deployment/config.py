"""Knobs of the deployment stage."""

import re
from typing import Self

from pydantic import Field, model_validator

from accord.core.config import InputPath, StageConfig
from accord.core.errors import ConfigError


class Config(StageConfig):
    """A policy that keeps a gate's conditions goes live; --rollback --aliases FILE undoes it."""

    model_name_or_path: InputPath
    """the policy's directory"""
    gate: InputPath
    """TOML file of conditions, [FIGURE] with at_least or at_most"""
    evaluations: list[InputPath] = Field(default=[])
    """runs of evaluate or benchmark (directories, or their result.json) that measured these very
    weights"""
    red_teams: list[InputPath] = Field(default=[])
    """runs of red_team, likewise"""
    alias: str = "policy"
    """the name that is to lead to the policy"""
    aliases: str | None = None
    """the file of aliases, for accord serve --aliases; models are kept in its folder (default:
    deployed/aliases.json of the run)"""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not re.fullmatch(r"\w[\w.-]*", self.alias):
            raise ConfigError(
                f"deploy: alias {self.alias!r} is a name in requests; use letters, digits, '.', "
                "'_' and '-'"
            )
        if not (self.evaluations or self.red_teams):
            raise ConfigError("deploy: nothing was measured; give evaluations, or red_teams")
        return self
