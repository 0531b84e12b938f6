"""Compressed streams are opened piece by piece, whole, and never by guess."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import subprocess
from typing import Callable

import pytest

from storpool_addon.datastore import compression
from storpool_addon.errors import StateError
from tests.programs import needs

KINDS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
CONTENT = random.Random(1).randbytes(300_000) + bytes(3 << 20) + b"the end"


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1000, 65536, 1 << 24])
@pytest.mark.parametrize("kind", KINDS)
def test_content_comes_out_whole(kind: str, size: int) -> None:
    packed = KINDS[kind](CONTENT)
    assert compression.compression(packed) == kind
    assert b"".join(compression.decompressed(pieces(packed, size), kind)) == CONTENT


@pytest.mark.parametrize("kind", KINDS)
def test_small_file_does_not_become_a_large_piece(kind: str) -> None:
    packed = KINDS[kind](bytes(50 << 20))
    assert len(packed) < 60_000
    unpacked = list(compression.decompressed([packed], kind))
    assert sum(map(len, unpacked)) == 50 << 20
    assert max(map(len, unpacked)) <= compression.BLOCK


@pytest.mark.parametrize("size", [1, 777, 1 << 24])
@pytest.mark.parametrize("kind", KINDS)
def test_members_one_after_another_are_one_stream(kind: str, size: int) -> None:
    packed = KINDS[kind](b"first") + KINDS[kind](b"") + KINDS[kind](b"second") + b"\0" * 512
    assert b"".join(compression.decompressed(pieces(packed, size), kind)) == b"firstsecond"


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_stream_is_an_error(kind: str) -> None:
    with pytest.raises(StateError, match=f"the {kind} stream of the image ends too early"):
        list(compression.decompressed([KINDS[kind](CONTENT)[:-3]], kind))


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_stream_is_an_error(kind: str) -> None:
    packed = bytearray(KINDS[kind](CONTENT))
    packed[20_000:20_100] = bytes(100)
    with pytest.raises(StateError, match=f"the {kind} stream of the image is damaged"):
        list(compression.decompressed(pieces(bytes(packed), 65536), kind))


@pytest.mark.parametrize("head", [b"", b"\x1f\x8b", b"BZh9", b"BZhello world", b"PK\x03\x04", b"\xfd7zX"])
def test_what_only_looks_compressed_is_not(head: bytes) -> None:
    assert compression.compression(head) == ""


def size_of(kind: str, packed: bytes) -> int | None:
    return compression.uncompressed_size(kind, len(packed), lambda at, size: packed[at : at + size])


@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "byte", "long"])
def test_size_inside_is_read_from_the_end(content: bytes) -> None:
    assert size_of("xz", lzma.compress(content)) == len(content)
    assert size_of("bzip2", bz2.compress(content)) is None


def test_size_of_gzip_is_never_below_the_compressed_size() -> None:
    assert size_of("gzip", gzip.compress(CONTENT)) == len(CONTENT)
    wrapped = compression.uncompressed_size("gzip", 5 << 30, lambda at, size: (1 << 20).to_bytes(4, "little"))
    assert wrapped == (8 << 30) + (1 << 20)


@needs("xz")
def test_size_of_xz_with_several_blocks() -> None:
    argv = ["xz", "--block-size=65536", "-0", "-c"]
    packed = subprocess.run(argv, input=CONTENT, capture_output=True, check=True, timeout=60).stdout
    assert size_of("xz", packed) == len(CONTENT)


@pytest.mark.parametrize("packed", [b"\0" * 100, b"\xff" * 90 + b"\xff\xff\xff\xff\0\0\0\0\0\0YZ", b"YZ"])
def test_garbage_has_no_size(packed: bytes) -> None:
    assert size_of("xz", packed) is None


@pytest.mark.parametrize("kind", KINDS)
def test_server_that_cannot_give_the_end_tells_no_size(kind: str) -> None:
    assert compression.uncompressed_size(kind, 5000, lambda at, size: b"") is None
