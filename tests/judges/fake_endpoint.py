"""A chat endpoint on the loopback that answers as a test tells it to."""

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self


class Raw(NamedTuple):
    """An HTTP answer; `drip_s` waits before each byte of it, `announced` lies about its length."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = {}
    drip_s: float = 0.0
    announced: int | None = None


def completion(text: str | None, *, finish: str = "stop", top: Mapping[str, float] = {}) -> Raw:
    """A chat completion; `top` are log-probs of the first token."""
    choice: dict[str, Any] = {"message": {"content": text}, "finish_reason": finish}
    if top:
        entries = [{"token": token, "logprob": logprob} for token, logprob in top.items()]
        choice["logprobs"] = {"content": [{"top_logprobs": entries}]}
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    return Raw(body=json.dumps({"choices": [choice], "usage": usage}).encode())


class FakeEndpoint:
    """Serves while the context lasts; `answer` is given each request's JSON and its number."""

    def __init__(self, answer: Callable[[dict[str, Any], int], Raw]) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.over = threading.Event()
        """set at the end, so that nothing waits longer"""
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                endpoint._serve(self)

            do_GET = do_POST  # noqa: N815 (the library looks for this name)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False  # whoever is being answered is waited for
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length", 0))
        request = json.loads(handler.rfile.read(length) or b"{}")
        with self._lock:
            number = len(self.requests)
            self.requests.append(request)
            self.headers.append(dict(handler.headers))
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        raw = self.answer(request, number)
        with self._lock:
            self._now -= 1
        try:
            handler.send_response(raw.status)
            for name, value in raw.headers.items():
                handler.send_header(name, value)
            announced = len(raw.body) if raw.announced is None else raw.announced
            handler.send_header("Content-Length", str(announced))
            handler.end_headers()
            for piece in [raw.body] if not raw.drip_s else [bytes([b]) for b in raw.body]:
                if raw.drip_s and self.over.wait(raw.drip_s):
                    return
                handler.wfile.write(piece)
                handler.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client lost its patience
