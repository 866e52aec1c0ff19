"""`/v1/chat/completions`: conversations to answers, whole or streamed."""

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from accord.core.types import GeneratedToken, GenerationRequest
from accord.serving.generating import (
    Piece,
    Usage,
    gathered,
    pieces,
    refuse_vast,
    room_for,
    to_requests,
)
from accord.serving.guards import Guards
from accord.serving.protocol import ChatRequest
from accord.serving.refusals import ApiError
from accord.serving.served import Served
from accord.serving.structure import Structure, structure_for, tool_call_structure
from accord.serving.tools import CallStream, forced_tools, to_messages


class ChatAnswer(ABC):
    """One request for a chat completion, in the protocol's form; its pieces are subclasses' matter.

    Attributes:
        guards: read the response before the client does.
        messages: the conversation as the template knows it.
        count: of choices.
        usage: tokens so far.

    Args:
        asked: what the client sent.
        served: who answers.
        name: of the response.
        created: seconds since 1970.

    Raises:
        AccordError: it cannot be answered.
    """

    def __init__(self, asked: ChatRequest, served: Served, *, name: str, created: int) -> None:
        self.asked, self.served = asked, served
        self.name, self.created = name, created
        self.guards = Guards([])
        if asked.top_logprobs and not asked.logprobs:
            raise ApiError(400, "top_logprobs needs logprobs", param="top_logprobs")
        self.messages = to_messages(asked)
        refuse_vast(served, sum(len(m["content"]) for m in self.messages))
        self.tools = [] if asked.tool_choice == "none" else asked.tools or []
        self.count = asked.n or 1
        self.most = asked.max_completion_tokens or asked.max_tokens
        self.usage = Usage()

    @abstractmethod
    def made(self) -> AsyncGenerator[Piece, None]:
        """The pieces of all choices, before the guards have read them."""

    def inputs(self) -> list[str]:
        """What the client says, as the policy will read it: tools and their calls, too."""
        return [message["content"] for message in self.messages]

    def _pieces(self) -> AsyncGenerator[Piece, None]:
        return self.guards.watched(self.made(), self.count)

    async def whole(self) -> dict[str, Any]:
        """The answer in one piece."""
        found = await gathered(self._pieces(), self.count)
        return {
            **self._frame("chat.completion"),
            "choices": [self._choice(piece) for piece in found],
            "usage": self.usage.shown(),
        }

    async def chunks(self) -> AsyncGenerator[dict[str, Any], None]:
        """The same as a stream."""
        calls = [CallStream(self._tool_names) for _ in range(self.count)]
        is_begun = False
        async with contextlib.aclosing(self._pieces()) as found:
            async for piece in found:
                for index in range(0 if is_begun else self.count):
                    yield self._chunk(index, {"role": "assistant", "content": ""})
                is_begun = True
                reader = calls[piece.index]
                text, made = self._read(reader, piece.text, is_last=piece.finish is not None)
                delta: dict[str, Any] = {"content": text} if text else {}
                if piece.aside:
                    delta["reasoning_content"] = piece.aside
                if made:
                    delta["tool_calls"] = made
                if delta or piece.tokens:
                    yield self._chunk(piece.index, delta, tokens=piece.tokens)
                if piece.finish is not None:
                    yield self._last_chunk(piece, reader.count)
        if self.asked.stream_options and self.asked.stream_options.include_usage:
            yield {
                **self._frame("chat.completion.chunk"),
                "choices": [],
                "usage": self.usage.shown(),
            }

    def _read(
        self, reader: CallStream, text: str, *, is_last: bool
    ) -> tuple[str, list[dict[str, Any]]]:
        return reader.add(text, is_last=is_last) if self.tools else (text, [])

    @staticmethod
    def _end(finish: str | None, calls: int) -> str | None:
        return "tool_calls" if calls and finish != "content_filter" else finish

    @property
    def _tool_names(self) -> list[str]:
        return [tool.function.name for tool in self.tools]

    def _choice(self, piece: Piece) -> dict[str, Any]:
        text, calls = self._read(CallStream(self._tool_names), piece.text, is_last=True)
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if piece.aside:
            message["reasoning_content"] = piece.aside
        if calls:
            made = [{k: v for k, v in call.items() if k != "index"} for call in calls]
            message |= {"content": text or None, "tool_calls": made}
        choice = {
            "index": piece.index,
            "message": message,
            "logprobs": self._logprobs(piece.tokens),
            "finish_reason": self._end(piece.finish, len(calls)),
        }
        if piece.outcome:
            message["refusal"] = piece.outcome.refusal
            choice["app"] = piece.outcome.shown
        return choice

    def _last_chunk(self, piece: Piece, calls: int) -> dict[str, Any]:
        outcome = piece.outcome
        delta = {"refusal": outcome.refusal} if outcome and outcome.refusal else {}
        chunk = self._chunk(piece.index, delta, finish=self._end(piece.finish, calls))
        if outcome:
            chunk["choices"][0]["app"] = outcome.shown
        return chunk

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        tokens: Sequence[GeneratedToken] = (),
        finish: str | None = None,
    ) -> dict[str, Any]:
        logprobs = self._logprobs(tokens) if tokens else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        usage = {"usage": None} if self.asked.stream_options else {}
        return {**self._frame("chat.completion.chunk"), "choices": [choice], **usage}

    def _frame(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.name,
            "object": kind,
            "created": self.created,
            "model": self.asked.model,
            "system_fingerprint": self.served.version,
        }

    def _logprobs(self, tokens: Sequence[GeneratedToken]) -> dict[str, Any] | None:
        if not self.asked.logprobs:
            return None
        shown = [
            {**self._told(t.token_id, t.logprob), "top_logprobs": [self._told(*p) for p in t.top]}
            for t in tokens
            if t.token_id != self.served.encoder.end_of_turn_id
        ]
        return {"content": shown, "refusal": None}

    def _told(self, token_id: int, logprob: float) -> dict[str, Any]:
        written = self.served.bytes_of[token_id]
        text = token_text(self.served, token_id)
        return {"token": text, "logprob": logprob, "bytes": None if written is None else [*written]}


class Chat(ChatAnswer):
    """The next turn, as the model itself says it."""

    def __init__(self, asked: ChatRequest, served: Served, *, name: str, created: int) -> None:
        super().__init__(asked, served, name=name, created=created)
        self.prompt = served.encoder.encode_prompt(self.messages)
        self.requests = self._requests(room_for(served, self.prompt, self.most))
        self.usage.prompt = len(self.prompt)

    def made(self) -> AsyncGenerator[Piece, None]:
        """See `ChatAnswer`."""
        return pieces(self.served, self.requests, self.asked.stops, self.usage)

    def _requests(self, most: int) -> list[GenerationRequest]:
        asked = self.asked
        top = (asked.top_logprobs or 0) if asked.logprobs else None
        structure = self._structure()
        filters = [structure.new_filter() for _ in range(self.count)] if structure else []
        return to_requests(asked, [self.prompt], most=most, top_logprobs=top, token_filters=filters)

    def _structure(self) -> Structure | None:
        forced = forced_tools(self.asked)
        if forced:
            return tool_call_structure(self.served, forced)
        form = self.asked.response_format
        if form is None or form.type == "text":
            return None
        if form.type == "json_object":
            return structure_for(self.served, {"type": "object"})
        if form.json_schema is None:
            raise ApiError(400, "response_format: json_schema is missing", param="response_format")
        return structure_for(self.served, form.json_schema.schema_)


def token_text(served: Served, token_id: int) -> str:
    """A token as clients are shown it; special ones by their names."""
    return str(served.encoder.tokenizer.decode([token_id]))


def event(body: dict[str, Any]) -> bytes:
    """A line of a stream."""
    return b"data: " + json.dumps(body, ensure_ascii=False).encode("utf-8", "replace") + b"\n\n"
