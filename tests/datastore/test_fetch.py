"""Streams: digested, slowed down, looked into, and read from programs that may fail."""

from __future__ import annotations

import gzip
import hashlib
import time
from collections.abc import Iterator

import pytest

from storpool_addon.datastore import fetch
from storpool_addon.datastore.fetch import Digests, Stream
from storpool_addon.errors import ConfigError, StateError, UsageError
from storpool_addon.hosts.process import Processes

CONTENT = [b"one", b"two", b"three" * 20_000]
WHOLE = b"".join(CONTENT)


def test_right_digests_let_the_content_pass() -> None:
    digests = Digests(hashlib.md5(WHOLE).hexdigest().upper(), hashlib.sha1(WHOLE).hexdigest())
    digests.check_form()
    assert b"".join(digests.checked(CONTENT, "it")) == WHOLE


@pytest.mark.parametrize("digests", [Digests(md5="0" * 32), Digests(sha1="0" * 40)])
def test_wrong_digest_ends_the_content_with_an_error(digests: Digests) -> None:
    read = []
    with pytest.raises(StateError, match=r"^it has (md5|sha1) [0-9a-f]+ and not 000"):
        for block in digests.checked(CONTENT, "it"):
            read.append(block)
    assert read == CONTENT


@pytest.mark.parametrize("digests", [Digests(md5="0" * 40), Digests(sha1="x" * 40), Digests(md5="$(id)")])
def test_what_is_no_digest_is_refused_before_anything_is_read(digests: Digests) -> None:
    with pytest.raises(UsageError, match=r"is no (md5|sha1) digest"):
        digests.check_form()


@pytest.mark.parametrize(
    ("text", "rate"), [("", 0), ("0", 0), ("800", 800), ("5k", 5120), ("10M", 10 << 20), ("1G", 1 << 30)]
)
def test_rate(text: str, rate: int) -> None:
    assert fetch.rate(text) == rate


@pytest.mark.parametrize("text", ["fast", "10MB", "-1", "1.5M", "M", "10 M", "²"])
def test_what_is_no_rate_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="LIMIT_TRANSFER_BW"):
        fetch.rate(text)


def test_limit_is_kept() -> None:
    begin = time.monotonic()
    assert list(fetch.limited([bytes(10_000)] * 4, 100_000)) == [bytes(10_000)] * 4
    assert 0.35 < time.monotonic() - begin < 1.5


@pytest.mark.parametrize("size", [1, 4, 6, 100, 200_000])
def test_look_at_the_head_takes_nothing_away(size: int) -> None:
    head, blocks = fetch.peeked(iter(CONTENT), size)
    assert head == WHOLE[:size]
    assert b"".join(blocks) == WHOLE


def test_compressed_stream_is_unpacked_and_its_length_forgotten() -> None:
    packed = gzip.compress(WHOLE)
    inside = fetch.unpacked(Stream(iter([packed]), len(packed), packed))
    assert (b"".join(inside.blocks), inside.length, inside.head) == (WHOLE, None, WHOLE[: 64 << 10])


def test_other_stream_stays_as_it_is() -> None:
    stream = Stream(iter(CONTENT), len(WHOLE), WHOLE[:100])
    assert fetch.unpacked(stream) is stream


@pytest.fixture
def processes() -> Iterator[Processes]:
    running = Processes()
    yield running
    running.close()


def run(processes: Processes, script: str, data: bytes = b"") -> bytes:
    return b"".join(fetch.of_command(processes, ["bash", "-c", script], "reading it", data))


def test_program_is_read_to_its_end(processes: Processes) -> None:
    assert run(processes, "cat; seq 100000", b"begin\n") == b"begin\n" + b"".join(
        b"%d\n" % n for n in range(1, 100_001)
    )


def test_program_that_fails_after_its_output_is_an_error(processes: Processes) -> None:
    with pytest.raises(StateError, match=r"reading it failed: no such thing \(exit code 3\)"):
        run(processes, "echo data; echo no such thing >&2; exit 3")


def test_program_that_is_silent_is_ended(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "STALL_S", 0.2)
    begin = time.monotonic()
    with pytest.raises(StateError, match=r"reading it failed: no data for 0.2 s"):
        run(processes, "echo data; sleep 60")
    assert time.monotonic() - begin < 5


def test_program_may_be_given_time_to_begin(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "STALL_S", 0.2)
    argv = ["bash", "-c", "sleep 0.6; echo data; sleep 60"]
    blocks = fetch.of_command(processes, argv, "reading it", first_s=20)
    assert next(blocks) == b"data\n"
    with pytest.raises(StateError, match=r"no data for 0.2 s"):
        next(blocks)


def test_program_that_is_not_read_to_its_end_is_ended(processes: Processes) -> None:
    blocks = fetch.of_command(processes, ["bash", "-c", "echo $$; exec sleep 60"], "reading it")
    pid = int(next(blocks))
    blocks.close()
    with pytest.raises(FileNotFoundError):
        open(f"/proc/{pid}/stat").close()
