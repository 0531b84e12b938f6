"""One HTTP exchange, with `requests`: no proxies, a connection of its own, a deadline for all of it."""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import exceptions as urllib3_errors
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from storpool_addon.errors import ConfigError, StorPoolLost, StorPoolNonsense, StorPoolUnreachable
from storpool_addon.storpool.answer import Answer, one_line
from storpool_addon.storpool.endpoints import Endpoint

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
    """urllib3's read timeout is for each recv; here it is for status line, headers and body together."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        timeout_s = sock.gettimeout()
        if timeout_s is not None:
            self.fp = io.BufferedReader(_Raw(self.fp.detach(), sock, timeout_s))

    def begin(self) -> None:
        super().begin()
        # StorPool speaks HTTP/1.0; a gateway that would keep the connection is not given the chance.
        self.will_close = True


class _Connection(HTTPConnection):
    response_class = _Response


class _TlsConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


class Wire:
    """The way to one cluster's API."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("http://", _Adapter())
        self._session.mount("https://", _Adapter())
        if endpoint.ca_file is not None:
            _check_certificates(endpoint.ca_file)
            self._session.verify = endpoint.ca_file
        self._headers = {
            "Authorization": f"Storpool v1:{endpoint.token}",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }

    def exchange(
        self, method: str, url: str, body: bytes | None, *, connect_s: float, answer_s: float, max_bytes: int
    ) -> Answer:
        """Send a request and take its answer.

        Raises StorPoolUnreachable when nothing was sent, StorPoolLost when something was and no whole answer
        came, StorPoolNonsense for one that is too large, ConfigError for a certificate that is not trusted;
        their texts say only why.
        """
        request = requests.PreparedRequest()
        request.prepare(method=method, url=url, headers=self._headers, data=body)
        try:
            with self._session.send(
                request, stream=True, timeout=(connect_s, answer_s), allow_redirects=False
            ) as response:
                return Answer(response.status_code, _body(response, max_bytes))
        except requests.exceptions.RequestException as error:
            raise _failure(error, url) from None
        except urllib3_errors.HTTPError as error:
            raise StorPoolLost(_reason(error)) from None


def _check_certificates(ca_file: str) -> None:
    try:
        ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        text = f"SP_API_CA_FILE {ca_file} cannot be used: {error.strerror or error}; it must be a PEM file"
        raise ConfigError(text) from None


def _body(response: requests.Response, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in response.raw.stream(_CHUNK, decode_content=False):
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise StorPoolNonsense(f"StorPool's answer is larger than {max_bytes} bytes")
    expected = response.headers.get("Content-Length", "")
    # urllib3 checks this by itself only since its version 2.
    if _LENGTH.fullmatch(expected) and size < int(expected):
        raise StorPoolLost(f"the answer ended after {size} of {expected} bytes")
    return b"".join(parts)


def _failure(error: requests.exceptions.RequestException, url: str) -> StorPoolUnreachable | ConfigError:
    reason = _innermost(error)
    text = _reason(error)
    if isinstance(reason, ssl.CertificateError) or "CERTIFICATE_VERIFY_FAILED" in str(reason):
        return ConfigError(
            f"{url}: the certificate is not trusted ({text}); check SP_API_CA_FILE and SP_API_HTTP_HOST"
        )
    if isinstance(error, requests.exceptions.ConnectTimeout) or _never_connected(error):
        return StorPoolUnreachable(text)
    return StorPoolLost(text)


def _never_connected(error: BaseException) -> bool:
    return any(isinstance(each, urllib3_errors.NewConnectionError) for each in _causes(error))


def _causes(error: BaseException) -> list[BaseException]:
    # requests and urllib3 put the cause in `reason`, in `args` or in `__cause__`, as the case may be.
    found = [error]
    for each in found:
        inner = [getattr(each, "reason", None), each.__cause__, each.__context__, *each.args]
        found += [one for one in inner if isinstance(one, BaseException) and one not in found]
    return found


def _innermost(error: BaseException) -> BaseException:
    system = [each for each in _causes(error) if isinstance(each, OSError) and not _is_wrapper(each)]
    return system[-1] if system else _causes(error)[-1]


def _is_wrapper(error: BaseException) -> bool:
    return isinstance(error, requests.exceptions.RequestException)


def _reason(error: BaseException) -> str:
    # The system's own words where there are any; a wrapper's text holds object addresses.
    innermost = _innermost(error)
    if isinstance(innermost, (socket.timeout, urllib3_errors.TimeoutError)):
        return "no answer in time"
    if isinstance(innermost, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    return one_line(getattr(innermost, "strerror", None) or str(innermost) or type(innermost).__name__)
