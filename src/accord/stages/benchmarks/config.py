"""Knobs of the benchmark stage."""

from typing import Literal, Self

from pydantic import Field, model_validator

from accord.core.config import InputPath
from accord.core.errors import ConfigError
from accord.core.judge_config import JudgeConfig
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
    "reward_bench",
]
JUDGED = ("alpaca_eval", "mt_bench")
"""Suites that a judge grades."""
SCORED = ("reward_bench",)
"""Suites that ask for scores of given responses, and for no answers."""


class Config(SamplingConfig, JudgeConfig):
    """A model's answers to benchmarks, graded by their official procedures."""

    model_name_or_path: InputPath
    """the policy that answers; for reward_bench a reward model, or a policy and its reference"""
    suite: list[SuiteName]
    """which benchmarks; instruction_following, confidence and unanswerable ship, the others are
    read from files"""
    benchmarks: InputPath | None = None
    """directory of the benchmarks' files, .jsonl, .json or .csv, also gzipped: alpaca_eval/baseline
    (with concise, verbose, difficulty; against a model, instructions will do), mt_bench/question
    with reference_answer and judge_prompts, humaneval/HumanEval, gsm8k/test, xstest/xstest_prompts,
    reward_bench/filtered (or test, of its second version), and llmbar/, on which a judge is
    checked"""
    against: list[InputPath] = Field(default=[])
    """other policies: alpaca_eval and mt_bench become win rates against the first one's answers;
    with several, all are also ranked (Bradley-Terry)"""
    pairs: Literal["all", "baseline"] = "all"
    """what a ranking is made of: every pair of models, or each against the first of against"""
    human_judgements: list[InputPath] = Field(default=[])
    """files of people's judgements (prompt, response_a, response_b, verdict) of some of the pairs
    that the judge compares, drawn at random: they correct its win rates"""
    gold_comparisons: list[InputPath] = Field(default=[])
    """held-out comparisons of the same task, on which the judge is checked in LLMBar's place;
    columns chosen_model and rejected_model may say who wrote the two responses"""
    judge_author: str | None = None
    """the judge's own model as those columns call it: does it prefer what it wrote?"""
    judge_project: str | None = None
    """people as the judge: a project of the annotation store, where what is to be judged is put up;
    the stage ends with status 75 until they have done it (accord label), then goes on"""
    database: str | None = None
    """that store: a SQLite file or an SQLAlchemy URL (default: ACCORD_DATABASE_URL)"""
    judge_overlap: int = Field(default=1, ge=1)
    """people that judge each pair or answer"""
    people_grade: Literal["likert", "success"] = "likert"
    """what people are asked of a single answer (mt_bench without against): how helpful it is, from
    1 to 7, or whether it does the task"""
    reference: InputPath | None = None
    """the model that a directly optimised policy started from: reward_bench scores responses by the
    reward that the two imply"""
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
    gate: InputPath | None = None
    """TOML file of conditions, [SUITE.FIGURE] with at_least or at_most; where the model falls short
    the command ends with status 3"""
    sandbox: Literal["isolated", "confined", "filtered", "limits"] = "confined"
    """the weakest sandbox in which generated code may run; below it nothing is run"""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.suite:
            raise ConfigError("benchmark: no suite to answer; give --suite")
        judged = [name for name in self.suite if name in JUDGED]
        if judged and not (self.has_judge or self.judge_project):
            raise ConfigError(
                f"benchmark: {judged[0]} needs a judge; give judge, judge_url or judge_project"
            )
        if self.has_judge and self.judge_project:
            raise ConfigError("benchmark: one judge; give judge, judge_url or judge_project")
        if self.human_judgements and not judged:
            raise ConfigError("benchmark: human_judgements are for suites that a judge grades")
        if self.judge_author and not self.gold_comparisons:
            raise ConfigError("benchmark: judge_author wrote some of gold_comparisons; give these")
        if self.against and not judged:
            raise ConfigError("benchmark: against is for suites that a judge grades")
        if len(set(self.against)) < len(self.against):
            raise ConfigError("benchmark: a model is named twice in against")
        return self
