"""What an endpoint that speaks text, and nothing but text, answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

FailureKind = Literal["timeout", "unreachable", "rate_limit", "server", "refused", "malformed"]


@dataclass(frozen=True)
class ChatReply:
    """One answer. `top_logprobs` (nats) are of its first token, by the token's text, where the
    endpoint tells them; `finish` is "length" where the answer was cut off. Tokens are as charged.
    What no store takes, NUL and half a surrogate pair, is replaced in the text.
    """

    text: str
    finish: Literal["stop", "length"] = "stop"
    top_logprobs: Mapping[str, float] = field(default_factory=dict)
    prompt_tokens: int = field(default=0, compare=False)
    completion_tokens: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        text = self.text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        object.__setattr__(self, "text", text)


@dataclass(frozen=True)
class ChatFailure:
    """Why there is no answer, after whatever retries helped nothing.

    "refused" is an HTTP error that a second try would meet again, or an answer of which a filter
    left nothing: of this question, and not of others. "malformed" is a body that is no answer.
    """

    kind: FailureKind
    message: str
