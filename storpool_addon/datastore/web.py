"""Images on http(s) servers: a stream that goes on where a connection broke, or a probe for their size."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from http.client import HTTPException
from types import TracebackType
from typing import TYPE_CHECKING, Callable, NamedTuple
from urllib.parse import urljoin, urlsplit

from storpool_addon.datastore.formats import HEAD_SIZE
from storpool_addon.datastore.source import shown
from storpool_addon.errors import StateError

if TYPE_CHECKING:
    from requests import Response, Session

CONNECT_TIMEOUT_S = 10.0
# A server that takes longer than this for one block is as good as dead, however it drips.
STALL_S = 60.0
BLOCK = 256 << 10
ATTEMPTS = 4
PAUSE_S = 1.0
MAX_REDIRECTS = 10
# OpenNebula's marketplace says the size of what it redirects to (libfs.sh, fs_size).
_MARKET_SIZE = "OpenNebula-AppMarket-Size"
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)", re.ASCII)
_TRY_AGAIN = (408, 429, 500, 502, 503, 504)


class Probe(NamedTuple):
    """What a server tells of an image. length: bytes, None when it does not say. head: its first bytes."""

    length: int | None
    head: bytes


class _Broken(Exception):
    """The connection failed."""


class Web:
    """One image on a server; a context manager that closes its connections.

    environ: for the proxies that OpenNebula's own switch sets (`one_datastore --proxy`). Nothing else is
    taken from it: requests' trust_env would also send the passwords in ~/.netrc to image servers.
    """

    def __init__(self, url: str, environ: Mapping[str, str], log: Callable[[str], None]) -> None:
        self.url = url
        self.name = shown(url)
        self._environ = environ
        self._log = log
        self._session = _session()

    def __enter__(self) -> Web:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def probe(self) -> Probe:
        """The image's length and head, for one small request."""
        with self._get({"Range": f"bytes=0-{HEAD_SIZE - 1}"}) as response:
            length = _whole_length(response) or _number(response.headers.get(_MARKET_SIZE, ""))
            return Probe(length, self._some(response, HEAD_SIZE))

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes from the middle; b"" when the server only gives whole files."""
        with self._get({"Range": f"bytes={offset}-{offset + size - 1}"}) as response:
            return self._some(response, size) if _start(response) == offset else b""

    def open(self) -> tuple[int | None, Generator[bytes, None, None]]:
        """The image's length (None when the server does not say) and its content."""
        response = self._get({})
        return _whole_length(response), self._content(response)

    def _content(self, response: Response) -> Generator[bytes, None, None]:
        length, validator = _whole_length(response), _validator(response)
        done = failures = 0
        while True:
            before, cause = done, ""
            try:
                with response:
                    for block in _blocks(response):
                        done += len(block)
                        yield block
            except _Broken as broken:
                cause = str(broken)
            if not cause and length in (None, done):
                return
            cause = cause or "the connection was closed"
            failures = 1 if done > before else failures + 1
            response = self._continue(done, validator, cause, failures)

    def _continue(self, done: int, validator: str, cause: str, failures: int) -> Response:
        """A new answer that begins where the last one broke."""
        if not validator or failures == ATTEMPTS:
            more = "" if validator else "; the server cannot continue a broken download"
            raise StateError(f"reading {self.name} failed after {done} bytes: {cause}{more}")
        self._log(f"{self.name}: {cause}; continuing from byte {done}")
        time.sleep(PAUSE_S * (failures - 1))
        response = self._get({"Range": f"bytes={done}-", "If-Range": validator})
        if _start(response) != done:
            response.close()
            raise StateError(f"{self.name} changed on the server while it was read; import it again")
        return response

    def _some(self, response: Response, size: int) -> bytes:
        found = b""
        try:
            for block in _blocks(response, min(size, BLOCK)):
                found += block
                if len(found) >= size:
                    break
        except _Broken as broken:
            raise StateError(f"reading {self.name} failed: {broken}") from None
        return found[:size]

    def _get(self, headers: Mapping[str, str]) -> Response:
        """A good answer: tried again while the server is unreachable or says that it is busy."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = self._follow(headers)
            except _Broken as broken:
                cause = str(broken)
            else:
                if response.status_code in (200, 206):
                    return response
                response.close()
                cause = f"the server answered {response.status_code} {response.reason}"
                if response.status_code not in _TRY_AGAIN:
                    break
            if attempt < ATTEMPTS:
                time.sleep(PAUSE_S * attempt)
        raise StateError(f"{self.name} cannot be read: {cause}; check the image's PATH")

    def _follow(self, headers: Mapping[str, str]) -> Response:
        """The answer at the end of redirects, which may lead to http and https only."""
        import requests

        url = self.url
        for _ in range(MAX_REDIRECTS):
            try:
                response = self._session.get(
                    url,
                    headers=dict(headers),
                    stream=True,
                    allow_redirects=False,
                    timeout=(CONNECT_TIMEOUT_S, STALL_S),
                    proxies=_proxies(url, self._environ),
                )
            except (requests.RequestException, ValueError) as error:
                raise _Broken(_cause(error)) from None
            location = response.headers.get("Location")
            if not response.is_redirect or location is None:
                return response
            response.close()
            url = urljoin(url, location)
            if urlsplit(url).scheme not in ("http", "https"):
                raise StateError(f"{self.name} redirects to {shown(url)}, which is neither http nor https")
        raise StateError(f"{self.name} redirects more than {MAX_REDIRECTS} times")


def _session() -> Session:
    import requests

    session = requests.Session()
    session.trust_env = False
    # The system's certificates, which SSL_CERT_FILE overrides, before those that come with requests.
    session.verify = ssl.get_default_verify_paths().cafile or True
    # A server that compresses on the way would hide the image's own length and bytes.
    session.headers["Accept-Encoding"] = "identity"
    return session


def _proxies(url: str, environ: Mapping[str, str]) -> dict[str, str]:
    from requests.utils import should_bypass_proxies

    scheme = urlsplit(url).scheme
    proxy = environ.get(f"{scheme}_proxy") or environ.get(f"{scheme.upper()}_PROXY", "")
    none = environ.get("no_proxy") or environ.get("NO_PROXY", "")
    return {scheme: proxy} if proxy and not should_bypass_proxies(url, none or None) else {}


def _blocks(response: Response, size: int = BLOCK) -> Iterator[bytes]:
    from urllib3.exceptions import HTTPError

    with _guard(response) as reading:
        while True:
            reading(True)
            try:
                block: bytes = response.raw.read(size, decode_content=False)
            except (HTTPError, HTTPException, OSError) as error:
                raise _Broken(_cause(error)) from None
            reading(False)
            if not block:
                return
            yield block


@contextlib.contextmanager
def _guard(response: Response) -> Iterator[Callable[[bool], None]]:
    """Cuts the connection when one read takes longer than STALL_S: a socket's own timeout begins anew
    with every byte, so a server that drips would hold us for ever."""
    since: list[float] = []
    ended = threading.Event()

    def reading(begins: bool) -> None:
        since[:] = [time.monotonic()] if begins else []

    def watch(cut: Callable[[], None]) -> None:
        while not ended.wait(min(1.0, STALL_S / 4)):
            if any(time.monotonic() - began > STALL_S for began in since):
                cut()

    with contextlib.ExitStack() as stack:
        try:
            sock = stack.enter_context(socket.socket(fileno=os.dup(response.raw.fileno())))
        except (OSError, ValueError):  # an answer without a body has no connection any more
            yield reading
            return
        watcher = threading.Thread(target=watch, args=(lambda: _shut(sock),), daemon=True)
        stack.callback(watcher.join)
        stack.callback(ended.set)
        watcher.start()
        yield reading


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _whole_length(response: Response) -> int | None:
    """Bytes of the whole image."""
    part = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return _number(part.group(2) if part else response.headers.get("Content-Length", ""))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _start(response: Response) -> int:
    """Where in the image the answer begins."""
    part = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return int(part.group(1)) if part and response.status_code == 206 else 0


def _validator(response: Response) -> str:
    """What a later request can say to get more of the same content; "" when the server offers nothing."""
    etag = response.headers.get("ETag", "")
    if response.headers.get("Accept-Ranges", "") != "bytes":
        return ""
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _cause(error: Exception) -> str:
    """The innermost reason: requests and urllib3 wrap theirs in pages of detail, some with the whole URL."""
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    text = inner.strerror if isinstance(inner, OSError) and inner.strerror else str(inner)
    return text or type(inner).__name__
