"""A small real HTTP server for image tests: ranges, redirects, and connections that break."""

from __future__ import annotations

import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class ImageServer(ThreadingHTTPServer):
    """Serves `content` at every path; what goes wrong is in its attributes.

    break_after: bytes after which a connection is cut (for the first `breaks` answers). drip_s: pause
    after each byte. requests: (path, headers) of each request.
    """

    daemon_threads = True

    def __init__(self, content: bytes = b"") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.etag = '"one"'
        self.ranges = True
        self.chunked = False
        self.breaks = 0
        self.break_after = 1 << 60
        self.drip_s = 0.0
        self.statuses: list[int] = []
        self.redirects: dict[str, str] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/image"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has seen enough hangs up; that is no error of the server's."""

    def __enter__(self) -> ImageServer:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: ImageServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.requests.append((self.path, dict(self.headers)))
        if self.path in self.server.redirects:
            self._answer(302, {"Location": self.server.redirects[self.path], "Content-Length": "0"})
        elif self.server.statuses:
            self._answer(self.server.statuses.pop(0), {"Content-Length": "0"})
        else:
            self._content()

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _content(self) -> None:
        content, status, headers = self.server.content, 200, {}
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        current = self.headers.get("If-Range") in (None, self.server.etag)
        if self.server.ranges:
            headers = {"Accept-Ranges": "bytes", "ETag": self.server.etag}
        if part and self.server.ranges and current:
            start, end = int(part[1]), int(part[2] or len(content) - 1) + 1
            headers["Content-Range"] = f"bytes {start}-{min(end, len(content)) - 1}/{len(content)}"
            content, status = content[start:end], 206
        if self.server.chunked:
            headers["Transfer-Encoding"] = "chunked"
            content = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
        else:
            headers["Content-Length"] = str(len(content))
        self._answer(status, headers)
        self._send(content)

    def _send(self, content: bytes) -> None:
        if self.server.drip_s:
            for at in range(len(content)):
                self.wfile.write(content[at : at + 1])
                self.wfile.flush()
                time.sleep(self.server.drip_s)
        elif self.server.breaks and len(content) > self.server.break_after:
            self.server.breaks -= 1
            self.wfile.write(content[: self.server.break_after])
        else:
            self.wfile.write(content)
