"""Knobs of the benchmark stage."""

from typing import Literal, Self

from pydantic import Field, model_validator

from accord.core.config import InputPath
from accord.core.errors import ConfigError
from accord.core.sampling_config import SamplingConfig

SuiteName = Literal[
    "alpaca_eval",
    "mt_bench",
    "human_eval",
    "gsm8k",
    "instruction_following",
    "xstest",
    "confidence",
    "unanswerable",
]
JUDGED = ("alpaca_eval", "mt_bench")
"""Suites that a judge grades."""


class Config(SamplingConfig):
    """A model's answers to benchmarks, graded by their official procedures."""

    model_name_or_path: InputPath
    """the policy that answers"""
    suite: list[SuiteName]
    """which benchmarks; instruction_following, confidence and unanswerable ship, the others are
    read from files"""
    benchmarks: InputPath | None = None
    """directory of the benchmarks' files, .jsonl, .json or .csv, also gzipped: alpaca_eval/baseline
    (with concise, verbose, difficulty; against a model, instructions will do), mt_bench/question
    with reference_answer and judge_prompts, humaneval/HumanEval, gsm8k/test, xstest/xstest_prompts,
    and llmbar/, on which a judge is checked"""
    against: InputPath | None = None
    """another policy: alpaca_eval and mt_bench become win rates against its answers"""
    judge: InputPath | None = None
    """a local judge: a reward model, or a causal LM that is read by the log-probs of its verdict"""
    judge_url: str | None = None
    """a judge behind an OpenAI-compatible endpoint, such as https://HOST/v1"""
    judge_name: str | None = None
    """the model's name at that endpoint"""
    judge_key_variable: str | None = None
    """environment variable that holds the endpoint's key"""
    max_questions: int = Field(default=-1, ge=-1)
    """ask the first so many questions of each suite; -1 all"""
    max_length: int = Field(default=4096, ge=2)
    """longest prompt plus response in tokens; a model whose context is shorter gets what fits"""
    max_new_tokens: int | None = Field(default=None, ge=1)
    """longest response in tokens, where it is to be shorter than a suite's own"""
    human_eval_style: Literal["text", "chat"] = "text"
    """continue the function as text, which is official, or ask for it in a chat"""
    human_eval_samples: int = Field(default=1, ge=1)
    """samples a problem, for pass@k with k up to it"""
    human_eval_temperature: float = Field(default=0.0, ge=0)
    """0.2 for pass@1 and 0.8 for many samples are customary"""
    sandbox: Literal["isolated", "confined", "filtered", "limits"] = "confined"
    """the weakest sandbox in which generated code may run; below it nothing is run"""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.suite:
            raise ConfigError("benchmark: no suite to answer; give --suite")
        judged = [name for name in self.suite if name in JUDGED]
        if judged and not (self.judge or self.judge_url):
            raise ConfigError(f"benchmark: {judged[0]} needs a judge; give judge, or judge_url")
        if self.judge and self.judge_url:
            raise ConfigError("benchmark: one judge; give judge or judge_url")
        if bool(self.judge_url) != bool(self.judge_name):
            raise ConfigError("benchmark: judge_url and judge_name belong together")
        if self.against and not judged:
            raise ConfigError("benchmark: against is for suites that a judge grades")
        return self
