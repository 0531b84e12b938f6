"""Images are read from a real HTTP server, in spite of what servers do."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from storpool_addon.datastore import web
from storpool_addon.datastore.web import Web
from storpool_addon.errors import StateError
from tests.datastore.imageserver import ImageServer

CONTENT = random.Random(3).randbytes(1_500_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageServer]:
    monkeypatch.setattr(web, "PAUSE_S", 0.01)
    with ImageServer(CONTENT) as running:
        yield running


def read(url: str) -> tuple[int | None, bytes]:
    with Web(url, {}, lambda line: None) as image:
        length, blocks = image.open()
        return length, b"".join(blocks)


def test_whole_content_with_its_length(server: ImageServer) -> None:
    assert read(server.url) == (len(CONTENT), CONTENT)
    assert len(server.requests) == 1


def test_length_is_unknown_when_the_server_does_not_say(server: ImageServer) -> None:
    server.chunked = True
    assert read(server.url) == (None, CONTENT)


def test_broken_connections_are_continued(server: ImageServer) -> None:
    server.breaks, server.break_after = 5, 300_000
    assert read(server.url) == (len(CONTENT), CONTENT)
    later = [headers for _, headers in server.requests[1:]]
    assert [each["Range"] for each in later] == [f"bytes={n * 300_000}-" for n in range(1, 5)]
    assert {each["If-Range"] for each in later} == {server.etag}


def test_connection_that_breaks_at_once_again_and_again_is_given_up(server: ImageServer) -> None:
    server.breaks, server.break_after = 99, 0
    with pytest.raises(StateError, match="failed after 0 bytes"):
        read(server.url)
    assert len(server.requests) == web.ATTEMPTS


def test_broken_connection_without_ranges_is_an_error(server: ImageServer) -> None:
    server.ranges, server.breaks, server.break_after = False, 1, 300_000
    with pytest.raises(StateError, match=r"failed after .* bytes: .*cannot continue"):
        read(server.url)


def test_image_that_changes_while_it_is_read_is_an_error(server: ImageServer) -> None:
    server.breaks, server.break_after = 1, 300_000
    with Web(server.url, {}, lambda line: None) as image:
        _, blocks = image.open()
        next(blocks)
        server.etag = '"two"'
        with pytest.raises(StateError, match="changed on the server"):
            list(blocks)


def test_weak_validator_is_not_relied_on(server: ImageServer) -> None:
    server.etag, server.breaks, server.break_after = 'W/"one"', 1, 300_000
    with pytest.raises(StateError, match="cannot continue"):
        read(server.url)


def test_redirects_are_followed(server: ImageServer) -> None:
    server.redirects = {"/image": "/b", "/b": server.url.replace("/image", "/c")}
    assert read(server.url)[1] == CONTENT


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("file:///etc/shadow", "neither http nor https"),
        ("ftp://h/x", "neither http nor https"),
        ("/image", "more than 10 times"),
    ],
)
def test_redirects_lead_only_to_web_servers(server: ImageServer, target: str, error: str) -> None:
    server.redirects = {"/image": target}
    with pytest.raises(StateError, match=error):
        read(server.url)


def test_busy_server_is_asked_again(server: ImageServer) -> None:
    server.statuses = [503, 502]
    assert read(server.url)[1] == CONTENT


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_refusal_is_final_and_shows_no_secret(server: ImageServer, status: int) -> None:
    server.statuses = [status]
    url = server.url.replace("http://", "http://me:secret@") + "?token=secret"
    with pytest.raises(StateError, match=f"answered {status} ") as caught:
        read(url)
    assert "secret" not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x", "http://no-such-host.invalid/x", "http://[::1/x", "http://"]
)
def test_server_that_is_not_there(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "PAUSE_S", 0.01)
    with pytest.raises(StateError, match=r"cannot be read: .*; check the image's PATH"):
        read(url)


def test_server_that_drips_is_cut(server: ImageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time for the socket's own timeout; only the whole read is late."""
    monkeypatch.setattr(web, "STALL_S", 0.4)
    server.drip_s, server.ranges = 0.05, False
    with pytest.raises(StateError, match="failed after"):
        read(server.url)


def test_slow_reader_is_not_cut(server: ImageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setattr(web, "STALL_S", 0.2)
    with Web(server.url, {}, lambda line: None) as image:
        _, blocks = image.open()
        first = next(blocks)
        time.sleep(0.5)
        assert first + b"".join(blocks) == CONTENT


def test_probe_reads_length_and_head_only(server: ImageServer) -> None:
    with Web(server.url, {}, lambda line: None) as image:
        assert image.probe() == (len(CONTENT), CONTENT[: 64 << 10])
        assert image.read_at(1_000_000, 10) == CONTENT[1_000_000:1_000_010]
    assert server.requests[0][1]["Range"] == "bytes=0-65535"


def test_probe_of_a_server_without_ranges(server: ImageServer) -> None:
    server.ranges = False
    with Web(server.url, {}, lambda line: None) as image:
        assert image.probe() == (len(CONTENT), CONTENT[: 64 << 10])
        assert image.read_at(1_000_000, 10) == b""


def test_proxy_of_the_environment_is_used(server: ImageServer) -> None:
    environ = {"http_proxy": server.url.rpartition("/")[0], "no_proxy": "direct.invalid"}
    with Web("http://image.invalid/a", environ, lambda line: None) as image:
        assert image.probe().length == len(CONTENT)
    assert server.requests[0][0] == "http://image.invalid/a"


def test_netrc_is_never_sent(server: ImageServer, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w") as file:
        file.write("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", netrc)
    server.redirects = {"/image": "/b"}
    read(server.url)
    assert all("Authorization" not in headers for _, headers in server.requests)
