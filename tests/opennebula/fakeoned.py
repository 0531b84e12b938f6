"""An oned on a socket that answers with prepared bytes, as slowly and as wrongly as a test wants."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from xmlrpc.client import dumps, loads

Script = Callable[["FakeOned", socket.socket, bytes], None]
Wrap = Callable[[socket.socket], socket.socket]


class FakeOned:
    """Keeps requests and counts connections; each uses one of `scripts`, the last is for the rest."""

    def __init__(self, *scripts: Script, wrap: Wrap) -> None:
        self.scripts = list(scripts)
        self._wrap = wrap
        self.requests: list[tuple[str, tuple[object, ...]]] = []
        self.heads: list[str] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}/RPC2"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        # shutdown wakes accept(); close alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            script = self.scripts[min(self.connections, len(self.scripts) - 1)]
            self.connections += 1
            threading.Thread(target=self._one, args=(connection, script), daemon=True).start()

    def _one(self, connection: socket.socket, script: Script) -> None:
        try:
            with self._wrap(connection) as wrapped:
                script(self, wrapped, self._request(wrapped))
        except OSError:
            return

    def _request(self, connection: socket.socket) -> bytes:
        received = b""
        while b"\r\n\r\n" not in received:
            more = connection.recv(65536)
            if not more:
                raise ConnectionError("no request came")
            received += more
        head, _, body = received.partition(b"\r\n\r\n")
        match = re.search(rb"Content-Length: (\d+)", head)
        assert match is not None
        while len(body) < int(match[1]):
            body += connection.recv(65536)
        self.heads.append(head.decode())
        arguments, method = loads(body.decode())
        self.requests.append((str(method), arguments))
        return body


@contextmanager
def oned(*scripts: Script, wrap: Wrap = lambda plain: plain) -> Iterator[FakeOned]:
    """A server for the time of the block. wrap: puts TLS around each connection."""
    server = FakeOned(*scripts, wrap=wrap)
    try:
        yield server
    finally:
        server.close()


def http(body: bytes, status: str = "200 OK") -> bytes:
    """An answer as oned's server writes it."""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )


def success(value: object) -> bytes:
    """oned's way to say yes."""
    return http(dumps(([True, value, 0],), methodresponse=True).encode())


def refusal(text: str, code: int = 0x0400) -> bytes:
    """oned's way to say no."""
    return http(dumps(([False, text, code, -1],), methodresponse=True).encode())


def say(*answers: bytes) -> Script:
    """One answer for each request, the last for the rest."""
    left = list(answers)

    def script(_server: FakeOned, connection: socket.socket, _request: bytes) -> None:
        connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    return script


def drip(answer: bytes, pause_s: float) -> Script:
    """The answer byte by byte."""

    def script(_server: FakeOned, connection: socket.socket, _request: bytes) -> None:
        for index in range(len(answer)):
            connection.sendall(answer[index : index + 1])
            time.sleep(pause_s)

    return script


def hang_up(_server: FakeOned, _connection: socket.socket, _request: bytes) -> None:
    """Close without an answer."""


def silence(_server: FakeOned, _connection: socket.socket, _request: bytes) -> None:
    """Never answer."""
    time.sleep(5)
