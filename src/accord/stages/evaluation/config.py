"""Knobs of the evaluation stage."""

from pydantic import Field

from accord.core.config import InputPath, StageConfig


class Config(StageConfig):
    """Policies side by side on the same prompts."""

    policies: dict[str, InputPath]
    """name -> model, in the order of the report"""
    baseline: str
    """name of the policy that win rates are against"""
    reference: InputPath
    """model that the KL is taken to"""
    prompts: InputPath
    """held-out prompts; their other columns reach the scorers"""
    max_prompts: int = -1
    """use this many prompts; -1 uses all"""
    temperature: float = Field(default=1.0, ge=0)
    """of sampling; 0 takes the likeliest token"""
    max_completion_length: int = Field(default=64, ge=1)
    """longest response in tokens"""
    max_length: int = Field(default=1024, ge=2)
    """longest prompt plus response for the reward models"""
    reward_model: InputPath | None = None
    """the reward model that policies were trained on: the held-out reward"""
    judge_model: InputPath | None = None
    """a reward model that trained no policy: win rates"""
    scorer: str | None = None
    """dotted name of a function f(completions, prompts, **columns) -> list[float]"""
    behaviours: str | None = None
    """dotted name of a function that returns a dict of 0/1 behaviours a response"""
    num_samples_shown: int = Field(default=20, ge=0)
    """prompts whose responses are kept side by side for the report"""
