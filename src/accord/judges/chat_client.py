"""A client of any OpenAI-compatible endpoint: bounded, patient, and silent about its key."""

import email.utils
import http.client
import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from accord.core.chat import ChatFailure, ChatReply, FailureKind
from accord.core.errors import ConfigError
from accord.core.types import Message

MAX_BODY = 10_000_000
"""Bytes of an answer beyond which it is none."""

MAX_EXCERPT = 300
"""Bytes of a refusal that are quoted."""

PASSING = (408, 409, 425, 429)
"""Errors of 4xx that say nothing about the question."""

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""Waits between tries double from the first to the longest."""

LONGEST_RETRY_AFTER_S = 600.0
"""An endpoint that asks for more patience has, for now, no answer."""


class HttpChatClient:
    """A `ChatClient` over `POST URL/chat/completions`.

    Tried again, after a wait that doubles: timeouts, lost connections, 429 (no sooner than its
    Retry-After says, for all that is asked meanwhile), 408, 409, 425 and 5xx. Not tried again:
    other errors of 4xx, and bodies that are no answer. The key is read from the environment for
    each request and sent nowhere but there; redirects are not followed.

    Attributes:
        counts: requests that were sent ("requests"), by outcome of the last try ("answered", or a
            `ChatFailure.kind`), and "retries"; "prompt_tokens" and "completion_tokens" as charged.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key_env: str | None = None,
        concurrency: int = 8,
        timeout_s: float = 60.0,
        max_retries: int = 5,
        requests_per_minute: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing is sent yet.

        Args:
            url: of the API, such as `https://HOST/v1`.
            model: as the endpoint calls it.
            api_key_env: name of the environment variable that holds the key; None sends none.
            concurrency: requests at one time.
            timeout_s: for a whole answer.
            max_retries: tries after the first.
            requests_per_minute: at most, evenly spaced; None sends as fast as it is answered.
            sleep: how to wait.

        Raises:
            ConfigError: no http address, or the environment variable is not set.
        """
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ConfigError(f"expected http(s)://HOST/..., got {url!r}")
        self.url = url.rstrip("/") + "/chat/completions"
        self.model = model
        self.concurrency = concurrency
        self.timeout_s = timeout_s
        self.max_retries = max_retries
        self.counts: Counter[str] = Counter()
        self._api_key_env = api_key_env
        self._sleep = sleep
        self._lock = threading.Lock()
        self._resume_at = self._next_start = 0.0
        self._spacing_s = 60 / requests_per_minute if requests_per_minute else 0.0
        self._opener = urllib.request.build_opener(_NoRedirects)
        self._headers()

    @property
    def name(self) -> str:
        """The model behind it."""
        return self.model

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        temperature: float,
        max_tokens: int,
        top_logprobs: int = 0,
        seed: int = 0,
    ) -> list[ChatReply | ChatFailure]:
        """One answer a conversation, in their order, or why there is none.

        What ends it early, Ctrl-C too, has as `replies` what was answered until then: an entry a
        conversation, None where there is nothing.

        Raises:
            ConfigError: the endpoint knows neither the key nor the model nor the address (401, 403,
                404): no question would fare better.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "temperature": temperature,
            "max_tokens": max_tokens,
        }
        if top_logprobs:
            body |= {"logprobs": True, "top_logprobs": top_logprobs}
        if temperature and seed:  # not every endpoint knows the word
            body["seed"] = seed

        def ask(messages: Sequence[Message]) -> ChatReply | ChatFailure:
            reply = self._ask(json.dumps({**body, "messages": list(messages)}).encode())
            self._count("answered" if isinstance(reply, ChatReply) else reply.kind)
            return reply

        with ThreadPoolExecutor(self.concurrency) as pool:
            waiting = [pool.submit(ask, messages) for messages in conversations]
            try:
                return [future.result() for future in waiting]
            except BaseException as error:
                pool.shutdown(cancel_futures=True)
                error.replies = list(map(_answer, waiting))  # type: ignore[attr-defined]
                raise

    def _ask(self, body: bytes) -> ChatReply | ChatFailure:
        wait, left = FIRST_WAIT_S, self.max_retries
        while True:
            self._wait_for_turn()
            outcome = self._try(body)
            if isinstance(outcome, ChatReply):
                return outcome
            if not outcome.may_pass or not left:
                return outcome.failure
            left -= 1
            self._count("retries")
            with self._lock:
                self._resume_at = max(self._resume_at, time.monotonic() + outcome.retry_after_s)
            # Jitter keeps those who were refused together from coming back together.
            self._sleep(wait * random.uniform(0.75, 1.25))
            wait = min(2 * wait, LONGEST_WAIT_S)

    def _wait_for_turn(self) -> None:
        with self._lock:
            now = time.monotonic()
            start = max(now, self._resume_at, self._next_start)
            self._next_start = start + self._spacing_s
        if start > now:
            self._sleep(start - now)

    def _try(self, body: bytes) -> "ChatReply | _Trouble":
        self._count("requests")
        request = urllib.request.Request(self.url, body, self._headers())
        deadline = time.monotonic() + self.timeout_s
        try:
            with self._opener.open(request, timeout=self.timeout_s) as response:
                return self._reply(_read(response, deadline))
        except urllib.error.HTTPError as error:
            with error:
                return self._refusal(error)
        except TimeoutError:
            return _Trouble(ChatFailure("timeout", f"no answer within {self.timeout_s:g} s"), True)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(getattr(error, "reason", None), TimeoutError):
                message = f"no connection within {self.timeout_s:g} s"
                return _Trouble(ChatFailure("timeout", message), True)
            return _Trouble(ChatFailure("unreachable", type(error).__name__), True)
        except ValueError as error:
            return _Trouble(ChatFailure("malformed", str(error)), False)

    def _headers(self) -> dict[str, str]:
        """With the key, which is checked here: an error of the HTTP library would quote it."""
        headers = {"Content-Type": "application/json"}
        if self._api_key_env is not None:
            key = self._key()
            if not key or not key.isascii() or not key.isprintable():
                raise ConfigError(
                    f"{self._api_key_env} is not set, or holds no key: one line of plain letters "
                    f"and signs for {self.url}"
                )
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _key(self) -> str:
        return os.environ.get(self._api_key_env or "", "").strip()

    def _refusal(self, error: urllib.error.HTTPError) -> "_Trouble":
        message = f"HTTP {error.code}"
        if error.code in (401, 403, 404):
            what = f"the key in {self._api_key_env}" if self._api_key_env else "api_key_env"
            raise ConfigError(
                f"{self.url} answers {message} for model {self.model!r}: look at the address, the "
                f"model's name and {what}"
            )
        if error.code not in PASSING and error.code < 500:
            said = error.read(MAX_EXCERPT).decode(errors="replace")
            said = said.replace(self._key() or "\0", "***")
            # Who has no money left is answered nothing, whatever the question.
            kind: FailureKind = "rate_limit" if error.code == 402 else "refused"
            return _Trouble(ChatFailure(kind, f"{message}: {said}"), False)
        after = _seconds(error.headers.get("Retry-After"))
        failure = ChatFailure("rate_limit" if error.code == 429 else "server", message)
        return _Trouble(failure, after <= LONGEST_RETRY_AFTER_S, after)

    def _reply(self, body: bytes) -> "ChatReply | _Trouble":
        """Raises a ValueError for what is no answer."""
        try:
            answer = json.loads(body)
            if answer["choices"] == []:  # what a filter leaves of an answer
                return _Trouble(ChatFailure("refused", "an answer without choices"), False)
            choice = answer["choices"][0]
            text = choice["message"]["content"]
            if text is None:  # filtered, or all room went into reasoning: charged, and no words
                text = ""
            content = (choice.get("logprobs") or {}).get("content") or []
            first = content[0]["top_logprobs"] if content else []
            usage = answer.get("usage") or {}
            top: dict[str, float] = {}
            for entry in first:
                top[str(entry["token"])] = float(entry["logprob"])
            if not isinstance(text, str):
                raise TypeError("the message has no text")
        except (KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a chat completion ({type(error).__name__})") from None
        charged = {}
        for kind in ("prompt_tokens", "completion_tokens"):
            charged[kind] = usage[kind] if isinstance(usage.get(kind), int) else 0
            self._count(kind, charged[kind])
        finish = "length" if choice.get("finish_reason") == "length" else "stop"
        return ChatReply(text, finish, top, **charged)  # type: ignore[arg-type]

    def _count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.counts[what] += number


def _answer(future: Future[ChatReply | ChatFailure]) -> ChatReply | ChatFailure | None:
    """Of a question that may have been cancelled, or have raised an error."""
    has_one = future.done() and not future.cancelled() and future.exception() is None
    return future.result() if has_one else None


class _Trouble(NamedTuple):
    """What went wrong, whether it may pass, and how long the endpoint asks to wait."""

    failure: ChatFailure
    may_pass: bool
    retry_after_s: float = 0.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the key elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """The body; an answer that drips is not to outlast its time."""
    found = b""
    while piece := response.read1(65536):
        found += piece
        if len(found) > MAX_BODY:
            raise ValueError(f"an answer of more than {MAX_BODY} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    if response.length:  # bytes that were announced and did not come
        raise http.client.IncompleteRead(b"", response.length)
    return found


def _seconds(retry_after: str | None) -> float:
    """Seconds from now of a Retry-After, which is a number or a date; 0 where it is neither."""
    if not retry_after:
        return 0.0
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 0.0
