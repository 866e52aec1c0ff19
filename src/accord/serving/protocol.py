"""Requests of OpenAI's protocol, and what other servers' clients add to them.

A field that nobody knows is refused: a misspelt `temprature` would be silently ignored else. What
is known and means nothing here is listed, and accepted.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

MOST_CHOICES = 128
_Penalty = Field(default=0.0, ge=-2.0, le=2.0)


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class StreamOptions(_Asked):
    """What a stream tells beside text."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class Sampling(_Asked):
    """What both kinds of generation take."""

    model: str = Field(max_length=500)
    temperature: float | None = Field(default=1.0, ge=0, le=100)
    top_p: float | None = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=-1)
    min_p: float = Field(default=0.0, ge=0, le=1)
    presence_penalty: float | None = _Penalty
    frequency_penalty: float | None = _Penalty
    repetition_penalty: float = Field(default=1.0, gt=0, le=100)
    logit_bias: dict[str, float] | None = None
    n: int | None = Field(default=1, ge=1, le=MOST_CHOICES)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    max_tokens: int | None = Field(default=None, ge=0)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    user: str | None = Field(default=None, max_length=1000)
    store: Any = None
    metadata: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None

    @field_validator("stop")
    @classmethod
    def _few_stops(cls, stop: Any) -> Any:
        texts = [stop] if isinstance(stop, str) else stop or []
        if len(texts) > 16 or any(len(text) > 1000 for text in texts):
            raise ValueError("at most 16 stop strings of at most 1000 characters")
        return stop

    @property
    def stops(self) -> list[str]:
        """Stop strings."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or [])


class FunctionCall(_Asked):
    """A call as a message has it; `arguments` are JSON."""

    name: str
    arguments: str = "{}"


class ToolCall(_Asked):
    """A call of a tool in an assistant's message."""

    id: str = ""
    type: Literal["function"] = "function"
    function: FunctionCall
    index: int | None = None


class Part(BaseModel):
    """A piece of a message; only text can be read here."""

    type: Literal["text"]
    text: str


class ChatMessage(_Asked):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: Any = None
    reasoning_content: Any = None
    """what an app told beside its answer; clients send it back, and it is not read again"""

    @property
    def text(self) -> str:
        """All text of it."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class Function(_Asked):
    """A tool as the caller describes it."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    strict: bool | None = None


class Tool(_Asked):
    """What the model may ask for; the caller runs it."""

    type: Literal["function"] = "function"
    function: Function


class NamedFunction(_Asked):
    """A tool's name."""

    name: str


class NamedTool(_Asked):
    """The one tool that must be called."""

    type: Literal["function"] = "function"
    function: NamedFunction


class JsonSchema(_Asked):
    """A schema with its name."""

    name: str = "response"
    description: str | None = None
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")
    strict: bool | None = None


class ResponseFormat(_Asked):
    """What the response must be."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None


class ChatRequest(Sampling):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=2000)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = False
    top_logprobs: int | None = Field(default=0, ge=0, le=20)
    tools: list[Tool] | None = Field(default=None, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    modalities: list[Literal["text"]] | None = None
    reasoning_effort: Any = None
    verbosity: Any = None


class CompletionRequest(Sampling):
    """`POST /v1/completions`."""

    prompt: str | list[str] | list[int] | list[list[int]]
    logprobs: int | None = Field(default=None, ge=0, le=20)
    echo: bool | None = False
    best_of: int | None = None
    suffix: str | None = None

    @field_validator("prompt")
    @classmethod
    def _few_prompts(cls, prompt: Any) -> Any:
        if isinstance(prompt, list) and not prompt:
            raise ValueError("needs a prompt")
        if isinstance(prompt, list) and not isinstance(prompt[0], int) and len(prompt) > 256:
            raise ValueError("at most 256 prompts at once")
        return prompt


class EmbeddingRequest(_Asked):
    """`POST /v1/embeddings`."""

    model: str
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None

    @field_validator("input")
    @classmethod
    def _few_inputs(cls, given: Any) -> Any:
        is_many = isinstance(given, list) and bool(given) and not isinstance(given[0], int)
        if is_many and len(given) > 256:
            raise ValueError("at most 256 inputs at once")
        return given


class ScoreRequest(_Asked):
    """`POST /v1/score`: conversations that end with the response to be scored."""

    model: str
    conversations: list[list[ChatMessage]] = Field(min_length=1, max_length=256)
