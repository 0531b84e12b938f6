"""Servers that misbehave on the wire: each connection is handled by the next of a list of functions."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from storpool_addon.storpool import Endpoint

TOKEN = "1556129910218014736"

# Gets the connection and the event that is set when the server stops.
Handler = Callable[[socket.socket, threading.Event], None]


class RawServer:
    """Listens until the block ends. requests: what came, whole, one for each connection that was read."""

    def __init__(
        self,
        handlers: Sequence[Handler],
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._handlers = list(handlers)
        self._tls = tls
        self._stop = threading.Event()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.socket(family)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((address, port))
        self._listener.listen()
        self.address = address
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint((self.address,), self.port, TOKEN, "https" if self._tls else "http")

    @property
    def heads(self) -> list[str]:
        """The first lines of the requests."""
        return [request.split(b"\r\n", 1)[0].decode() for request in self.requests]

    @property
    def bodies(self) -> list[bytes]:
        return [request.split(b"\r\n\r\n", 1)[1] for request in self.requests]

    def __enter__(self) -> RawServer:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            handler = self._handlers[min(self.connections, len(self._handlers) - 1)]
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection, handler))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, handler: Handler) -> None:
        with connection:
            try:
                if self._tls:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                if not getattr(handler, "unread", False):
                    self.requests.append(read_request(connection))
                handler(connection, self._stop)
            except OSError:
                pass  # the client went away, which some tests make it do
            finally:
                connection.close()


def read_request(connection: socket.socket) -> bytes:
    """One HTTP request, with a body of Content-Length bytes."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _received(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [
        line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    ]
    while len(body) < int(lengths[0] if lengths else 0):
        body += _received(connection)
    return head + b"\r\n\r\n" + body


def _received(connection: socket.socket) -> bytes:
    part = connection.recv(65536)
    if not part:
        raise ConnectionError
    return part


def http(
    body: bytes,
    status: str = "200 OK",
    *,
    version: str = "1.0",
    headers: Sequence[str] = (),
    length: int | None = None,
) -> bytes:
    """An HTTP answer. length: Content-Length, that of the body unless given; -1 for no such header."""
    size = len(body) if length is None else length
    lines = [f"HTTP/{version} {status}", "Content-Type: application/json", *headers]
    lines += [f"Content-Length: {size}"] if size >= 0 else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def data(value: Any) -> bytes:
    """StorPool's answer with that data."""
    return http(json.dumps({"generation": 7, "data": value}).encode())


def error(name: str, descr: str = "so it is", *, transient: bool = False, status: str = "200 OK") -> bytes:
    """StorPool's refusal."""
    document = {"error": {"name": name, "descr": descr, "transient": transient}}
    return http(json.dumps(document).encode(), status)


def say(*parts: bytes, pause_s: float = 0.0) -> Handler:
    """Send the parts, with a pause before each but the first; then close."""

    def handle(connection: socket.socket, stop: threading.Event) -> None:
        for index, part in enumerate(parts):
            if index and stop.wait(pause_s):
                return
            connection.sendall(part)

    return handle


def drip(answer: bytes, pause_s: float) -> Handler:
    """Send byte by byte."""
    return say(*[bytes([each]) for each in answer], pause_s=pause_s)


def hang(connection: socket.socket, stop: threading.Event) -> None:
    """Say nothing, and keep the connection."""
    stop.wait()


def close(connection: socket.socket, stop: threading.Event) -> None:
    """Read the request, then close without an answer."""


def reset(connection: socket.socket, stop: threading.Event) -> None:
    """Read the request, then reset the connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset_at_once(connection: socket.socket, stop: threading.Event) -> None:
    """Reset the connection without reading."""
    reset(connection, stop)


reset_at_once.unread = True  # type: ignore[attr-defined]


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
