"""A small MCP server over stdio, run as a program by the tests; `odd` has odd tools beside."""

import json
import os
import sys

TOOLS = [
    {
        "name": "add",
        "description": "Add two numbers.",
        "inputSchema": {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
            "required": ["a", "b"],
        },
    },
    {
        "name": "shout",
        "inputSchema": {
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
        },
    },
    {"name": "hang", "inputSchema": {"type": "object"}},
]
if "odd" in sys.argv:
    TOOLS += [
        {"name": "files.read"},
        {"name": "bad name"},
        {"title": "nameless"},
        {"name": "a/b-c"},
    ]


def called(name: str, given: dict) -> dict:
    if name == "add":
        return {"content": [{"type": "text", "text": str(given["a"] + given["b"])}]}
    if name == "shout":
        return {"content": [{"type": "text", "text": "too loud"}], "isError": True}
    if name == "files.read":
        return {"content": [{"type": "text", "text": " ".join(sorted(os.environ))}]}
    if name == "a/b-c":
        said = [asked("ping"), asked("sampling/createMessage")]
        return {"content": [{"type": "text", "text": json.dumps(said)}]}
    raise KeyError(name)


def asked(method: str) -> dict:
    """What the client answers."""
    print(json.dumps({"jsonrpc": "2.0", "id": f"{method}!", "method": method}), flush=True)
    return json.loads(sys.stdin.readline())


def main() -> None:
    print("a line that is no message", flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        method, params = message["method"], message.get("params", {})
        if "id" not in message or params.get("name") == "hang":
            continue
        answer: dict = {"jsonrpc": "2.0", "id": message["id"]}
        if method == "initialize":
            answer["result"] = {"protocolVersion": params["protocolVersion"], "capabilities": {}}
        elif method == "tools/list":
            at = int(params.get("cursor", 0))
            answer["result"] = {"tools": TOOLS[at : at + 2]}
            if at + 2 < len(TOOLS):
                answer["result"]["nextCursor"] = str(at + 2)
        elif method == "tools/call":
            told = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
            print(json.dumps(told), flush=True)
            answer["result"] = called(params["name"], params["arguments"])
        else:
            answer["error"] = {"code": -32601, "message": f"no {method}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
