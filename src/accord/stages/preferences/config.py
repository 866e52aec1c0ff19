"""Knobs of the preferences stage."""

from typing import Self

from pydantic import Field, model_validator

from accord.core.candidates_config import CandidatesConfig
from accord.core.config import InputPath
from accord.core.errors import ConfigError
from accord.core.store_config import StoreConfig


class Config(CandidatesConfig, StoreConfig):
    """Comparisons from sampled pairs, from judgements made elsewhere, or from the store."""

    annotators: str | None = None
    """dotted name of a list of annotators, or of a function from a seed to one, such as
    accord.corpora.sample_set:ANNOTATORS; without it the pairs wait in the project for people"""
    annotators_per_pair: int = Field(default=3, ge=1)
    """how many of them judge each pair"""
    max_judged_pairs: int = Field(default=-1, ge=-1)
    """judge this many of the sampled pairs; -1 all"""
    choose_by: list[InputPath] = Field(default=[])
    """reward models, two or one with members, by whose disagreement (times the prompt's diversity)
    pairs are chosen; without them at random"""
    random_share: float = Field(default=0.2, ge=0.2, le=1)
    """of the chosen pairs, drawn whatever the models say, so that the pool can be judged by them"""
    max_length: int = Field(default=512, ge=2)
    """longest prompt plus response in tokens that the models of choose_by read"""
    judgements: list[InputPath] = Field(default=[])
    """files of judgements made elsewhere"""
    dataset_name: list[InputPath] = Field(default=[])
    """pairs that are judged already: chosen and rejected"""
    max_bad_rows: int = Field(default=0, ge=0)
    """rows of dataset_name that may be left out because they cannot be used; they are counted"""
    heldout_fraction: float = Field(default=0.1, ge=0, lt=1)
    """share of prompts whose comparisons are held out of training"""
    judge_fraction: float = Field(default=0.3, ge=0, lt=1)
    """share of prompts kept for a judge model that trains no policy"""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.project is None and self.database is not None:
            raise ConfigError("preferences: a database has many projects; name one with project")
        if self.model_name_or_path and not (self.annotators or self.project):
            raise ConfigError(
                "preferences: sampling from model_name_or_path needs annotators, or a project of "
                "the store whose people judge"
            )
        if not self.model_name_or_path and (self.prompts or self.annotators):
            raise ConfigError(
                "preferences: prompts and annotators are for sampling; give model_name_or_path too"
            )
        if not (self.fills_the_store or self.project):
            raise ConfigError(
                "preferences: nothing to judge; give model_name_or_path with prompts and "
                "annotators, or judgements, or dataset_name, or a project of the store"
            )
        if self.heldout_fraction + self.judge_fraction >= 1:
            raise ConfigError(
                f"preferences: heldout_fraction {self.heldout_fraction} and judge_fraction "
                f"{self.judge_fraction} leave nothing to train on; their sum must stay below 1"
            )
        return self

    @property
    def fills_the_store(self) -> bool:
        """Whether the stage puts tasks or judgements there."""
        return bool(self.model_name_or_path or self.judgements or self.dataset_name)
