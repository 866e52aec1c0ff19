"""Tools: typed Python functions with JSON schemas, and the one place where any tool is called.

A tool runs only if the caller allowed it by name. Documents, observations and what other tools
return are never read for calls.
"""

import asyncio
import contextlib
import functools
import inspect
import json
import re
import threading
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from accord.core.errors import AccordError, ConfigError, describe_choice

MOST_CHARACTERS = 2000
"""Of a tool's result; what is longer is cut, visibly."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]{0,127}")


class ToolError(AccordError):
    """A tool cannot do what it was asked; the policy reads the message."""


@dataclass(frozen=True)
class Tool:
    """What a policy may call: `parameters` is a JSON schema of an object.

    `call` takes the checked arguments by name, and returns a value or an awaitable of one.
    `check` returns the arguments as `call` wants them, or raises a ToolError.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    call: Callable[..., Any]
    check: Callable[[Mapping[str, Any]], dict[str, Any]]

    def __post_init__(self) -> None:
        if not is_tool_name(self.name):
            raise ConfigError(
                f"a tool named {self.name!r}: expected letters, digits, _, ., / and -, at most 128"
            )

    @property
    def only_parameter(self) -> str | None:
        """The name of its single required parameter, if there is exactly one."""
        required = list(self.parameters.get("required", []))
        return required[0] if len(required) == 1 else None

    def as_openai(self) -> dict[str, Any]:
        """As chat endpoints describe tools."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }
        return {"type": "function", "function": function}


def is_tool_name(name: object) -> bool:
    """Whether a tool can be called so: MCP's names, but for those that begin with no letter."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def tool_of(function: Callable[..., Any], *, name: str | None = None) -> Tool:
    """A tool from a function: its type hints are the schema, its docstring the description.

    Raises:
        ConfigError: a parameter has no type hint, or takes any number of arguments.
    """
    name = name or function.__name__
    hints = typing.get_type_hints(function)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigError(f"tool {name}: *{parameter.name} cannot be described; name it")
        if parameter.name not in hints:
            raise ConfigError(f"tool {name}: give parameter {parameter.name} a type")
        is_required = parameter.default is parameter.empty
        fields[parameter.name] = (hints[parameter.name], ... if is_required else parameter.default)
    model = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
    schema = model.model_json_schema()
    schema.pop("title", None)

    def check(arguments: Mapping[str, Any]) -> dict[str, Any]:
        return _validated(model, name, arguments)

    description = inspect.getdoc(function) or ""
    return Tool(name, description, schema, function, check)


def _validated(model: type[BaseModel], name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    try:
        made = model.model_validate(dict(arguments))
    except ValidationError as error:
        why = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors()
        )
        raise ToolError(f"{name}: {why}") from None
    return {field: getattr(made, field) for field in type(made).model_fields}


@dataclass(frozen=True)
class ToolResult:
    """What a call gave; an error's text says what to do instead."""

    text: str
    is_error: bool = False


class Toolbox:
    """The tools that one caller allowed.

    Args:
        tools: known ones.
        allowed: names of those that may run; None allows all of `tools`, which is right where the
            caller listed them one by one.
        timeout_s: for one call.

    Raises:
        ConfigError: a name stands twice, or an allowed one is unknown.
    """

    def __init__(
        self,
        tools: Sequence[Tool],
        *,
        allowed: Collection[str] | None = None,
        timeout_s: float = 30.0,
        most_characters: int = MOST_CHARACTERS,
    ) -> None:
        known = {tool.name: tool for tool in tools}
        if len(known) < len(tools):
            raise ConfigError(f"two tools have one name among {[tool.name for tool in tools]}")
        for name in known if allowed is None else allowed:
            if name not in known:
                raise ConfigError(f"no tool {describe_choice(name, list(known))}")
        self.tools = {n: t for n, t in known.items() if allowed is None or n in allowed}
        self.timeout_s = timeout_s
        self.most_characters = most_characters

    async def call(self, name: str, arguments: Mapping[str, Any] | str) -> ToolResult:
        """Run a tool, if it was allowed; never raises for what a policy wrote.

        Args:
            name: of the tool.
            arguments: by name; or a text, for a tool with a single required parameter (or JSON).
        """
        tool = self.tools.get(name)
        if tool is None:
            known = ", ".join(self.tools) or "none"
            return ToolResult(f"there is no tool {name[:64]!r} here; there are: {known}", True)
        try:
            checked = tool.check(_by_name(tool, arguments))
            # Not `wait_for`: before Python 3.12 it loses a cancellation as the tool returns.
            async with asyncio.timeout(self.timeout_s):
                value = await _called(tool, checked)
            text = value if isinstance(value, str) else _json(value)
        except ToolError as error:
            return ToolResult(self._cut(str(error)), True)
        except TimeoutError:
            return ToolResult(f"{name} took longer than {self.timeout_s:g} s", True)
        except Exception as error:  # a user's function may fail in any way, and the loop goes on
            return ToolResult(self._cut(f"{name} failed: {type(error).__name__}: {error}"), True)
        return ToolResult(self._cut(text))

    def describe(self) -> str:
        """A line a tool, for a prompt."""
        return "\n".join(_line(tool) for tool in self.tools.values())

    def _cut(self, text: str) -> str:
        most = self.most_characters
        cut = text if len(text) <= most else f"{text[:most]} ... ({len(text) - most} more)"
        return cut.encode("utf-8", "replace").decode()  # no tokenizer reads half a character


def _by_name(tool: Tool, arguments: Mapping[str, Any] | str) -> Mapping[str, Any]:
    if not isinstance(arguments, str):
        return arguments
    text = arguments.strip()
    if text.startswith("{"):
        try:
            loaded = json.loads(text)
        except (ValueError, RecursionError):
            loaded = None
        if isinstance(loaded, dict) and (
            tool.only_parameter is None or tool.only_parameter in loaded
        ):
            return loaded
    if not text and not tool.parameters.get("required"):
        return {}
    if tool.only_parameter is None:
        names = ", ".join(tool.parameters.get("properties", {}))
        raise ToolError(f"{tool.name}: expected a JSON object with {names}")
    return {tool.only_parameter: _as_typed(tool, tool.only_parameter, text)}


def _as_typed(tool: Tool, name: str, text: str) -> Any:
    """`square[5]` calls with a number where one is wanted; the check says what is wrong."""
    rule = tool.parameters.get("properties", {}).get(name)
    kind = rule.get("type") if isinstance(rule, dict) else None
    if kind is None or "string" in kind:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


async def _called(tool: Tool, arguments: dict[str, Any]) -> Any:
    """A plain function in a thread, so that a slow one holds up nobody else."""
    if inspect.iscoroutinefunction(tool.call):
        return await tool.call(**arguments)
    value = await _in_thread(functools.partial(tool.call, **arguments))
    return await value if inspect.isawaitable(value) else value


def _in_thread(work: Callable[[], Any]) -> "asyncio.Future[Any]":
    """Its result. The loop's own executor would wait at its end for work that was given up."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result, failed = None, None
        try:
            result = work()
        except Exception as error:
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=run, daemon=True).start()
    return future


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _line(tool: Tool) -> str:
    properties = tool.parameters.get("properties", {})
    shown = tool.only_parameter or json.dumps(
        {name: rule.get("type", "value") for name, rule in properties.items()}
    )
    return f"{tool.name}[{shown}]: {' '.join(tool.description.split())}"
