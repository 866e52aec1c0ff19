"""What the commands that serve something share: a socket, and a server that ends with a signal."""

import contextlib
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

from accord.core.errors import ConfigError


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that takes connections.

    Raises:
        ConfigError: the port is taken, or none.
    """
    if not 0 <= port < 2**16:
        raise ConfigError(f"--port is a number of 0 to 65535, got {port}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # With the protocol named: asyncio switches Nagle's delay of 40 ms off for no other socket.
        with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(2048)
            ready = listener.dup()
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error}); is it in use? try --port 0"
        ) from None
    with ready:
        yield ready


def url_of(host: str, listener: socket.socket) -> str:
    """Where it listens."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def server_of(config: Any, *, when_asked_to_stop: Callable[[], None] = lambda: None) -> Any:
    """A uvicorn server that ends on signals by itself, and then knows which (`stopped_by`)."""
    import uvicorn

    class Server(uvicorn.Server):
        """uvicorn would raise signals again when it has stopped."""

        stopped_by: int | None = None

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            def stop(number: int, frame: Any) -> None:
                self.stopped_by = number
                when_asked_to_stop()
                self.handle_exit(number, frame)

            signals = (signal.SIGINT, signal.SIGTERM)
            before = {number: signal.signal(number, stop) for number in signals}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    return Server(config)
