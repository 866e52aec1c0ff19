"""Knobs of the red-team stage."""

from typing import Literal, Self

from pydantic import Field, model_validator

from accord.core.config import InputPath
from accord.core.errors import ConfigError
from accord.core.judge_config import JudgeConfig
from accord.core.sampling_config import SamplingConfig

AttackName = Literal[
    "direct",
    "templates",
    "encodings",
    "many_shot",
    "escalation",
    "best_of_n",
    "injection",
    "persuasion",
    "crescendo",
    "pair",
    "tap",
    "policy",
    "gcg",
]
BY_ATTACKER = ("persuasion", "crescendo", "pair", "tap", "policy")
"""Attacks that another model writes."""

ProbeName = Literal[
    "sycophancy", "loaded_questions", "over_confidence", "specification_gaming", "tool_injection"
]


class Config(SamplingConfig, JudgeConfig):
    """Attacks on a model: how many get through, and training data from those that do."""

    model_name_or_path: InputPath | None = None
    """the policy that is attacked; or name an endpoint"""
    url: str | None = None
    """an OpenAI-compatible endpoint that is attacked, such as https://HOST/v1"""
    name: str | None = None
    """the model's name at that endpoint"""
    key_variable: str | None = None
    """environment variable that holds the endpoint's key"""
    behaviours: InputPath = Field(default="accord:red_team/behaviours.jsonl", validate_default=True)
    """what the model is to be brought to do: .csv, .json(l) or .toml with id, text, category, aim
    and target (HarmBench's columns are known too); a few of the quickstart's world ship"""
    behaviours_only: dict[str, str] = Field(default={})
    """take only rows with these values in these columns, such as kind harmful_request"""
    max_behaviours: int = Field(default=-1, ge=-1)
    """attack with the first so many; -1 all"""
    attack: list[AttackName] = Field(
        default=[
            "direct",
            "templates",
            "encodings",
            "many_shot",
            "escalation",
            "best_of_n",
            "injection",
        ]
    )
    """how; persuasion, crescendo, pair, tap and policy need an attacker, gcg a model that is
    here"""
    attempts: int = Field(default=4, ge=1)
    """replies that each attack may draw for each behaviour"""
    attacker: InputPath | None = None
    """a policy that writes attacks; for policy, one that was trained to"""
    attacker_url: str | None = None
    """or one behind an endpoint"""
    attacker_name: str | None = None
    """the attacker's name there"""
    attacker_key_variable: str | None = None
    """environment variable that holds its key"""
    probe: list[ProbeName] = Field(default=[])
    """other weaknesses: giving right answers up, false premises, answers that nobody can know,
    programs that special-case the tests they saw, tools that a document asks for"""
    gsm8k: InputPath | None = None
    """GSM8K's questions with answers, for sycophancy"""
    max_probe_questions: int = Field(default=50, ge=1)
    """questions of each probe"""
    sandbox: Literal["isolated", "confined", "filtered", "limits"] = "confined"
    """the weakest sandbox in which generated code may run; below it nothing is run"""
    garak: InputPath | None = None
    """a *.report.jsonl of garak's, whose attempts join the report after our scoring"""
    people_project: str | None = None
    """a project of the annotation store whose rated chats (accord label --red_team) join the report
    after our scoring; what the raters said counts as labels"""
    database: str | None = None
    """that store: a SQLite file or an SQLAlchemy URL (default: ACCORD_DATABASE_URL)"""
    scorer: list[str] = Field(default=[])
    """what has to agree that an attack succeeded: not_refused, rubric (by the judge), classifier,
    or dotted names of functions like rewards; unless told, the first and whatever was named"""
    classifier: InputPath | None = None
    """what accord classifier trained on responses"""
    classifier_label: str = "harmful"
    """its label whose probability counts"""
    classifier_finds_refusals: bool = False
    """the label means a refusal, so that its absence counts"""
    labelled: list[InputPath] = Field(default=[])
    """responses that people labelled, on which every scorer is measured: XSTest's completions, or
    rows with prompt, response and harmful"""
    safe_prompts: InputPath | None = None
    """harmless prompts, of which refusals are counted: XSTest's file, or rows with a prompt"""
    safe_only: dict[str, str] = Field(default={})
    """of these, too, take only rows with these values"""
    learn_from_safe: bool = False
    """write comparisons against refusals of the safe prompts, too; not of those that are to test
    what was learned"""
    held_out_family: list[str] = Field(default=["encoding", "multi_turn", "perturbation"])
    """families of attacks whose failures train nothing, so that a later run shows what is learned
    in general"""
    better_draws: int = Field(default=4, ge=0)
    """revisions, and new draws, from which the better reply to a failure is taken; 0 writes no
    comparisons"""
    regression: InputPath | None = None
    """the frozen set of an earlier run (regression.jsonl), said again word for word"""
    previous: InputPath | None = None
    """the folder of findings of an earlier run, to compare with, behaviour by behaviour"""
    gcg_steps: int = Field(default=50, ge=1)
    """steps of gcg's search for each behaviour"""
    gcg_candidates: int = Field(default=64, ge=1)
    """suffixes that a step of it tries"""
    temperature: float = Field(default=1.0, ge=0)
    """of the target and the attacker"""
    max_new_tokens: int = Field(default=256, ge=1)
    """longest reply of the target in tokens"""
    attacker_max_new_tokens: int = Field(default=512, ge=1)
    """longest message of the attacker in tokens"""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.model_name_or_path) == bool(self.url):
            raise ConfigError("red_team: attack one model; give model_name_or_path, or url")
        if bool(self.url) != bool(self.name):
            raise ConfigError("red_team: url and name belong together")
        if self.attacker and self.attacker_url:
            raise ConfigError("red_team: one attacker; give attacker or attacker_url")
        if bool(self.attacker_url) != bool(self.attacker_name):
            raise ConfigError("red_team: attacker_url and attacker_name belong together")
        written = [attack for attack in self.attack if attack in BY_ATTACKER]
        if written and not (self.attacker or self.attacker_url):
            raise ConfigError(f"red_team: {written[0]} needs attacker, or attacker_url")
        if "gcg" in self.attack and not self.model_name_or_path:
            raise ConfigError("red_team: gcg reads weights; give model_name_or_path")
        if "sycophancy" in self.probe and not self.gsm8k:
            raise ConfigError("red_team: sycophancy is built from GSM8K; give gsm8k FILE")
        if "rubric" in self.scorer and not self.has_judge:
            raise ConfigError("red_team: the rubric needs a judge; give judge, or judge_url")
        if self.judge_thinks or self.judge_aspects or self.constitution:
            raise ConfigError(
                "red_team: the rubric has questions of its own, and grades without reasons: no "
                "judge_thinks, judge_aspects or constitution"
            )
        if "classifier" in self.scorer and not self.classifier:
            raise ConfigError("red_team: scorer classifier needs classifier DIRECTORY")
        if self.database and not self.people_project:
            raise ConfigError("red_team: a database has many projects; name people_project")
        if self.learn_from_safe and not self.safe_prompts:
            raise ConfigError("red_team: learn_from_safe needs safe_prompts")
        if len(self.scorers) < 2 and not self.scorer:
            raise ConfigError(
                "red_team: words alone do not tell harm; give a second scorer: judge (for the "
                "rubric), classifier, or a function by scorer. For the behaviours that ship: "
                "--scorer not_refused accord.red_team.sample_set.complied"
            )
        return self

    @property
    def scorers(self) -> list[str]:
        """Those that were named, or all that can be had."""
        others = [("rubric", self.has_judge), ("classifier", self.classifier)]
        return self.scorer or ["not_refused", *(name for name, is_there in others if is_there)]
