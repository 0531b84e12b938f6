"""One HTTP exchange: no proxies, a connection of its own, a deadline for all of it.

Written here because an action would wait longer for the import of `http.client`, which brings `email` and
`ssl` with it, than for StorPool.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable

from storpool_addon.errors import ConfigError, StorPoolLost, StorPoolNonsense, StorPoolUnreachable
from storpool_addon.storpool.answer import OK, Answer, one_line
from storpool_addon.storpool.endpoints import Endpoint

if TYPE_CHECKING:
    import ssl

_CHUNK = 1 << 18
# The limits of http.client.
_LONGEST_LINE = 1 << 16
_MOST_HEADERS = 100
_STATUS = re.compile(r"HTTP/1\.[0-9]+ +([1-9][0-9]{2})(?: .*)?", re.ASCII)
_LENGTH = re.compile("[0-9]{1,18}")
_CHUNK_LENGTH = re.compile("([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_PROVISIONAL = range(100, 200)


class Wire:
    """The way to one cluster's API."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._ca_file = endpoint.ca_file
        self._context: ssl.SSLContext | None = None if self._ca_file is None else _trusting(self._ca_file)
        self._token = endpoint.token

    def exchange(
        self,
        method: str,
        url: str,
        body: bytes | None,
        *,
        connect_s: float,
        answer_s: float,
        max_bytes: int,
        read: Callable[[Iterator[bytes]], Any] | None = None,
    ) -> Answer:
        """Send a request and take its answer. read: is given the pieces of one that is not an error.

        Raises StorPoolUnreachable when nothing was sent, StorPoolLost when something was and no whole answer
        came, StorPoolNonsense for one that is too large, ConfigError for a certificate that is not trusted;
        their texts say only why.
        """
        with self._connected(url, connect_s) as connection:
            try:
                connection.settimeout(answer_s)
                stream = _Stream(connection, time.monotonic() + answer_s)
                connection.sendall(self._head(method, url, body) + (body or b""))
                status, headers = _begin(stream)
                pieces = _limited(_body(stream, headers), max_bytes)
                if read and status == OK:
                    return Answer(status, b"", read(pieces))
                return Answer(status, b"".join(pieces))
            except OSError as error:
                raise StorPoolLost(_reason(error)) from None

    def _connected(self, url: str, timeout_s: float) -> socket.socket:
        scheme, _, rest = url.partition("://")
        host, _, port = rest.partition("/")[0].rpartition(":")
        if scheme == "https" and self._context is None:
            self._context = _trusting(None)
        try:
            connection = socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if scheme == "https" and self._context is not None:
                return _secured(self._context, connection, host.strip("[]"))
            return connection
        except OSError as error:
            text = _reason(error)
            # ssl.SSLCertVerificationError, without the import of ssl.
            if hasattr(error, "verify_message"):
                raise ConfigError(
                    f"{url}: the certificate is not trusted ({text}); check SP_API_CA_FILE and"
                    " SP_API_HTTP_HOST"
                ) from None
            raise StorPoolUnreachable(text) from None

    def _head(self, method: str, url: str, body: bytes | None) -> bytes:
        # All that follows the host: the name of a volume may begin with what is a fragment to others.
        host, _, path = url.partition("://")[2].partition("/")
        lines = [
            f"{method} /{path} HTTP/1.1",
            f"Host: {host}",
            f"Authorization: Storpool v1:{self._token}",
            "Accept-Encoding: identity",
            # StorPool speaks HTTP/1.0; a gateway that would keep the connection is not given the chance.
            "Connection: close",
        ]
        if body is not None or method != "GET":
            lines.append(f"Content-Length: {len(body or b'')}")
        return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def _trusting(ca_file: str | None) -> ssl.SSLContext:
    """What trusts the certificates in a file, the system's without one."""
    import ssl

    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        text = f"SP_API_CA_FILE {ca_file} cannot be used: {error.strerror or error}; it must be a PEM file"
        raise ConfigError(text) from None


def _secured(context: ssl.SSLContext, connection: socket.socket, host: str) -> socket.socket:
    try:
        return context.wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise


class _Stream:
    """What a server sends: a socket's timeout is for each read, and here there is one deadline for all."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection = connection
        self._until = until
        self._held = b""

    def some(self, most: int = _CHUNK) -> bytes:
        """What comes next, b"" at the end."""
        if self._held:
            part, self._held = self._held[:most], self._held[most:]
            return part
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise socket.timeout("the answer took too long")
        self._connection.settimeout(left_s)
        return self._connection.recv(min(most, _CHUNK))

    def line(self) -> str:
        """The next line, without its end."""
        line = bytearray()
        while not line.endswith(b"\n"):
            part = self.some(_LONGEST_LINE)
            if not part:
                raise StorPoolLost(
                    "the answer was cut off" if line else "the connection was closed without an answer"
                )
            end = part.find(b"\n") + 1 or len(part)
            line += part[:end]
            self._held = part[end:] + self._held
            if len(line) > _LONGEST_LINE:
                raise StorPoolLost("what answers does not speak HTTP")
        return line.rstrip(b"\r\n").decode("latin-1")


def _begin(stream: _Stream) -> tuple[int, dict[str, str]]:
    """Status and headers, by their names in small letters; those of provisional answers are passed over."""
    while True:
        status = _STATUS.fullmatch(stream.line())
        if not status:
            raise StorPoolLost("what answers does not speak HTTP")
        headers = _headers(stream)
        if int(status[1]) not in _PROVISIONAL:
            return int(status[1]), headers


def _headers(stream: _Stream) -> dict[str, str]:
    found: dict[str, str] = {}
    for _ in range(_MOST_HEADERS):
        line = stream.line()
        if not line:
            return found
        name, _, value = line.partition(":")
        found.setdefault(name.strip().lower(), value.strip())
    raise StorPoolLost(f"the answer has more than {_MOST_HEADERS} headers")


def _body(stream: _Stream, headers: dict[str, str]) -> Iterator[bytes]:
    """The body as it arrives; StorPoolLost for one that ends too early."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return _chunks(stream)
    length = headers.get("content-length", "")
    return _exactly(stream, int(length)) if _LENGTH.fullmatch(length) else iter(stream.some, b"")


def _exactly(stream: _Stream, length: int) -> Iterator[bytes]:
    left = length
    while left:
        part = stream.some(left)
        if not part:
            raise StorPoolLost(f"the answer ended after {length - left} of {length} bytes")
        left -= len(part)
        yield part


def _chunks(stream: _Stream) -> Iterator[bytes]:
    while True:
        length = _CHUNK_LENGTH.fullmatch(stream.line())
        if not length:
            raise StorPoolLost("the answer has a chunk without a length")
        if int(length[1], 16) == 0:
            return
        yield from _exactly(stream, int(length[1], 16))
        stream.line()


def _limited(pieces: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    size = 0
    for part in pieces:
        size += len(part)
        if size > max_bytes:
            raise StorPoolNonsense(f"StorPool's answer is larger than {max_bytes} bytes")
        yield part


def _reason(error: OSError) -> str:
    if isinstance(error, socket.timeout):
        return "no answer in time"
    return one_line(error.strerror or str(error) or type(error).__name__)
