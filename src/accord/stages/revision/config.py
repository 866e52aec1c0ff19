"""Knobs of the revision stage."""

from typing import Self

from pydantic import Field, model_validator

from accord.core.config import InputPath
from accord.core.errors import ConfigError
from accord.core.sampling_config import SamplingConfig
from accord.core.store_config import StorePlace


class Config(SamplingConfig, StorePlace):
    """A model's responses, criticised and rewritten by itself: demonstrations without people."""

    constitution: InputPath
    """TOML file of principles; accord:constitution.toml is the one that ships"""
    prompts: InputPath
    """prompts whose responses are revised: harmful ones, most often"""
    helpful_prompts: InputPath | None = None
    """prompts whose responses become demonstrations as they are"""
    model_name_or_path: InputPath | None = None
    """the model that responds, criticises and rewrites; or give url"""
    url: str | None = None
    """a model behind an OpenAI-compatible endpoint, such as https://HOST/v1"""
    name: str | None = None
    """the model's name at that endpoint"""
    key_variable: str | None = None
    """environment variable that holds the endpoint's key"""
    max_prompts: int = Field(default=-1, ge=-1)
    """revise the responses to this many prompts; -1 to all"""
    max_helpful_prompts: int = Field(default=-1, ge=-1)
    """respond to this many of helpful_prompts; -1 to all"""
    rounds: int = Field(default=1, ge=1)
    """critiques and revisions one after the other, each by a principle of its own"""
    temperature: float = Field(default=1.0, ge=0)
    """of the responses"""
    revision_temperature: float = Field(default=0.0, ge=0)
    """of critiques and revisions; 0 takes the likeliest words"""
    max_completion_length: int = Field(default=256, ge=1)
    """longest response or revision in tokens"""
    max_critique_length: int = Field(default=128, ge=1)
    """longest critique in tokens"""

    @property
    def fills_the_store(self) -> bool:
        """Always: every critique and revision is an answer to a task."""
        return True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.model_name_or_path or self.url):
            raise ConfigError("revise: no model; give model_name_or_path, or url and name")
        if self.model_name_or_path and self.url:
            raise ConfigError("revise: one model; give model_name_or_path or url, not both")
        if bool(self.url) != bool(self.name):
            raise ConfigError("revise: url and name belong together")
        if self.database and not self.project:
            raise ConfigError("revise: a database has many projects; name one with project")
        return self
