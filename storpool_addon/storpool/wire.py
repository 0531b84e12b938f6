"""One HTTP exchange: no proxies, a connection of its own, a deadline for all of it.

With the standard library's client: what an action waits for first is the import of its HTTP library.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable
from urllib.parse import urlsplit

from storpool_addon.errors import ConfigError, StorPoolLost, StorPoolNonsense, StorPoolUnreachable
from storpool_addon.storpool.answer import OK, Answer, one_line
from storpool_addon.storpool.endpoints import Endpoint

if TYPE_CHECKING:
    import ssl

_CHUNK = 1 << 20
_LENGTH = re.compile("[0-9]{1,18}")


class _Raw(io.RawIOBase):
    """A socket's stream whose every read waits only as long as the whole answer still may."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, timeout_s: float) -> None:
        self._raw = raw
        self._sock = sock
        self._until = time.monotonic() + timeout_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise socket.timeout("the answer took too long")
        self._sock.settimeout(left_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A socket's timeout is for each read; here it is for status line, headers and body together."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        timeout_s = sock.gettimeout()
        if timeout_s is not None:
            self.fp = io.BufferedReader(_Raw(self.fp.detach(), sock, timeout_s))

    def begin(self) -> None:
        super().begin()
        # StorPool speaks HTTP/1.0; a gateway that would keep the connection is not given the chance.
        self.will_close = True


class _Plain(http.client.HTTPConnection):
    """Without TLS. For a host that is a text Python imports all that names in other alphabets need."""

    def connect(self) -> None:
        """Connect to the host, whose name is given as bytes."""
        host: Any = self.host.encode() if self.host.isascii() else self.host
        self.sock = socket.create_connection((host, self.port), self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Wire:
    """The way to one cluster's API."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._ca_file = endpoint.ca_file
        self._context: ssl.SSLContext | None = None if self._ca_file is None else _trusting(self._ca_file)
        self._headers = {
            "Authorization": f"Storpool v1:{endpoint.token}",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }

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
        connection = self._connection(url, connect_s)
        try:
            _connect(connection, url)
            connection.sock.settimeout(answer_s)
            connection.request(method, _path(url), body, self._headers)
            with connection.getresponse() as response:
                pieces = _pieces(response, max_bytes)
                if read and response.status == OK:
                    return Answer(response.status, b"", read(pieces))
                return Answer(response.status, b"".join(pieces))
        except (OSError, http.client.HTTPException) as error:
            raise StorPoolLost(_reason(error)) from None
        finally:
            connection.close()

    def _connection(self, url: str, timeout_s: float) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            if self._context is None:
                self._context = _trusting(None)
            connection = http.client.HTTPSConnection(
                parts.hostname or "", parts.port, timeout=timeout_s, context=self._context
            )
        else:
            connection = _Plain(parts.hostname or "", parts.port, timeout=timeout_s)
        connection.response_class = _Response
        return connection


def _trusting(ca_file: str | None) -> ssl.SSLContext:
    """What trusts the certificates in a file, the system's without one."""
    import ssl

    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        text = f"SP_API_CA_FILE {ca_file} cannot be used: {error.strerror or error}; it must be a PEM file"
        raise ConfigError(text) from None


def _connect(connection: http.client.HTTPConnection, url: str) -> None:
    try:
        connection.connect()
    except OSError as error:
        text = _reason(error)
        # ssl.SSLCertVerificationError, without the import of ssl.
        if hasattr(error, "verify_message"):
            raise ConfigError(
                f"{url}: the certificate is not trusted ({text}); check SP_API_CA_FILE and SP_API_HTTP_HOST"
            ) from None
        raise StorPoolUnreachable(text) from None


def _path(url: str) -> str:
    """All that follows the host: the name of a volume may begin with what is a fragment to others."""
    return "/" + url.partition("://")[2].partition("/")[2]


def _pieces(response: http.client.HTTPResponse, max_bytes: int) -> Iterator[bytes]:
    """The body as it arrives."""
    size = 0
    while part := response.read(_CHUNK):
        size += len(part)
        if size > max_bytes:
            raise StorPoolNonsense(f"StorPool's answer is larger than {max_bytes} bytes")
        yield part
    expected = response.headers.get("Content-Length", "")
    # http.client lets a part that ends too early pass when it is asked for parts.
    if _LENGTH.fullmatch(expected) and size < int(expected):
        raise StorPoolLost(f"the answer ended after {size} of {expected} bytes")


def _reason(error: Exception) -> str:
    if isinstance(error, socket.timeout):
        return "no answer in time"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    return one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)
