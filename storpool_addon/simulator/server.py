"""The API over HTTP: authentication, paths, the envelope of answers, and faults on the wire."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from storpool_addon.simulator import control
from storpool_addon.simulator.faults import PASS, Moment, Verdict
from storpool_addon.simulator.refusal import Refused, invalid

if TYPE_CHECKING:
    from storpool_addon.simulator.simulator import Simulator

API = "/ctrl/1.0/"
MAX_BODY = 64 << 20


class Answer(NamedTuple):
    """An HTTP answer: status and JSON."""

    status: int
    body: Any


class Server(ThreadingHTTPServer):
    """Listens for one simulator."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], simulator: Simulator) -> None:
        self.simulator = simulator
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Like the parent's, without its reverse DNS look-up."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news; anything else goes to stderr."""
        import sys

        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 300

    def setup(self) -> None:
        """Keep the connection only if the switch says so."""
        self.protocol_version = "HTTP/1.1" if self.server.simulator.switches.keep_alive else "HTTP/1.0"
        super().setup()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are logged by the simulator."""

    def do_GET(self) -> None:
        """GET."""
        self._serve()

    def do_POST(self) -> None:
        """POST."""
        self._serve()

    def do_DELETE(self) -> None:
        """DELETE, of control endpoints alone."""
        self._serve()

    def _serve(self) -> None:
        simulator = self.server.simulator
        raw = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), MAX_BODY))
        path = urlsplit(self.path)
        if path.path.startswith("/sim/"):
            self._send(Answer(*control.serve(simulator, self.command, path.path[5:], path.query, raw)))
            return
        start = time.monotonic()
        exchange = Exchange(simulator, self.command, self.path, self.headers.get("Authorization"), raw)
        answer = exchange.run()
        simulator.record(exchange, answer, time.monotonic() - start)
        self._deliver(exchange.wire, answer)

    def _deliver(self, verdict: Verdict, answer: Answer) -> None:
        if verdict.kind in ("refuse", "lose"):
            self._reset()
        elif verdict.kind == "garbage":
            self._send_bytes(200, b"<html>502 Bad Gateway</html>")
        elif verdict.kind == "truncated":
            whole = _encode(answer.body)
            self._send_bytes(answer.status, whole[: len(whole) // 2], length=len(whole))
            self._reset()
        elif verdict.kind == "drip":
            self._drip(answer, verdict.seconds)
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        self._send_bytes(answer.status, _encode(answer.body))

    def _send_bytes(self, status: int, body: bytes, *, length: int | None = None) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Cache-control", "private")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Connection", "keep-alive" if self.protocol_version == "HTTP/1.1" else "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _drip(self, answer: Answer, seconds: float) -> None:
        body = _encode(answer.body)
        self._send_bytes(answer.status, b"", length=len(body))
        for each in body:
            self.wfile.write(bytes([each]))
            self.wfile.flush()
            if self.server.simulator.stopping.wait(seconds):
                break

    def _reset(self) -> None:
        """Close with RST instead of FIN: the peer sees a connection that was reset."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        os.close(self.connection.detach())
        raise ConnectionAbortedError


def _encode(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


class Exchange:
    """One API call from its bytes to its answer. `wire` is what becomes of the answer."""

    def __init__(
        self, simulator: Simulator, method: str, path: str, authorization: str | None, raw: bytes
    ) -> None:
        self.simulator = simulator
        self.method = method
        self.path = path
        self.authorization = authorization
        self.raw = raw
        self.wire = PASS
        self.moment = Moment(0, "before", method, "", (), None, False)
        self.number = simulator.next_number()

    def run(self) -> Answer:
        """Act, and say what to answer."""
        try:
            self._authenticate()
            return self._through_gates()
        except Refused as error:
            return self.refusal(error)
        except Exception as error:  # a bug of the simulator must look like one
            return Answer(500, {"error": {"name": "simulatorBug", "descr": repr(error), "transient": False}})

    def _authenticate(self) -> None:
        if self.authorization != f"Storpool v1:{self.simulator.token}":
            raise Refused("forbidden", "Wrong authentication token", status=403)

    def _through_gates(self) -> Answer:
        route = self.simulator.route(self.method, self._parts())
        body = self._body()
        query = route.call.query
        self.moment = Moment(self.number, "before", self.method, query, route.args, body, route.multicluster)
        before = self._pass_gate(self.moment)
        if before.kind == "refuse":
            self.wire = before
            return Answer(0, None)
        if before.kind == "error":
            raise _refused(before)
        answer = self._act(route, body)
        after = self._pass_gate(self.moment._replace(when="after", answer=answer.body))
        if after.kind == "error":
            raise _refused(after)
        self.wire = after if after.kind != "pass" else before
        return answer

    def _act(self, route: Any, body: Any) -> Answer:
        try:
            data, generation = self.simulator.perform(route, body)
        except Refused as error:
            return self.refusal(error)
        return Answer(200, {"generation": generation, "data": data})

    def _pass_gate(self, moment: Moment) -> Verdict:
        verdict = self.simulator.judge(moment)
        while verdict.kind in ("delay", "client"):
            if verdict.kind == "delay":
                self.simulator.stopping.wait(verdict.seconds)
            else:
                self.simulator.set_client(verdict.client, verdict.state)
            verdict = PASS
        return verdict

    def _parts(self) -> list[str]:
        path = urlsplit(self.path).path
        if not path.startswith(API):
            raise invalid(f"Unknown path {path}")
        return [unquote(each) for each in path[len(API) :].split("/")]

    def _body(self) -> Any:
        text: Any = self.raw
        if self.method == "GET":
            text = parse_qs(urlsplit(self.path).query).get("json", [""])[0]
        if not text:
            return None
        try:
            return json.loads(text)
        except ValueError:
            raise invalid("The JSON argument cannot be parsed") from None

    def refusal(self, error: Refused) -> Answer:
        """The answer that carries an error."""
        switches = self.simulator.switches
        transient = error.transient or error.name in switches.transient_errors.split(",")
        body: Any = {"error": {"name": error.name, "descr": error.descr, "transient": transient}}
        if switches.error_generation:
            body["generation"] = self.simulator.cluster.generation
        return Answer(error.status or switches.error_status, body)


def _refused(verdict: Verdict) -> Refused:
    return Refused(verdict.name, verdict.descr, transient=verdict.transient, status=verdict.status)


def serve_in_thread(server: Server) -> threading.Thread:
    """Serve until `shutdown`; the poll is short so that stopping is quick."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    return thread
