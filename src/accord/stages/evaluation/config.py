"""Knobs of the evaluation stage."""

import re
from typing import Self

from pydantic import Field, model_validator

from accord.core.config import InputPath
from accord.core.errors import ConfigError, describe_choice
from accord.core.sampling_config import SamplingConfig


class Config(SamplingConfig):
    """Policies side by side on the same prompts."""

    policies: dict[str, InputPath]
    """name -> model, in the order of the report"""
    baseline: str
    """name of the policy that win rates are against"""
    reference: InputPath
    """model that the KL is taken to; it has to know all tokens of the policies"""
    prompts: InputPath
    """held-out prompts; their other columns reach the scorers"""
    max_prompts: int = Field(default=-1, ge=-1)
    """use this many prompts; -1 uses all"""
    temperature: float = Field(default=1.0, ge=0)
    """of sampling, and of every log-prob; 0 takes the likeliest token (log-probs then at 1)"""
    max_completion_length: int = Field(default=64, ge=1)
    """longest response in tokens"""
    max_length: int = Field(default=1024, ge=2)
    """longest prompt plus response, for policies and reward models; a model whose context is
    shorter gets what fits"""
    reward_model: InputPath | None = None
    """the reward model that policies were trained on: the held-out reward"""
    judge_model: InputPath | None = None
    """a reward model that trained no policy: win rates"""
    judge_comparisons: list[InputPath] = Field(default=[])
    """held-out comparisons on which judge_model has to beat "longest", "first" and "random", or its
    win rates are called not valid"""
    human_judgements: list[InputPath] = Field(default=[])
    """files of people's judgements (prompt, response_a, response_b, verdict) of some of the pairs,
    drawn at random: they correct the judge's win rates"""
    scorer: str | None = None
    """dotted name of a function f(completions, prompts, **columns) -> list[float]"""
    score_by: str | None = None
    """column of the prompts whose values each get a mean score of their own, such as the aim"""
    behaviours: str | None = None
    """dotted name of a function that returns a dict of 0/1 behaviours a response"""
    gate: InputPath | None = None
    """TOML file of conditions, [FIGURE] with at_least or at_most, that a policy has to keep; where
    it falls short the command ends with status 3"""
    candidate: str | None = None
    """the policy that the gate is for (default: the one beside the baseline)"""
    num_samples_shown: int = Field(default=20, ge=0)
    """prompts whose responses are kept side by side for the report"""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.baseline not in self.policies:
            raise ConfigError(
                f"evaluate: no policy {describe_choice(self.baseline, list(self.policies))}"
            )
        if self.human_judgements and not self.judge_model:
            raise ConfigError("evaluate: human_judgements correct a judge; give judge_model")
        if self.judge_comparisons and not self.judge_model:
            raise ConfigError("evaluate: judge_comparisons check a judge; give judge_model")
        if self.score_by and not self.scorer:
            raise ConfigError("evaluate: score_by splits the scorer's scores; give a scorer")
        others = [name for name in self.policies if name != self.baseline]
        if self.candidate and not self.gate:
            raise ConfigError("evaluate: candidate names whom a gate is for; give gate")
        if self.candidate and self.candidate not in self.policies:
            raise ConfigError(f"evaluate: no policy {describe_choice(self.candidate, others)}")
        if self.gate and not self.candidate and len(others) != 1:
            raise ConfigError(
                f"evaluate: whom is the gate for? Name a candidate of {', '.join(self.policies)}"
            )
        for name in self.policies:
            if not re.fullmatch(r"\w[\w.-]*", name):
                raise ConfigError(
                    f"evaluate: policy name {name!r} becomes part of a file's name; use letters, "
                    "digits, '.', '_' and '-'"
                )
        if self.max_completion_length >= self.max_length:
            raise ConfigError(
                f"evaluate: max_completion_length {self.max_completion_length} leaves no room for "
                f"a prompt in max_length {self.max_length}"
            )
        return self
