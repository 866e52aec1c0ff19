"""An engine in another process or on another machine: the client of `accord.engine.server`."""

import http.client
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from accord.core import errors, processes
from accord.core.errors import AccordError, ConfigError
from accord.core.types import GeneratedToken, GenerationRequest, GenerationResult
from accord.corpora.encoding import ChatEncoder
from accord.engine.requests import CooperativeGeneration, refuse_controls, refuse_unfit
from accord.engine.weights import take_weights
from accord.models.loading import context_length
from accord.models.logprobs import bare_model
from accord.models.lora import merged

TOKEN = "ACCORD_ENGINE_TOKEN"


class RemoteEngine:
    """An `Engine` whose sampling happens elsewhere, with weights that are sent there.

    Responses and log-probs are those of the engine behind the server, given equal weights.

    Args:
        policy: a causal LM of the shape that the server has, bare or under peft.
        tokenizer: its tokenizer, or a `ChatEncoder` over it.
        url: of the server, `http://HOST:PORT`.
        max_batch_size: the server's own is what counts; here for the protocol.

    Raises:
        ConfigError: nobody answers at `url`, the token is wrong, or another kind of model is there.
    """

    def __init__(
        self,
        policy: nn.Module,
        tokenizer: Any,
        *,
        url: str,
        max_batch_size: int = 128,  # noqa: ARG002 (the factory protocol's)
    ) -> None:
        encoder = tokenizer if isinstance(tokenizer, ChatEncoder) else ChatEncoder(tokenizer)
        self.policy = policy
        self._url = url
        self._token = os.environ.get(TOKEN)
        self._connection: http.client.HTTPConnection | None = None
        self._running: dict[str, RemoteGeneration] = {}
        self._cancelled: list[str] = []
        base: Any = bare_model(policy)
        self._context = context_length(base.config)
        self._vocabulary = base.get_input_embeddings().weight.shape[0]
        mine = {"end_of_turn_id": encoder.end_of_turn_id, "vocabulary": self._vocabulary}
        theirs = self._call("/about")
        if theirs != mine:
            self._disconnect()
            raise ConfigError(
                f"{url}: another model is served there ({theirs}, here {mine}); start it from the "
                "model that this stage starts from"
            )
        self._session: str | None = self._call("/open")["session"]
        self._push_weights(version=0)

    def submit(self, requests: Sequence[GenerationRequest]) -> "list[RemoteGeneration]":
        """Queue requests.

        Raises:
            DataError: a request is refused as `LocalEngine` would. Nothing was queued then.
            RuntimeError: the engine is closed.
        """
        if self._session is None:
            raise RuntimeError("this engine is closed; build a new one")
        refuse_unfit(requests, context=self._context, vocabulary=self._vocabulary)
        refuse_controls(requests, engine="remote")
        sent = [
            {
                "prompt_ids": list(request.prompt_ids),
                "max_new_tokens": request.params.max_new_tokens,
                "temperature": request.params.temperature,
                "seed": request.seed,
            }
            for request in requests
        ]
        names = self._ask("/submit", requests=sent)["ids"]
        found = [RemoteGeneration(r, self, n) for r, n in zip(requests, names, strict=True)]
        self._running |= {generation.name: generation for generation in found}
        return found

    def load_weights(self, weights: Mapping[str, Tensor], *, version: int) -> None:
        """Take weights into the policy and send them, with what adapters add, to the server.

        Raises:
            ModelError: names or shapes are not the policy's; its weights are as before.
        """
        take_weights(self.policy, weights)
        self._push_weights(version=version)

    def close(self) -> None:
        """Cancel what is queued or running, and take no more requests."""
        if self._session is None:
            return
        for generation in list(self._running.values()):
            generation.cancel()
        self._ask("/close")
        self._session = None
        self._disconnect()

    def wait(self, generation: "RemoteGeneration", count: int) -> None:
        """Until a generation has so many tokens, or is finished; the others move along."""
        while generation.finish is None and len(generation.tokens) < count:
            news = self._ask("/advance", id=generation.name, count=count)["news"]
            for name, (tokens, finish) in news.items():
                self._running[name].extend(tokens, finish)
                if finish is not None:
                    del self._running[name]

    def forget(self, name: str) -> None:
        """A generation was cancelled; the server hears of it with the next call."""
        if self._running.pop(name, None):
            self._cancelled.append(name)

    def _push_weights(self, *, version: int) -> None:
        """From the main process alone: where several train, all have the same weights."""
        if processes.is_main():
            weights = {
                name: tensor.detach().cpu().contiguous()
                for name, tensor in merged(self.policy).state_dict().items()
            }
            self._call(f"/weights?version={version}", save_tensors(_untied(weights)))
        processes.wait()

    def _disconnect(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def _ask(self, path: str, **message: Any) -> dict[str, Any]:
        told = {"session": self._session, "cancelled": self._cancelled, **message}
        reply = self._call(path, json.dumps(told).encode())
        self._cancelled = []
        return reply

    def _call(self, path: str, body: bytes = b"") -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            if self._connection is None:
                self._connection = _connect(self._url)
            self._connection.request("POST", path, body, headers)
            response = self._connection.getresponse()
            reply: dict[str, Any] = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._disconnect()
            raise ConfigError(
                f"{self._url}: no engine answers there ({type(error).__name__}: {error}); start "
                "one: accord engine --model_name_or_path ..."
            ) from error
        if response.status != 200:
            self._disconnect()  # as the server did
            kind = getattr(errors, str(reply.get("error")), ConfigError)
            kind = kind if isinstance(kind, type) and issubclass(kind, AccordError) else ConfigError
            raise kind(f"{self._url}: {reply.get('message')}")
        return reply


class RemoteGeneration(CooperativeGeneration):
    """One request, and what of its response has arrived."""

    def __init__(self, request: GenerationRequest, engine: RemoteEngine, name: str) -> None:
        super().__init__(request, lambda _: None)
        self.name = name
        self._engine = engine

    def result(self) -> GenerationResult:
        """Wait for the whole response."""
        self._engine.wait(self, self.request.params.max_new_tokens)
        assert self.finish is not None
        return GenerationResult(self.request.prompt_ids, tuple(self.tokens), self.finish)

    def cancel(self) -> None:
        """Stop; what arrived so far is kept. A finished response stays as it is."""
        super().cancel()
        self._engine.forget(self.name)

    def extend(self, tokens: Sequence[Sequence[Any]], finish: Any) -> None:
        """Take what the server sent."""
        self.tokens += [GeneratedToken(int(i), float(p), int(v)) for i, p, v in tokens]
        self.finish = finish

    def _wait_for_more_than(self, count: int) -> None:
        self._engine.wait(self, count + 1)


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"engine_url: expected http://HOST:PORT, got {url!r}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port)


def _untied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A tied weight under one of its names, as a saved file has it."""
    first: dict[int, str] = {}
    return {n: t for n, t in weights.items() if first.setdefault(t.data_ptr(), n) == n}
