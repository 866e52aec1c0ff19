"""A chat client that answers by a function of the conversation and the seed."""

from collections.abc import Callable, Sequence
from typing import Any

from accord.core.chat import ChatFailure, ChatReply
from accord.core.types import Message


class ScriptedClient:
    name = "scripted"

    def __init__(
        self, answer: Callable[[Sequence[Message], int], ChatReply | ChatFailure | str]
    ) -> None:
        self.answer = answer
        self.asked: list[tuple[list[Message], dict[str, Any]]] = []

    def complete(
        self, conversations: Sequence[Sequence[Message]], **options: Any
    ) -> list[ChatReply | ChatFailure]:
        self.asked += [(list(conversation), options) for conversation in conversations]
        said = [self.answer(c, options.get("seed", 0)) for c in conversations]
        return [ChatReply(s) if isinstance(s, str) else s for s in said]
