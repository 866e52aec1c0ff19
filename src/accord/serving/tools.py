"""Tools in a conversation: how the model is told of them, and how its calls are read.

The form is Hermes', which many open models are trained on: tools are listed in the system message,
a call is `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, a result comes back in
`<tool_response>`. All of it is message text, which no template has to know.
"""

import json
import secrets
from collections.abc import Sequence
from typing import Any

from accord.core.types import Message
from accord.serving.protocol import ChatMessage, ChatRequest, NamedTool, Tool
from accord.serving.refusals import ApiError
from accord.serving.text import held_back

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_TELL = """You may call these tools, each described by a JSON schema:
{tools}
To call one, answer with
<tool_call>{{"name": NAME, "arguments": {{...}}}}</tool_call>"""


def to_messages(asked: ChatRequest) -> list[Message]:
    """Turns as the template knows them: system, user and assistant."""
    tools = [] if asked.tool_choice == "none" else asked.tools or []
    found: list[Message] = []
    if tools:
        found.append(Message(role="system", content=_told(tools)))
    for message in asked.messages:
        role, text = _turn(message)
        if found and found[-1]["role"] == role and role in ("system", "user"):
            found[-1] = Message(role=role, content=f"{found[-1]['content']}\n\n{text}")
        else:
            found.append(Message(role=role, content=text))
    return found


def _told(tools: Sequence[Tool]) -> str:
    lines = [json.dumps(tool.function.model_dump(exclude_none=True)) for tool in tools]
    return _TELL.format(tools="\n".join(lines))


def _turn(message: ChatMessage) -> tuple[str, str]:
    if message.role == "tool":
        return "user", f"<tool_response>\n{message.text}\n</tool_response>"
    role = "system" if message.role == "developer" else message.role
    calls = [
        f'{OPEN}{{"name": {json.dumps(call.function.name)}, "arguments": {call.function.arguments}'
        f"}}{CLOSE}"
        for call in message.tool_calls or []
    ]
    return role, "\n".join([*([message.text] if message.text else []), *calls])


def forced_tools(asked: ChatRequest) -> list[Tool]:
    """Those of which one must be called; none where the model may choose.

    Raises:
        ApiError: there is no such tool.
    """
    tools = asked.tools or []
    if isinstance(asked.tool_choice, NamedTool):
        name = asked.tool_choice.function.name
        tools = [tool for tool in tools if tool.function.name == name]
        if not tools:
            raise ApiError(400, f"tool_choice: no tool {name!r} is given", param="tool_choice")
        return tools
    if asked.tool_choice == "required":
        if not tools:
            raise ApiError(400, "tool_choice: no tools are given", param="tool_choice")
        return tools
    return []


class CallStream:
    """Takes tool calls out of a response's text as it comes.

    A call that is no JSON of this form, or of a tool that the caller did not name, stays text.

    Attributes:
        count: calls so far.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.count = 0
        self._names = set(names)
        self._held = ""
        self._has_shown = False

    def add(self, text: str, *, is_last: bool = False) -> tuple[str, list[dict[str, Any]]]:
        """Text to show, and whole calls as the protocol has them."""
        self._held += text
        shown, calls = "", []
        while True:
            start = self._held.find(OPEN)
            if start < 0:
                kept = 0 if is_last else held_back(self._held, [OPEN])
                shown += self._held[: len(self._held) - kept]
                self._held = self._held[len(self._held) - kept :]
                break
            end = self._held.find(CLOSE, start)
            if end < 0 and not is_last:
                shown += self._held[:start]
                self._held = self._held[start:]
                break
            inside = self._held[start + len(OPEN) : end if end >= 0 else None]
            after = end + len(CLOSE) if end >= 0 else len(self._held)
            call = self._parsed(inside)
            shown += self._held[: start if call else after]
            calls += [call] if call else []
            self._held = self._held[after:]
        if calls:  # spaces beside them are the form's, not the answer's
            shown = shown.rstrip() if self._has_shown else shown.strip()
        self._has_shown |= bool(shown)
        return shown, calls

    def _parsed(self, inside: str) -> dict[str, Any] | None:
        try:
            said = json.loads(inside)
        except ValueError:
            return None
        if not isinstance(said, dict) or said.get("name") not in self._names:
            return None
        arguments = said.get("arguments", {})
        if not isinstance(arguments, dict):
            return None
        self.count += 1
        return {
            "index": self.count - 1,
            "id": f"call_{secrets.token_hex(12)}",
            "type": "function",
            "function": {"name": said["name"], "arguments": json.dumps(arguments)},
        }
