"""Knobs of the AI-feedback stage."""

from typing import Literal, Self

from pydantic import Field, model_validator

from accord.core.candidates_config import CandidatesConfig
from accord.core.config import InputPath
from accord.core.errors import ConfigError
from accord.core.judge_config import JudgeConfig
from accord.core.store_config import StoreConfig


class Config(CandidatesConfig, JudgeConfig, StoreConfig):
    """A judge's opinions of responses, in the store beside people's, and comparisons from them."""

    dataset_name: list[InputPath] = Field(default=[])
    """files of what is judged: prompt with chosen and rejected (which of them is which is not
    believed), with response_a and response_b, or with a list of responses"""
    tasks: Literal["none", "unjudged", "all"] = "none"
    """judge tasks of the project: those that nobody has judged yet, or all"""
    compare: Literal["pairs", "ranking"] = "pairs"
    """judge responses two by two, or rank all responses to a prompt at once"""
    max_judged: int = Field(default=-1, ge=-1)
    """judge the first so many pairs or rankings; -1 all"""
    max_length: int = Field(default=1024, ge=2)
    """longest prompt plus response in tokens that a reward model reads"""
    human_judgements: list[InputPath] = Field(default=[])
    """files of people's judgements of some of the pairs, which go into the store too"""
    calibration: Literal["none", "temperature", "isotonic"] = "none"
    """bring the judge's probabilities into line with what people said of a slice of the pairs (in
    human_judgements, or in the project); temperature needs few of them, isotonic hundreds"""
    people_share: float = Field(default=0, ge=0, le=1)
    """leave up to this share of the pairs to people of the project: those of which the judge is
    unsure, or that reward_ensemble sees otherwise"""
    people_pairs: int = Field(default=0, ge=0)
    """the same as a number of pairs"""
    people_per_pair: int = Field(default=1, ge=1)
    """people who judge such a pair"""
    least_doubt: float = Field(default=0.5, ge=0, le=1)
    """from which doubt on a pair may go to people: 0 is a judge that is certain and uncontradicted,
    1 one that cannot tell, or is told the opposite"""
    reward_ensemble: list[InputPath] = Field(default=[])
    """reward models whose opinion is held against the judge's"""
    heldout_fraction: float = Field(default=0.1, ge=0, lt=1)
    """share of prompts whose comparisons are held out of training"""

    @property
    def asks_people(self) -> bool:
        """Whether some pairs may be left to people."""
        return bool(self.people_share or self.people_pairs)

    @property
    def fills_the_store(self) -> bool:
        """Always: a judge's opinions are judgements."""
        return True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.has_judge:
            raise ConfigError("judge: nobody judges; give judge, or judge_url with judge_name")
        if not (self.dataset_name or self.model_name_or_path or self.tasks != "none"):
            raise ConfigError(
                "judge: nothing to judge; give dataset_name, or model_name_or_path with prompts, "
                "or project with tasks"
            )
        if self.prompts and not self.model_name_or_path:
            raise ConfigError("judge: prompts are for sampling; give model_name_or_path too")
        if self.project is None and self.database is not None:
            raise ConfigError("judge: a database has many projects; name one with project")
        if (self.tasks != "none" or self.asks_people) and not self.project:
            raise ConfigError("judge: tasks and people are those of a project; give project")
        if self.people_share and self.people_pairs:
            raise ConfigError("judge: people_share and people_pairs are one budget; give either")
        if self.reward_ensemble and not self.asks_people:
            raise ConfigError(
                "judge: reward_ensemble is for pairs left to people; see people_share"
            )
        if self.compare == "ranking" and (self.judge_thinks or self.judge_votes):
            raise ConfigError("judge: judge_thinks and judge_votes are for pairs, not for rankings")
        if self.compare == "ranking" and (self.asks_people or self.calibration != "none"):
            raise ConfigError(
                "judge: rankings have no probabilities to calibrate or to doubt; compare pairs"
            )
        if self.compare == "ranking" and self.constitution:
            raise ConfigError("judge: principles decide between two responses; compare pairs")
        return self
