"""Tools of an MCP server that is started here and spoken to over its stdin and stdout.

Source: modelcontextprotocol.io, revision 2025-06-18: JSON-RPC 2.0, a message a line; initialize,
tools/list, tools/call. A ping is answered; whatever else a server asks or tells is refused or
passed over: it is given nothing of this process but the arguments of calls and a few variables.
"""

import contextlib
import functools
import itertools
import json
import os
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from accord.core.errors import ConfigError
from accord.environments.tools import Tool, ToolError, is_tool_name

PROTOCOL = "2025-06-18"
INHERITED = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER")
"""Variables of this process that a server sees, as with MCP's own clients; others may be keys."""
_START_S = 30.0
_UNKNOWN_METHOD = -32601
_LONGEST_LINE = 8 << 20
_MOST_PAGES = 100
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


class McpServer:
    """A running server, and its tools; use it as a context, or close it.

    Args:
        command: program and arguments.
        environment: the server's own variables; None hands on those of INHERITED.
        timeout_s: for one call.

    Raises:
        ConfigError: the program does not start, or does not speak MCP.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self.name, self.timeout_s = " ".join(command), timeout_s
        if environment is None:
            environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=dict(environment),
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise ConfigError(f"MCP server {self.name}: does not start ({error})") from error
        self._waiting: dict[int, queue.SimpleQueue[dict[str, Any] | None]] = {}
        self._has_ended = False
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            about = {"name": "accord", "version": "1"}
            hello = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": about}
            self._request("initialize", hello, timeout_s=_START_S)
            self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        except ToolError as error:
            self.close()
            raise ConfigError(f"MCP server {self.name}: {error}") from error

    def tools(self) -> list[Tool]:
        """All that it offers and that can be called by name; which may run is the toolbox's matter.

        Raises:
            ConfigError: its list does not end.
        """
        found: list[Tool] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            asked = {} if cursor is None else {"cursor": cursor}
            page = self._request("tools/list", asked, timeout_s=_START_S)
            found += [
                self._tool(described)
                for described in page.get("tools", [])
                if isinstance(described, dict) and is_tool_name(described.get("name"))
            ]
            cursor = page.get("nextCursor")
            if not cursor:
                return found
        raise ConfigError(f"MCP server {self.name}: its list of tools does not end")

    def close(self) -> None:
        """End the server."""
        if self._lock.acquire(timeout=2):  # else a writer is stuck in the pipe, which killing frees
            try:
                with contextlib.suppress(OSError):
                    if self._process.stdin:
                        self._process.stdin.close()
            finally:
                self._lock.release()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "McpServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tool(self, described: Mapping[str, Any]) -> Tool:
        schema = described.get("inputSchema") or {"type": "object"}
        name = described["name"]
        return Tool(
            name,
            str(described.get("description", "")),
            schema,
            functools.partial(self._call, name),
            functools.partial(_checked, name, schema),
        )

    def _call(self, tool_name: str, /, **arguments: Any) -> str:
        asked = {"name": tool_name, "arguments": arguments}
        result = self._request("tools/call", asked, timeout_s=self.timeout_s)
        parts = [
            part["text"] if part.get("type") == "text" else f"({part.get('type')})"
            for part in result.get("content", [])
        ]
        text = "\n".join(map(str, parts))
        if result.get("isError"):
            raise ToolError(text or f"{tool_name} failed")
        return text

    def _request(self, method: str, params: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Several may be under way; an answer that nobody waits for any more is passed over."""
        number = next(self._numbers)
        mine: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._waiting[number] = mine
        try:
            if self._has_ended:
                raise ToolError("the server has ended")
            asked = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            self._send(asked, timeout_s)
            answer = mine.get(timeout=timeout_s)
        except queue.Empty:
            raise ToolError(f"{method} got no answer in {timeout_s:g} s") from None
        finally:
            del self._waiting[number]
        if answer is None:
            raise ToolError("the server has ended")
        if "error" in answer:
            error = answer["error"]
            said = error.get("message") if isinstance(error, dict) else error
            raise ToolError(f"{method}: {said}")
        result = answer.get("result")
        return result if isinstance(result, dict) else {}

    def _send(self, message: dict[str, Any], timeout_s: float = _START_S) -> None:
        assert self._process.stdin
        # A server that reads nothing fills the pipe: the next ones give up, and nothing is sent.
        if not self._lock.acquire(timeout=timeout_s):
            raise ToolError(f"the server read nothing in {timeout_s:g} s")
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise ToolError("the server has ended") from error
        finally:
            self._lock.release()

    def _listen(self) -> None:
        assert self._process.stdout
        # A pipe that is closed under the reader raises; both ends mean the same.
        with contextlib.suppress(OSError, ValueError):
            while line := self._process.stdout.readline(_LONGEST_LINE):
                with contextlib.suppress(ValueError, RecursionError):  # a print, and no message
                    message = json.loads(line)
                    if isinstance(message, dict):
                        self._read(message)
        self._has_ended = True
        for left in list(self._waiting.values()):
            left.put(None)
        self._process.stdout.close()

    def _read(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            self._answered(message)
        elif "id" in message:  # a question, which waits for an answer; a notification does not
            answer: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
            if message["method"] == "ping":
                answer["result"] = {}
            else:
                answer["error"] = {"code": _UNKNOWN_METHOD, "message": "not offered here"}
            with contextlib.suppress(ToolError):  # who has ended or reads nothing gets none
                self._send(answer)

    def _answered(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        mine = self._waiting.get(number) if isinstance(number, int) else None
        if mine is not None:
            mine.put(message)


def _checked(name: str, schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Names, and plain types; the rest is the server's to check."""
    properties = schema.get("properties") or {}
    missing = [key for key in schema.get("required") or [] if key not in arguments]
    unknown = [key for key in arguments if key not in properties]
    if missing or unknown:
        why = [f"{key}: is missing" for key in missing] + [f"{key}: is unknown" for key in unknown]
        raise ToolError(f"{name}: {'; '.join(why)}; expected {', '.join(properties) or 'nothing'}")
    for key, value in arguments.items():
        wanted = properties[key].get("type") if isinstance(properties[key], dict) else None
        kinds = _TYPES.get(wanted) if isinstance(wanted, str) else None
        is_truth = isinstance(value, bool) and wanted in ("integer", "number")
        if kinds and (not isinstance(value, kinds) or is_truth):
            raise ToolError(f"{name}: {key}: expected {wanted}, got {type(value).__name__}")
    return dict(arguments)
