"""Webhooks: signed messages to other servers, from the background, never into this network."""

import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from accord.core.errors import DataError
from accord.store.webhooks import Happened, SqlWebhooks, Webhook

_TIMEOUT_S = 10.0
_LOOK_S = 1.0
"""Between two looks for events, which other processes may have written."""
_TURN_S = 2.0
"""A webhook's turn, before others have theirs: a slow one stops nobody for long."""
_LOG = logging.getLogger(__name__)


class Deliveries:
    """Tells webhooks of the store's events from a thread of its own; work never waits for them.

    A message is JSON: id, event, project, created_at, sent_at, data. The header `Accord-Signature`
    has `t=SECONDS,v1=HEX`, the HMAC-SHA256 of "SECONDS.BODY" under the webhook's secret. Each
    webhook is told of its events in their order, and of the next one when it has taken (answered
    with 200 to 299) the one before. A message may come twice, where a server stopped before it
    could note the answer: its id is then the same.

    Args:
        webhooks: whom to tell of what.
        allow_private: whether addresses inside this network may be told, too.
        now: the clock, in seconds since 1970.
    """

    def __init__(
        self,
        webhooks: SqlWebhooks,
        *,
        allow_private: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.webhooks = webhooks
        self.allow_private = allow_private
        self.now = now
        self._stopped = threading.Event()
        self._thread = threading.Thread()

    def start(self) -> None:
        """Begin to send."""
        self._stopped.clear()
        self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more. A message that is under way is not waited for: it is sent again later."""
        self._stopped.set()
        self._thread.join(_LOOK_S)

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                is_idle = self.tell_due() == 0
            except Exception:  # a database that is away comes back
                _LOG.exception("webhooks: the store could not be read or written")
                is_idle = True
            if is_idle:
                self._stopped.wait(_LOOK_S)

    def tell_due(self) -> int:
        """Give every webhook that is due its turn; returns the number of messages taken."""
        taken = 0
        for webhook_id in self.webhooks.due():
            ends_at = time.monotonic() + _TURN_S
            while time.monotonic() < ends_at and not self._stopped.is_set():
                if not self._tell(webhook_id):
                    break
                taken += 1
        if taken:
            self.webhooks.forget()
        return taken

    def _tell(self, webhook_id: int) -> bool:
        """Whether there was something to tell, and it was taken."""
        found = self.webhooks.next(webhook_id)
        if found is None:
            return False
        hook, event = found
        try:
            status = self.post(hook, self._message(event))
            problem = None if 200 <= status < 300 else f"answered {status}"
        except (OSError, http.client.HTTPException, DataError) as error:
            problem = f"{type(error).__name__}: {error}"
        if problem is None:
            self.webhooks.took(hook, event)
        elif not self.webhooks.failed(hook, problem):
            _LOG.warning("webhook %d of %r: switched off: %s", hook.id, hook.project, problem)
        return problem is None

    def _message(self, event: Happened) -> bytes:
        return json.dumps(
            {
                "id": event.key,
                "event": event.event,
                "project": event.project,
                "created_at": event.created_at,
                "sent_at": self.now(),
                "data": dict(event.data),
            }
        ).encode()

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
        # The timeout is of one read: who answers a byte at a time would hold up all the others.
        alarm = threading.Timer(_TIMEOUT_S, _hang_up, [connection])
        try:
            alarm.start()
            connection.request("POST", path, body, headers)
            return connection.getresponse().status
        finally:
            alarm.cancel()
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


def _hang_up(connection: http.client.HTTPConnection) -> None:
    with contextlib.suppress(OSError, AttributeError):  # it is over, or was never open
        connection.sock.shutdown(socket.SHUT_RDWR)


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
