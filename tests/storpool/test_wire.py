"""Transport faults: what the network, a dying API node or something that is no StorPool can do to a call."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from storpool_addon.errors import StorPoolLost, StorPoolNonsense, StorPoolRefused, StorPoolUnreachable
from storpool_addon.storpool import Api, Endpoint
from storpool_addon.storpool.wire import Wire
from tests.storpool.servers import (
    TOKEN,
    Handler,
    RawServer,
    close,
    data,
    drip,
    error,
    free_port,
    hang,
    http,
    reset,
    reset_at_once,
    say,
)
from tests.storpool.volumes import VOLUME

GOOD = data([VOLUME])
DONE = data({"ok": True, "generation": 7})
NAME = str(VOLUME["name"])


class Time:
    """A clock that only moves when somebody sleeps by it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def api_at(endpoint: Endpoint, *, deadline_s: float = 60.0, **options: Any) -> Api:
    passing = Time()
    return Api(endpoint, deadline_s=deadline_s, clock=passing.clock, sleep=passing.sleep, **options)


def volume_from(*handlers: Handler, **options: Any) -> tuple[str, RawServer]:
    """The name of the volume that the API gets out of such a server, and the server."""
    with RawServer(handlers) as server:
        return api_at(server.endpoint, **options).volume(NAME).name, server


GOOD_ANSWERS: dict[str, Handler] = {
    "as documented": say(http(json.dumps({"data": [VOLUME]}).encode(), headers=["Connection: close"])),
    "1.0 without a length": say(http(json.dumps({"data": [VOLUME]}).encode(), length=-1)),
    "1.1 kept alive": say(http(json.dumps({"data": [VOLUME]}).encode(), version="1.1"), b"", pause_s=60),
    "1.1 in chunks": say(
        http(b"", version="1.1", length=-1, headers=["Transfer-Encoding: chunked"]),
        b"5\r\n{\"dat\r\n",
        f"{len(json.dumps([VOLUME])) + 5:x}\r\na\": {json.dumps([VOLUME])}}}\r\n0\r\n\r\n".encode(),
    ),
    "another content type": say(GOOD.replace(b"application/json", b"text/html")),
    "in pieces": say(GOOD[:10], GOOD[10:100], GOOD[100:], pause_s=0.01),
    "a strange length": say(GOOD.replace(b"Content-Length: ", b"Content-Length: \xb2")),
    "an endless length": say(GOOD.replace(b"Content-Length: ", b"Content-Length: " + b"9" * 5000)),
    "a negative length": say(GOOD.replace(b"Content-Length: ", b"Content-Length: -")),
    "utf-16": say(http(json.dumps({"data": [VOLUME]}).encode("utf-16"))),
}  # fmt: skip


@pytest.mark.parametrize("handler", GOOD_ANSWERS.values(), ids=GOOD_ANSWERS.keys())
def test_good_answers_in_many_forms(handler: Handler) -> None:
    name, server = volume_from(handler)
    assert name == NAME
    assert server.connections == 1


RIDDEN_OUT: dict[str, Handler] = {
    "reset before it was read": reset_at_once,
    "reset after it was read": reset,
    "closed without an answer": close,
    "closed in the headers": say(GOOD[:30]),
    "truncated": say(GOOD[:-20]),
    "cut off where no length was given": say(http(b'{"data": [', length=-1)),
    "a gateway's error page": say(http(b"<html>Bad Gateway</html>", "502 Bad Gateway")),
    "an empty 503": say(http(b"", "503 Service Unavailable")),
    "no HTTP at all": say(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "a line without end": say(b"HTTP/1.0 200 " + b"O" * (1 << 18)),
    "headers without end": say(GOOD.partition(b"\r\n\r\n")[0], b"\r\nX: y" * 4096),
    "a chunk without a length": say(GOOD.replace(b"Content-Length:", b"Transfer-Encoding: chunked\r\nX:")),
    "a transient error": say(error("later", transient=True, status="500 Oh")),
}


@pytest.mark.parametrize("fault", RIDDEN_OUT.values(), ids=RIDDEN_OUT.keys())
def test_a_read_rides_out_faults(fault: Handler) -> None:
    name, server = volume_from(fault, fault, say(GOOD))
    assert name == NAME
    assert server.connections == 3


@pytest.mark.parametrize("fault", RIDDEN_OUT.values(), ids=RIDDEN_OUT.keys())
def test_a_fault_that_stays_ends_at_the_deadline(fault: Handler) -> None:
    passing = Time()
    with RawServer([fault]) as server:
        api = Api(server.endpoint, deadline_s=20, clock=passing.clock, sleep=passing.sleep)
        with pytest.raises((StorPoolUnreachable, StorPoolRefused)) as caught:
            api.volume(NAME)
    assert f"Volume {NAME}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, StorPoolLost)  # a read leaves nothing done or undone
    assert 15 < sum(passing.slept) < 20
    assert server.connections == len(passing.slept) + 1


def test_pauses_grow_from_a_tenth_of_a_second_to_two() -> None:
    passing = Time()
    api = Api(Endpoint(("127.0.0.1",), free_port(), TOKEN), clock=passing.clock, sleep=passing.sleep)
    with pytest.raises(StorPoolUnreachable):
        api.volume(NAME)
    full = itertools.chain([0.1, 0.2, 0.4, 0.8, 1.6], itertools.repeat(2.0))
    assert all(most / 2 <= slept <= most for slept, most in zip(passing.slept, full))
    assert len({*passing.slept}) > 10  # with jitter: a hundred scripts must not come back all at once


AT_ONCE: dict[str, tuple[bytes, type[Exception]]] = {
    "a refusal": (error("objectDoesNotExist", status="404 Not Found"), StorPoolRefused),
    "no JSON": (http(b"hello"), StorPoolNonsense),
    "a web server": (http(b"<html>Not Found</html>", "404 Not Found"), StorPoolNonsense),
    "a redirect": (http(b"", "302 Found", headers=["Location: http://127.0.0.2/"]), StorPoolNonsense),
    "another shape": (data({"name": NAME}), StorPoolNonsense),
    "compressed unasked": (http(b"\x1f\x8b\x08", headers=["Content-Encoding: gzip"]), StorPoolNonsense),
}


@pytest.mark.parametrize(("answer", "kind"), AT_ONCE.values(), ids=AT_ONCE.keys())
def test_what_will_not_change_is_not_tried_again(answer: bytes, kind: type[Exception]) -> None:
    with RawServer([say(answer)]) as server, pytest.raises(kind) as caught:
        api_at(server.endpoint).volume(NAME)
    assert type(caught.value) is kind
    assert server.connections == 1


def test_an_answer_without_end_is_cut_off() -> None:
    endless = say(http(b"", length=-1), *[b"[" * 65536] * 64)
    with RawServer([endless]) as server, pytest.raises(StorPoolNonsense, match="larger than 1000000 bytes"):
        url = f"{server.endpoint.urls()[0]}/ctrl/1.0/VolumesList"
        Wire(server.endpoint).exchange("GET", url, None, connect_s=1, answer_s=10, max_bytes=1_000_000)


SLOW: dict[str, list[Handler]] = {
    "silence": [hang],
    "a drip of headers": [drip(GOOD, 0.1)],
    "a drip of the body": [say(GOOD[:200], *[bytes([each]) for each in GOOD[200:]], pause_s=0.1)],
    "a drip of chunks": [
        say(
            http(b"", version="1.1", length=-1, headers=["Transfer-Encoding: chunked"]),
            *[b"1\r\n[\r\n"] * 100,
            pause_s=0.1,
        )
    ],
    "provisional answers": [say(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 100, pause_s=0.1)],
}


@pytest.mark.parametrize("handlers", SLOW.values(), ids=SLOW.keys())
def test_the_deadline_holds_against_slow_answers(handlers: list[Handler]) -> None:
    with RawServer(handlers) as server:
        began = time.monotonic()
        with pytest.raises(StorPoolUnreachable, match="no answer in time"):
            Api(server.endpoint, deadline_s=0.6).volume(NAME)
        took_s = time.monotonic() - began
    assert 0.3 < took_s < 1.5


def test_the_deadline_holds_against_silence_after_a_beginning() -> None:
    def begin(connection: socket.socket, stop: threading.Event) -> None:
        say(GOOD[:20], GOOD[20:40], pause_s=0.8)(connection, stop)
        hang(connection, stop)

    with RawServer([begin]) as server:
        url = f"{server.endpoint.urls()[0]}/ctrl/1.0/VolumesList"
        began = time.monotonic()
        with pytest.raises(StorPoolLost, match="no answer in time"):
            Wire(server.endpoint).exchange("GET", url, None, connect_s=1, answer_s=1, max_bytes=1000)
        assert time.monotonic() - began < 1.5


def test_a_connection_is_closed_though_the_server_would_keep_it() -> None:
    ends: list[bytes] = []

    def keep(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(http(json.dumps({"data": [VOLUME]}).encode(), version="1.1"))
        connection.settimeout(2)
        ends.append(connection.recv(1))

    with RawServer([keep]) as server:
        api = api_at(server.endpoint)
        assert api.volume(NAME).name == NAME
        began = time.monotonic()
        while not ends and time.monotonic() < began + 3:
            time.sleep(0.01)
    assert ends == [b""]


def test_a_half_open_connection_leaves_time_for_another_try() -> None:
    # The node that the API moved away from is silent; its successor has the same address.
    with RawServer([hang, say(GOOD)]) as server:
        assert Api(server.endpoint, deadline_s=1.0).volume(NAME).name == NAME


def test_a_listener_that_accepts_nobody_is_left_after_the_connect_timeout() -> None:
    with socket.socket() as full, RawServer([say(GOOD)]) as server:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        api = Api(
            Endpoint((f"127.0.0.1:{port}", f"127.0.0.1:{server.port}"), 81, TOKEN), connect_timeout_s=0.2
        )
        began = time.monotonic()
        assert api.volume(NAME).name == NAME
        assert 0.2 <= time.monotonic() - began < 2
        for each in waiting:
            each.close()


def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    with pytest.raises(StorPoolUnreachable, match=r"no-such-host\.invalid"):
        api_at(Endpoint(("no-such-host.invalid",), 81, TOKEN), deadline_s=0.2).volume(NAME)


def test_endpoints_take_turns_at_once_and_the_one_that_answers_stays() -> None:
    passing = Time()
    with RawServer([say(GOOD)]) as server:
        hosts = (f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", f"127.0.0.1:{server.port}")
        api = Api(Endpoint(hosts, 81, TOKEN), clock=passing.clock, sleep=passing.sleep)
        assert [api.volume(NAME).name for _ in range(3)] == [NAME] * 3
    assert passing.slept == []
    assert server.connections == 3


def test_a_round_of_dead_endpoints_ends_with_a_pause() -> None:
    passing = Time()
    hosts = (f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    api = Api(Endpoint(hosts, 81, TOKEN), deadline_s=1, clock=passing.clock, sleep=passing.sleep)
    with pytest.raises(StorPoolUnreachable) as caught:
        api.volume(NAME)
    assert all(host in str(caught.value) for host in hosts)
    assert "Connection refused" in str(caught.value)
    assert 0.3 < sum(passing.slept) < 1


def test_the_move_of_the_api_is_ridden_out() -> None:
    port = free_port()
    moved: list[RawServer] = []

    def move() -> None:
        time.sleep(0.5)
        moved.append(RawServer([reset_at_once, reset_at_once, say(GOOD)], port=port).__enter__())

    def hurry(seconds: float) -> None:
        time.sleep(seconds / 10)

    mover = threading.Thread(target=move)
    mover.start()
    lines: list[str] = []
    try:
        api = Api(Endpoint(("127.0.0.1",), port, TOKEN), deadline_s=10, log=lines.append, sleep=hurry)
        assert api.volume(NAME).name == NAME
    finally:
        mover.join()
        moved[0].__exit__(None, None, None)
    assert any(f"Connection refused (http://127.0.0.1:{port})" in line for line in lines)
    assert all(line.startswith(f"Volume {NAME}: ") and line.endswith("; trying again") for line in lines)


@pytest.fixture
def v6() -> Iterator[RawServer]:
    try:
        server = RawServer([say(GOOD)], address="::1")
    except OSError as reason:
        pytest.skip(f"no IPv6 on this machine: {reason}")
    with server:
        yield server


@pytest.mark.parametrize("spelling", ["::1", "[::1]", "[::1]:{port}", "0:0:0:0:0:0:0:1"])
def test_ipv6_with_and_without_brackets(v6: RawServer, spelling: str) -> None:
    host = spelling.format(port=v6.port)
    assert api_at(Endpoint((host,), v6.port, TOKEN)).volume(NAME).name == NAME
    assert f"Host: [{host.strip('[]').split(']')[0]}]:{v6.port}".encode() in v6.requests[0]


def test_a_request_as_storpool_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with RawServer([say(DONE)]) as server:
        api_at(server.endpoint).volume_create("v", size=512, tags={"a": ""})
    head, _, body = server.requests[0].decode().partition("\r\n\r\n")
    lines = head.split("\r\n")
    assert lines[0] == "POST /ctrl/1.0/VolumeCreate HTTP/1.1"
    assert f"Authorization: Storpool v1:{TOKEN}" in lines
    assert "Connection: close" in lines
    assert "Accept-Encoding: identity" in lines
    assert json.loads(body) == {"name": "v", "size": 512, "tags": {"a": ""}}


def test_a_password_file_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with RawServer([say(GOOD)]) as server:
        api_at(server.endpoint).volume(NAME)
    assert f"Authorization: Storpool v1:{TOKEN}".encode() in server.requests[0]


def test_a_repeat_sends_the_same_bytes() -> None:
    with RawServer([reset, close, say(DONE)]) as server:
        api_at(server.endpoint).volume_update("v", tags={"a": "b"})
    assert server.connections == 3
    assert set(server.bodies) == {b'{"tags": {"a": "b"}}'}


def test_a_waiting_call_waits_for_its_clients_and_a_margin() -> None:
    from storpool_addon.storpool import Reassign

    with RawServer([say(b"", DONE, pause_s=0.8)]) as server:
        # Half of the deadline alone would not do.
        Api(server.endpoint, deadline_s=0.6).volumes_reassign_wait(
            [Reassign(volume="v", rw=[1])], attach_timeout_s=1
        )
    assert json.loads(server.bodies[0]) == {"reassign": [{"volume": "v", "rw": [1]}], "attachTimeout": 1}
    assert server.connections == 1


def test_an_api_can_be_used_from_several_threads() -> None:
    found: list[str] = []
    with RawServer([say(GOOD)]) as server:
        api = api_at(server.endpoint)
        threads = [threading.Thread(target=lambda: found.append(api.volume(NAME).name)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [NAME] * 8
