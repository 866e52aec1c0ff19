"""Knobs of the oversight stage."""

from typing import Literal, Self

from pydantic import Field, model_validator

from accord.core.config import InputPath
from accord.core.errors import ConfigError
from accord.core.judge_config import JudgeConfig
from accord.core.sampling_config import SamplingConfig


class Config(SamplingConfig, JudgeConfig):
    """A weak judge alone, with a critique, and after a debate, on pairs of known quality."""

    benchmarks: InputPath
    """directory of the sets: llmbar/, gsm8k/example_model_solutions (right and wrong solutions) and
    gsm8k/test (solutions into which flaws are planted)"""
    sets: list[Literal["llmbar", "gsm8k"]] = Field(default=["llmbar", "gsm8k"])
    """pairs that are judged"""
    assistant: InputPath | None = None
    """a local model that criticises and debates"""
    assistant_url: str | None = None
    """or one behind an OpenAI-compatible endpoint"""
    assistant_name: str | None = None
    """its name at that endpoint"""
    assistant_key_variable: str | None = None
    """environment variable that holds that endpoint's key"""
    aids: list[Literal["critique", "debate"]] = Field(default=["critique", "debate"])
    """what the judge is given: the worst fault of each response, or two advocates' speeches"""
    debate_rounds: int = Field(default=2, ge=1)
    """speeches of each advocate"""
    max_completion_length: int = Field(default=256, ge=1)
    """longest critique or speech in tokens"""
    max_pairs: int = Field(default=-1, ge=-1)
    """judge the first so many pairs of each set; -1 all"""
    max_flaws: int = Field(default=200, ge=0)
    """solutions into which a flaw is planted for the assistant to find; 0 leaves that out"""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.has_judge:
            raise ConfigError("oversight: nobody judges; give judge, or judge_url with judge_name")
        if self.judge_thinks or self.judge_aspects:
            raise ConfigError("oversight: the judge gives bare verdicts; no reasons or aspects")
        if bool(self.assistant) == bool(self.assistant_url):
            raise ConfigError("oversight: one assistant; give assistant, or assistant_url")
        if bool(self.assistant_url) != bool(self.assistant_name):
            raise ConfigError("oversight: assistant_url and assistant_name belong together")
        return self
