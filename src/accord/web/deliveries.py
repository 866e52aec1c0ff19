"""Webhooks: signed messages to other servers, from the background, never into this network."""

import hashlib
import hmac
import http.client
import ipaddress
import json
import logging
import queue
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from accord.core.errors import DataError
from accord.store.projects import Event, SqlProjects, Webhook

_TIMEOUT_S = 10.0
_PAUSES_S = (1.0, 5.0, 30.0)
"""Before each new try."""
_MOST_WAITING = 10_000
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Told:
    project: str
    event: Event
    data: Mapping[str, Any]


class Deliveries:
    """Tells webhooks of events from a thread of its own; work never waits for them.

    A message is JSON: id, event, project, sent_at, data. The header `Accord-Signature` has
    `t=SECONDS,v1=HEX`, the HMAC-SHA256 of "SECONDS.BODY" under the webhook's secret. What is under
    way when the server stops is lost: the judgements are in the store, and can be read from there.

    Args:
        projects: whose webhooks.
        allow_private: whether addresses inside this network may be told, too.
        sleep: how to wait before another try.
        now: the clock, in seconds since 1970.
    """

    def __init__(
        self,
        projects: SqlProjects,
        *,
        allow_private: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.projects = projects
        self.allow_private = allow_private
        self.sleep = sleep
        self.now = now
        self._waiting: queue.Queue[_Told | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more; waits for nothing."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            _LOG.warning("webhooks: stopped with %d messages unsent", self._waiting.qsize())

    def tell(self, project: str, event: Event, data: Mapping[str, Any]) -> None:
        """Have a project's webhooks told; returns at once."""
        try:
            self._waiting.put_nowait(_Told(project, event, data))
        except queue.Full:
            _LOG.warning("webhooks: too many messages wait; one of %r was dropped", event)

    def _work(self) -> None:
        while (told := self._waiting.get()) is not None:
            try:
                hooks = [h for h in self.projects.webhooks(told.project) if told.event in h.events]
                for hook in hooks:
                    self._deliver(hook, told)
            except Exception:  # the next one shall still be told
                _LOG.exception("webhooks: an event of project %r was not told", told.project)

    def _deliver(self, hook: Webhook, told: _Told) -> None:
        body = json.dumps(
            {
                "id": uuid.uuid4().hex,
                "event": told.event,
                "project": told.project,
                "sent_at": self.now(),
                "data": dict(told.data),
            }
        ).encode()
        for pause_s in (*_PAUSES_S, None):
            try:
                status = self.post(hook, body)
                if 200 <= status < 300:
                    return
                problem = f"answered {status}"
            except (OSError, http.client.HTTPException, DataError) as error:
                problem = f"{type(error).__name__}: {error}"
            if pause_s is None:
                _LOG.warning("webhook %d of %r: given up: %s", hook.id, hook.project, problem)
            else:
                self.sleep(pause_s)

    def post(self, hook: Webhook, body: bytes) -> int:
        """Send one message; gives the status. Redirects are not followed.

        Raises:
            OSError: nobody answers there.
            DataError: the address lies inside this network.
        """
        parts = urlsplit(hook.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname or ""
        address = self._public_address(host, port)
        kind = _Https if parts.scheme == "https" else _Http
        connection = kind(host, port, timeout=_TIMEOUT_S)
        connection.address = address
        at = int(self.now())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "accord",
            "Accord-Signature": f"t={at},v1={signature(hook.secret, at, body)}",
        }
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request("POST", path, body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def _public_address(self, host: str, port: int) -> tuple[str, int]:
        """Where the name leads now. The connection goes there and asks for no name again: it might
        lead elsewhere the second time.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for *_, place in found:
            address = ipaddress.ip_address(str(place[0]).partition("%")[0])
            inner = getattr(address, "ipv4_mapped", None) or address
            if self.allow_private or (inner.is_global and not inner.is_multicast):
                return str(place[0]), port
        raise DataError(f"{host} lies inside this network; webhooks go outside only")


def signature(secret: str, at: int, body: bytes) -> str:
    """What a receiver computes to know that a message is from here, and how old it is."""
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


class _Http(http.client.HTTPConnection):
    """Goes to an address that was looked up and checked before."""

    address: tuple[str, int]

    def connect(self) -> None:
        self.sock = socket.create_connection(self.address, _TIMEOUT_S)


class _Https(_Http):
    """The same by TLS; the certificate is held against the name."""

    def connect(self) -> None:
        super().connect()
        context = ssl.create_default_context()
        self.sock = context.wrap_socket(self.sock, server_hostname=self.host)
