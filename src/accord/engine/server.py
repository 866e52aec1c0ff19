"""An engine behind HTTP, for trainers in other processes or on other machines.

    accord engine --model_name_or_path M --engine vllm --port 8711
    accord ppo --engine remote --engine_url http://127.0.0.1:8711 ...

It listens on loopback unless it is told otherwise, and then only with a token, in the environment
as ACCORD_ENGINE_TOKEN, for whoever reaches it can change its weights. Bodies are JSON, weights are
safetensors: nothing that is sent is executed.
"""

import hmac
import json
import threading
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from safetensors.torch import load as load_tensors

from accord.core.errors import AccordError, ConfigError
from accord.core.interfaces import Engine, Generation
from accord.core.types import GenerationRequest, SamplingParams

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_MOST_JSON = 64 * 2**20


class EngineServer:
    """One engine, whose clients take turns; each has generations of its own.

    Args:
        engine: what samples; only this server may use it.
        about: what a client compares with its own model (`end_of_turn_id`, `vocabulary`).
        host: where to listen.
        port: 0 takes any free one; see `address`.
        token: clients must send it, if it is given.
        most_weight_bytes: a larger body of weights is refused.

    Raises:
        ConfigError: another host than loopback without a token, or the port is taken.
    """

    def __init__(
        self,
        engine: Engine,
        about: dict[str, int],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        most_weight_bytes: int = 2**40,
    ) -> None:
        if host not in LOOPBACK and not token:
            raise ConfigError(
                f"an engine on {host} can be given weights by anybody who reaches it: set "
                "ACCORD_ENGINE_TOKEN here and for the trainer, or listen on 127.0.0.1"
            )
        self.engine = engine
        self.about = about
        self.token = token
        self.most_weight_bytes = most_weight_bytes
        self._lock = threading.Lock()
        self._sessions: dict[str, dict[str, _Sent]] = {}
        try:
            self._http = ThreadingHTTPServer((host, port), _handler(self))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port} ({error}); choose another"
            ) from error
        self._http.daemon_threads = True

    @property
    def address(self) -> str:
        """The URL that clients are given."""
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}"

    def serve(self) -> None:
        """Answer until `stop`, or Ctrl-C."""
        try:
            self._http.serve_forever(poll_interval=0.1)
        finally:
            self._http.server_close()
            self.engine.close()

    def stop(self) -> None:
        """End `serve`, from another thread."""
        self._http.shutdown()

    def answer(self, path: str, query: dict[str, list[str]], body: bytes) -> dict[str, Any]:
        """One request's reply; the engine does one thing at a time."""
        if path == "/about":
            return dict(self.about)
        with self._lock:
            if path == "/weights":
                version = int(query["version"][0])
                self.engine.load_weights(load_tensors(body), version=version)
                return {"version": version}
            message = json.loads(body or b"{}")
            if path == "/open":
                session = uuid.uuid4().hex
                self._sessions[session] = {}
                return {"session": session}
            mine = self._sessions[message["session"]]
            for name in message.get("cancelled", ()):
                if name in mine:
                    mine.pop(name).generation.cancel()
            if path == "/submit":
                return {"ids": self._submit(mine, message["requests"])}
            if path == "/advance":
                return self._advance(mine, message["id"], int(message["count"]))
            for sent in self._sessions.pop(message["session"]).values():  # /close
                sent.generation.cancel()
            return {}

    def _submit(self, mine: "dict[str, _Sent]", requests: list[dict[str, Any]]) -> list[str]:
        generations = self.engine.submit(
            [
                GenerationRequest(
                    tuple(request["prompt_ids"]),
                    SamplingParams(int(request["max_new_tokens"]), float(request["temperature"])),
                    int(request["seed"]),
                )
                for request in requests
            ]
        )
        names = [uuid.uuid4().hex for _ in generations]
        mine |= {name: _Sent(g) for name, g in zip(names, generations, strict=True)}
        return names

    def _advance(self, mine: "dict[str, _Sent]", name: str, count: int) -> dict[str, Any]:
        """Run until a generation has `count` tokens or is finished; gives all that is new."""
        wanted: Any = mine[name].generation
        stream = mine[name].stream
        while wanted.finish is None and len(wanted.tokens) < count:
            next(stream, None)
        news = {key: sent.news() for key, sent in mine.items()}
        for key, (_, finish) in news.items():
            if finish is not None:
                del mine[key]
        return {"news": {key: new for key, new in news.items() if new[0] or new[1]}}


class _Sent:
    """A generation, and how much of it the client has."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self.stream = generation.stream()
        self.count = 0

    def news(self) -> tuple[list[tuple[int, float, int]], str | None]:
        """Tokens since the last time (id, log-prob, version), and how it finished, if it did."""
        generation: Any = self.generation
        new = generation.tokens[self.count :]
        self.count = len(generation.tokens)
        return [(t.token_id, t.logprob, t.weight_version) for t in new], generation.finish


_PATHS = ("/about", "/weights", "/open", "/submit", "/advance", "/close")


def _handler(server: EngineServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or each reply's body waits for its head's receipt

        def do_POST(self) -> None:
            status, reply = self._reply()
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if status >= 400:
                self.send_header("Connection", "close")  # what is left of a body is not read
                self.close_connection = True
            self.end_headers()
            self.wfile.write(data)

        def _reply(self) -> tuple[int, dict[str, Any]]:
            url = urlsplit(self.path)
            if server.token and not self._is_known():
                return 401, _error(ConfigError("wrong or no token; set ACCORD_ENGINE_TOKEN"))
            if url.path not in _PATHS:
                return 404, _error(ConfigError(f"no such path: {url.path}"))
            most = server.most_weight_bytes if url.path == "/weights" else _MOST_JSON
            size = self.headers.get("Content-Length", "")
            if not size.isdigit() or int(size) > most:
                return 413, _error(ConfigError(f"a body of {size or 'unknown'} bytes is refused"))
            return _tried(
                lambda: server.answer(url.path, parse_qs(url.query), self.rfile.read(int(size)))
            )

        def _is_known(self) -> bool:
            given = self.headers.get("Authorization", "").removeprefix("Bearer ")
            return hmac.compare_digest(given.encode(), str(server.token).encode())

        def log_message(self, *_: Any) -> None:
            """Nothing: prompts and tokens are nobody's business."""

    return Handler


def _tried(answer: Callable[[], dict[str, Any]]) -> tuple[int, dict[str, Any]]:
    try:
        return 200, answer()
    except AccordError as error:
        return 422, _error(error)
    except (KeyError, TypeError, ValueError) as error:
        return 400, _error(ConfigError(f"not understood ({type(error).__name__}: {error})"))
    except Exception as error:
        return 500, _error(ConfigError(f"the engine failed ({type(error).__name__}: {error})"))


def _error(error: AccordError) -> dict[str, Any]:
    return {"error": type(error).__name__, "message": str(error)}
