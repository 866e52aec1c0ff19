"""A hub of one process: the requests that an upload makes, answered from memory over HTTP."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from huggingface_hub import constants

TOKEN = "hf_only-for-this-test"


class FakeHub:
    """Repositories by name, and what was asked; it knows one token of the user `ada`."""

    def __init__(self) -> None:
        self.private: dict[str, bool] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}
        self.refuses_objects = False
        self.url = ""

    def answer(self, method: str, path: str, body: bytes, token: str) -> tuple[int, Any]:
        """(status, JSON) of one request."""
        if path.startswith("/objects/"):
            if self.refuses_objects:
                return 403, {"error": "storage quota exceeded"}
            self.objects[path.removeprefix("/objects/")] = body
            return 200, {}
        if token != TOKEN:
            return 401, {"error": "Invalid credentials"}
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            assert json.loads(body)["content"].startswith("---\n")
            return 200, {"errors": [], "warnings": []}
        repo = next((name for name in self.private if f"/{name}" in path), None)
        if repo is None:
            return 404, {"error": "no such repository"}
        if method == "GET":
            return 200, {"id": repo, "private": self.private[repo]}
        if "/preupload/" in path:
            return 200, {
                "files": [
                    {"path": f["path"], "uploadMode": _mode(f["path"]), "shouldIgnore": False}
                    for f in json.loads(body)["files"]
                ]
            }
        if path.endswith("/info/lfs/objects/batch"):
            return 200, {"objects": [self._upload(o) for o in json.loads(body)["objects"]]}
        assert "/commit/" in path, path
        return self._commit(repo, body)

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        name = f"{asked['organization'] or 'ada'}/{asked['name']}"
        url = {"url": f"{self.url}/{name}"}
        if not name.startswith("ada/"):
            return 403, {"error": "You don't have the rights to create a model there"}
        if name in self.private:
            return 409, {"error": "You already created this model repo", **url}
        self.private[name] = asked.get("visibility") == "private" or asked.get("private") is True
        self.files[name] = {}
        return 200, url

    def _upload(self, asked: dict[str, Any]) -> dict[str, Any]:
        href = f"{self.url}/objects/{asked['oid']}"
        return {**asked, "actions": {"upload": {"href": href, "header": {}}}}

    def _commit(self, repo: str, body: bytes) -> tuple[int, Any]:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.files[repo][value["path"]] = base64.b64decode(value["content"])
            if line["key"] == "lfsFile":
                self.files[repo][value["path"]] = self.objects[value["oid"]]
        return 200, {"commitUrl": f"{self.url}/{repo}/commit/1", "commitOid": "1" * 40}


def _mode(path: str) -> str:
    return "lfs" if path.endswith(".safetensors") else "regular"


@contextmanager
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub on the loopback that huggingface_hub takes for the real one, logged in as `ada`."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self._body()
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, value = hub.answer(self.command, self.path.split("?")[0], body, token)
            text = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        do_GET = do_POST = do_PUT = _do  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
