"""The knobs that every stage has which asks a judge."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from accord.core.config import InputPath, StageConfig
from accord.core.errors import ConfigError


class JudgeConfig(StageConfig):
    """Which model judges: one that is here, or one behind an endpoint."""

    only_pace: ClassVar[frozenset[str]] = frozenset(
        {"judge_requests_per_minute", "judge_concurrency", "judge_key_variable", "judge_timeout_s"}
    )

    judge: InputPath | None = None
    """a local judge: a reward model, or a causal LM that is read by the log-probs of its verdict"""
    judge_url: str | None = None
    """a judge behind an OpenAI-compatible endpoint, such as https://HOST/v1"""
    judge_name: str | None = None
    """the model's name at that endpoint"""
    judge_key_variable: str | None = None
    """environment variable that holds the endpoint's key"""
    judge_requests_per_minute: float | None = Field(default=None, gt=0)
    """most requests to the endpoint, evenly spaced"""
    judge_concurrency: int = Field(default=8, ge=1)
    """requests to the endpoint at one time"""
    judge_timeout_s: float = Field(default=60, gt=0)
    """seconds within which the endpoint has to answer whole; then it is asked again"""
    judge_least_mass: float = Field(default=0, ge=0, le=1)
    """a local LM abstains where its verdicts together have less probability than this"""
    judge_price_in: float = Field(default=0, ge=0)
    """what the endpoint charges for a million tokens of questions, in any currency"""
    judge_price_out: float = Field(default=0, ge=0)
    """what it charges for a million tokens of answers"""
    judge_votes: int = Field(default=0, ge=0)
    """where the endpoint tells no log-probs: sample so many verdicts at temperature 1, whose share
    is the probability; 0 takes one verdict at temperature 0"""
    judge_thinks: bool = False
    """reasons first, then the verdict; its probability is clamped to 0.4 to 0.6"""
    judge_aspects: dict[str, float] = Field(default={})
    """criterion -> weight: grade each response by each of them, and prefer the higher mean"""
    constitution: InputPath | None = None
    """a TOML file of principles by whose questions the judge decides, such as
    accord:constitution.toml"""
    principles: Literal["sampled", "average"] = "sampled"
    """of a constitution: each pair by one principle, drawn by the seed and the pair; or by all of
    them, averaged by weight, at as many times the cost"""

    @property
    def has_judge(self) -> bool:
        """Whether one is named."""
        return bool(self.judge or self.judge_url)

    def price(self, tokens: Mapping[str, int]) -> float:
        """What an endpoint charges for "prompt_tokens" and "completion_tokens"."""
        asked, answered = tokens.get("prompt_tokens", 0), tokens.get("completion_tokens", 0)
        return (asked * self.judge_price_in + answered * self.judge_price_out) / 1e6

    def spent(self, counts: Mapping[str, int]) -> dict[str, float]:
        """The tokens that are among a judge's counts, and their price, for a manifest."""
        tokens = {name: counts.get(name, 0) for name in ("prompt_tokens", "completion_tokens")}
        return {**tokens, "price": self.price(tokens)}

    @model_validator(mode="after")
    def _check_judge(self) -> Self:
        if self.judge and self.judge_url:
            raise ConfigError("one judge; give judge or judge_url")
        if bool(self.judge_url) != bool(self.judge_name):
            raise ConfigError("judge_url and judge_name belong together")
        of_endpoint = (
            self.judge_votes, self.judge_price_in, self.judge_price_out,
            self.judge_requests_per_minute,
        )  # fmt: skip
        if any(of_endpoint) and not self.judge_url:
            raise ConfigError("judge_votes, prices and requests a minute are for judge_url")
        if self.judge_thinks and self.judge_aspects:
            raise ConfigError("judge_thinks is for verdicts, and judge_aspects for grades")
        if any(weight <= 0 for weight in self.judge_aspects.values()):
            raise ConfigError("judge_aspects: weights are above 0")
        if self.judge_aspects and self.constitution:
            raise ConfigError("judge_aspects and a constitution are two ways to judge; choose one")
        if self.constitution and not self.has_judge:
            raise ConfigError("a judge decides by the constitution; give judge or judge_url")
        if self.principles == "average" and not self.constitution:
            raise ConfigError("principles are of a constitution; give one")
        return self
