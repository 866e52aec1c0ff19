"""Knobs of an environment that a policy learns in."""

from typing import Literal, Self

from pydantic import Field, model_validator

from accord.core.config import InputPath
from accord.core.errors import ConfigError
from accord.stages.policy_training.refresh_config import RefreshConfig


class EnvironmentConfig(RefreshConfig):
    """What answers the policy, and pays it; without one, responses are single and scored after."""

    environment: str | None = None
    """what the policy acts in, and is paid by, in place of a reward: conversation, cot, pal, react,
    rag, calculator, or the dotted name of a function from settings to a factory; the prompts'
    column `answer` holds the right answers"""
    environment_documents: InputPath | None = None
    """documents that rag and react search: a folder of texts, or rows of title and text"""
    environment_tools: list[str] = Field(default=[])
    """what react may call: calculator, program, search, lookup, dotted names of typed functions;
    nothing else ever runs. Left out, all of the first four that there is something for"""
    environment_mcp: list[str] = Field(default=[])
    """commands that start MCP servers, of whose tools those of environment_tools may run"""
    environment_embedding: InputPath | None = None
    """a model by which documents are searched beside BM25: a language model by its pooled states,
    or a directory of sentence-transformers"""
    environment_passages: int = Field(default=5, ge=1)
    """most passages that rag shows before a question"""
    environment_min_coverage: float = Field(default=0.6, ge=0, le=1)
    """share of a question's words below which rag shows no passage"""
    environment_verifies: bool = False
    """whether cot asks for a check of the steps at the end"""
    environment_retries: int = Field(default=0, ge=0)
    """programs that pal may write after one that failed"""
    environment_exemplars: InputPath | None = None
    """JSON, a list of conversations that show cot, pal, react or calculator how it is done, in
    place of those that ship"""
    environment_sandbox: Literal["limits", "filtered", "confined", "isolated"] = "confined"
    """the weakest level at which programs may run"""
    max_turns: int = Field(default=8, ge=1)
    """actions of an episode in an environment; each is at most max_completion_length long, and the
    prompt, the actions and the observations together are at most max_length"""
    call_reward: float = Field(default=0.0, ge=0)
    """paid once an episode for a tool call that worked, beside 1 for the right answer"""

    @model_validator(mode="after")
    def _is_paid_once(self) -> Self:
        if self.environment is None:
            for name, field in type(self).model_fields.items():
                if name.startswith("environment_") and getattr(self, name) != field.default:
                    raise ConfigError(f"{name} needs environment")
            return self
        if self.reward_model_name_or_path or self.reward_funcs:
            raise ConfigError(
                f"environment {self.environment} pays the policy itself; leave out "
                "reward_model_name_or_path and reward_funcs (gold_funcs may watch)"
            )
        if self.ask_again:
            raise ConfigError("ask_again doubts single answers; leave it out in an environment")
        return self
