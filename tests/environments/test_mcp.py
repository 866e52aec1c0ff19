"""Tools of an MCP server over stdio."""

import asyncio
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from accord.core.errors import ConfigError
from accord.corpora.encoding import ChatEncoder
from accord.environments.mcp import McpServer
from accord.environments.named import Settings, environment_factory
from accord.environments.tools import Toolbox, ToolResult
from environments.scripted import asked, play_script

DOUBLE = [sys.executable, str(Path(__file__).with_name("mcp_double.py"))]


@pytest.fixture
def server() -> Iterator[McpServer]:
    with McpServer(DOUBLE, timeout_s=20.0) as running:
        yield running


def call(box: Toolbox, name: str, arguments: object) -> ToolResult:
    return asyncio.run(box.call(name, arguments))  # type: ignore[arg-type]


def test_its_tools_are_called(server: McpServer) -> None:
    tools = server.tools()
    assert [tool.name for tool in tools] == ["add", "shout", "hang"]
    box = Toolbox(tools, allowed=["add", "shout"])
    assert call(box, "add", '{"a": 1.5, "b": 2}') == ToolResult("3.5")
    assert call(box, "shout", "hello") == ToolResult("too loud", True)
    assert call(box, "add", {"a": 1}).text == "add: b: is missing; expected a, b"
    assert call(box, "add", {"a": 1, "b": 2, "c": 3}).is_error
    assert "expected number, got str" in call(box, "add", {"a": "1", "b": 2}).text
    assert "expected number, got bool" in call(box, "add", {"a": True, "b": 2}).text
    assert "there is no tool 'hang'" in call(box, "hang", {}).text


def test_names_of_all_that_the_protocol_allows_can_be_called() -> None:
    with McpServer([*DOUBLE, "odd"]) as server:
        tools = server.tools()
    assert [tool.name for tool in tools] == ["add", "shout", "hang", "files.read", "a/b-c"]


def test_a_server_sees_no_keys_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCORD_ADMIN_KEY", "secret")
    with McpServer([*DOUBLE, "odd"]) as server:
        seen = call(Toolbox(server.tools()), "files.read", {}).text.split()
    assert "PATH" in seen and "ACCORD_ADMIN_KEY" not in seen
    with McpServer([*DOUBLE, "odd"], environment={"TOKEN": "t"}) as server:
        seen = call(Toolbox(server.tools()), "files.read", {}).text.split()
    assert "TOKEN" in seen and "PATH" not in seen


def test_what_a_server_asks_is_answered() -> None:
    with McpServer([*DOUBLE, "odd"], timeout_s=20.0) as server:
        said = json.loads(call(Toolbox(server.tools()), "a/b-c", {}).text)
    refused = {"code": -32601, "message": "not offered here"}
    assert said == [
        {"jsonrpc": "2.0", "id": "ping!", "result": {}},
        {"jsonrpc": "2.0", "id": "sampling/createMessage!", "error": refused},
    ]


def test_a_server_that_hangs_or_ends_is_told(server: McpServer) -> None:
    box = Toolbox(server.tools())
    server.timeout_s = 0.1
    assert "no answer in 0.1 s" in call(box, "hang", {}).text
    server.timeout_s = 20.0
    assert call(box, "add", {"a": 1, "b": 1}).text == "2", "it goes on afterwards"
    server.close()
    assert "has ended" in call(box, "add", {"a": 1, "b": 1}).text


def test_a_call_that_hangs_holds_up_no_other(server: McpServer) -> None:
    box = Toolbox(server.tools())

    async def both() -> ToolResult:
        hung = asyncio.create_task(box.call("hang", {}))
        await asyncio.sleep(0.1)  # it has been sent
        found = await asyncio.wait_for(box.call("add", {"a": 1, "b": 1}), 10)
        hung.cancel()
        return found

    assert asyncio.run(both()).text == "2"


def test_what_is_no_server_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not start"):
        McpServer(["no-such-program-here"])
    with pytest.raises(ConfigError, match="the server has ended"):
        McpServer([sys.executable, "-c", "print('hello')"])


def test_react_runs_the_named_ones_alone(tiny_model_dir: Path) -> None:
    command = shlex.join(DOUBLE)
    with pytest.raises(ConfigError, match="name the tools that may run.*: add, shout, hang"):
        environment_factory("react", Settings(mcp=(command,)))
    with pytest.raises(ConfigError, match="no tool 'ad'; did you mean 'add'"):
        environment_factory("react", Settings(mcp=(command,), tools=("ad",)))
    make = environment_factory("react", Settings(mcp=(command,), tools=("add",)))
    encoder = ChatEncoder(AutoTokenizer.from_pretrained(tiny_model_dir))
    played = play_script(
        encoder, make, asked("1 + 2?", answer=3), 'Action: add[{"a": 1, "b": 2}]',
        "Action: shout[hello]", "Action: finish[3]",
    )  # fmt: skip
    said = [turn.reply.observation[0]["content"] for turn in played.turns[:-1]]
    assert said == ["Observation: 3", "Observation: there is no tool 'shout' here; there are: add"]
    assert played.rollout.score == 1.0


def test_react_calls_names_with_dots_and_slashes(tiny_model_dir: Path) -> None:
    command = shlex.join([*DOUBLE, "odd"])
    make = environment_factory("react", Settings(mcp=(command,), tools=("files.read", "a/b-c")))
    encoder = ChatEncoder(AutoTokenizer.from_pretrained(tiny_model_dir))
    played = play_script(
        encoder, make, asked("what is set?"), "Action: files.read[]", "a/b-c[{}]",
        "Action: finish[all]",
    )  # fmt: skip
    first, second = (turn.reply.notes["result"] for turn in played.turns[:-1])
    assert not first.is_error and "PATH" in first.text
    assert not second.is_error and "ping!" in second.text


def test_a_list_of_tools_without_an_end_is_refused() -> None:
    program = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        result = {"tools": [], "nextCursor": "again"}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""
    with (
        McpServer([sys.executable, "-c", program]) as server,
        pytest.raises(ConfigError, match="does not end"),
    ):
        server.tools()
