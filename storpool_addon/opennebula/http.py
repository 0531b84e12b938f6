"""One HTTP request on one connection, under one deadline that also holds against an answer that drips in."""

from __future__ import annotations

import socket
import time
from typing import Any, NamedTuple

# Pools are asked for in pages of some MB; more than this is not an answer of oned.
MAX_ANSWER = 64 << 20
_CHUNK = 1 << 18
_MAX_HEAD = 1 << 16


class Url(NamedTuple):
    """Where oned answers: http or https."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, text: str) -> Url:
        """ValueError for what is not an http(s) address."""
        from urllib.parse import urlsplit

        parts = urlsplit(text.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{text!r} is not an http:// or https:// address")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        query = f"?{parts.query}" if parts.query else ""
        return cls(parts.scheme, parts.hostname, port, (parts.path or "/") + query)

    def __str__(self) -> str:
        """Without the user and password that an address may hold."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


class Failed(Exception):
    """No whole answer came: the text says why."""


def post(url: Url, body: bytes, timeout_s: float) -> bytes:
    """The body of the answer with status 200; `Failed` in every other case, `timeout_s` later at the most."""
    deadline = time.monotonic() + timeout_s
    try:
        connection = _connect(url, deadline)
    except OSError as error:
        raise Failed(_reason(error)) from None
    with connection:
        try:
            connection.settimeout(_left(deadline))
            connection.sendall(_head(url, len(body)) + body)
            return _answer(connection, deadline)
        except OSError as error:
            raise Failed(_reason(error)) from None


def peer(host: str, port: int) -> tuple[Any, int]:
    """What to connect to. As bytes: for a text Python imports all that names in other alphabets need."""
    return (host.encode() if host.isascii() else host), port


def _connect(url: Url, deadline: float) -> socket.socket:
    connection = socket.create_connection(peer(url.host, url.port), timeout=_left(deadline))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if url.scheme == "http":
        return connection
    import ssl

    try:
        return ssl.create_default_context().wrap_socket(connection, server_hostname=url.host)
    except BaseException:
        connection.close()
        raise


def _head(url: Url, length: int) -> bytes:
    # HTTP/1.0: the end of the answer is the end of the connection, and there are no chunks to take apart.
    host = f"[{url.host}]" if ":" in url.host else url.host
    lines = (
        f"POST {url.path} HTTP/1.0",
        f"Host: {host}:{url.port}",
        "Content-Type: text/xml",
        f"Content-Length: {length}",
        "",
        "",
    )
    return "\r\n".join(lines).encode()


def _answer(connection: socket.socket, deadline: float) -> bytes:
    received = bytearray()
    head_end, wanted = -1, MAX_ANSWER
    while len(received) < wanted:
        connection.settimeout(_left(deadline))
        chunk = connection.recv(_CHUNK)
        if not chunk:
            break
        received += chunk
        if head_end < 0:
            head_end = received.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in received else -1
            if head_end >= 0:
                wanted = head_end + _length(bytes(received[:head_end]))
            elif len(received) > _MAX_HEAD:
                raise Failed("the answer is not HTTP")
    if head_end < 0:
        raise Failed("the connection was closed without an answer")
    if wanted < MAX_ANSWER and len(received) < wanted:
        raise Failed("the connection was closed in the middle of the answer")
    return bytes(received[head_end:wanted])


def _length(head: bytes) -> int:
    """How many bytes follow the head; MAX_ANSWER when it does not say."""
    status, *lines = head.decode("latin-1").split("\r\n")
    words = status.split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/"):
        raise Failed("the answer is not HTTP")
    if words[1] != "200":
        raise Failed(f"it answered with HTTP status {' '.join(words[1:])[:80]}")
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() == "content-length" and value.strip().isdigit():
            if int(value) > MAX_ANSWER:
                raise Failed(f"the answer is larger than {MAX_ANSWER >> 20} MiB")
            return int(value)
    return MAX_ANSWER


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _reason(error: OSError) -> str:
    # socket.timeout became TimeoutError in Python 3.10.
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "it did not answer in time"
    return error.strerror or str(error)
