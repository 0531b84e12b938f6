"""What is not zero is written, where it was; the rest is left alone."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import pytest

from storpool_addon.datastore import filecopy, sparse
from storpool_addon.errors import StateError

KIB = 1 << 10


class Target:
    """Collects what is written."""

    hole = sparse.HOLE

    def __init__(self, size: int) -> None:
        self.content = bytearray(size)
        self.written = 0

    def write(self, offset: int, data: bytes) -> None:
        self.content[offset : offset + len(data)] = data
        self.written += len(data)


def contents() -> list[bytes]:
    data = random.Random(2).randbytes(3 << 20)
    return [
        b"",
        b"x",
        bytes(5 << 20),
        data,
        bytes(64 * KIB) + b"x" + bytes(200 * KIB),
        data[:1000] + bytes(3 << 20) + data[:77],
        bytes(70 * KIB) + data[: 100 * KIB] + bytes(64 * KIB - 1) + b"y",
        data[: 64 * KIB] + bytes(64 * KIB) + data[: 64 * KIB] + bytes(100),
    ]


@pytest.mark.parametrize("size", [1, 1000, 64 * KIB, sparse.BLOCK])
@pytest.mark.parametrize("content", contents(), ids=lambda content: str(len(content)))
def test_stream_arrives_whole(content: bytes, size: int) -> None:
    if size == 1:
        content = content[-2000:]
    target = Target(len(content))
    blocks = (content[at : at + size] for at in range(0, len(content), size))
    assert sparse.copy(sparse.pieces(blocks), target, lambda end: None) == len(content)
    assert bytes(target.content) == content


def test_zeros_are_not_written() -> None:
    content = bytes(1 << 20) + b"x" * 100 + bytes(3 << 20)
    target = Target(len(content))
    sparse.copy(sparse.pieces([content]), target, lambda end: None)
    assert target.written == 64 * KIB
    assert bytes(target.content) == content


def test_holes_of_a_file_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(1 << 40)
        for at in (5 << 20, 1 << 30, 1 << 39):
            file.seek(at)
            file.write(b"x" * 5000)
    fd = os.open(path, os.O_RDONLY)
    found = {offset: data for offset, data in sparse.file_pieces(fd) if data}
    *_, last = sparse.file_pieces(fd)
    os.close(fd)
    assert last == (1 << 40, b"")
    assert sorted(found) == [5 << 20, 1 << 30, 1 << 39]
    assert all(data.startswith(b"x" * 5000) and not data[5000:].strip(b"\0") for data in found.values())


@pytest.mark.parametrize("content", contents(), ids=lambda content: str(len(content)))
def test_file_is_copied_whole_by_several_threads(tmp_path: Path, content: bytes) -> None:
    path, target, ends = tmp_path / "image", Target(10 * len(content)), [0]
    path.write_bytes(content * 10)
    fd = os.open(path, os.O_RDONLY)
    assert filecopy.copy_file(fd, target, ends.append) == len(content) * 10
    os.close(fd)
    assert bytes(target.content) == content * 10 and max(ends) == len(content) * 10


def test_failure_of_one_thread_ends_the_copy(tmp_path: Path) -> None:
    failed = threading.Event()

    class Full(Target):
        def write(self, offset: int, data: bytes) -> None:
            if offset == 4 << 20:
                failed.set()
                raise StateError("full")
            # On a busy machine the thread that fails may come to it last.
            if offset > 4 << 20:
                assert failed.wait(10)
            super().write(offset, data)

    path = tmp_path / "image"
    path.write_bytes(b"x" * (30 << 20))
    fd = os.open(path, os.O_RDONLY)
    target = Full(30 << 20)
    with pytest.raises(StateError, match="full"):
        filecopy.copy_file(fd, target, lambda end: None)
    os.close(fd)
    assert target.written < 20 << 20


def test_no_room_for_a_file_is_known_before_anything_is_written(tmp_path: Path) -> None:
    path, target = tmp_path / "image", Target(0)
    path.write_bytes(b"x" * 100)

    def room(end: int) -> None:
        raise StateError(f"no room for {end}")

    fd = os.open(path, os.O_RDONLY)
    with pytest.raises(StateError, match="no room for 100"):
        filecopy.copy_file(fd, target, room)
    os.close(fd)
    assert target.written == 0


def test_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"x" * (3 << 20))
    fd = os.open(path, os.O_RDONLY)
    parts = sparse.file_pieces(fd)
    next(parts)
    os.truncate(path, 1 << 20)
    with pytest.raises(StateError, match="became shorter"):
        list(parts)
    os.close(fd)


def test_room_is_asked_for_before_anything_is_written_there() -> None:
    target = Target(1 << 20)

    def room(end: int) -> None:
        if end > 1 << 20:
            raise StateError("full")

    with pytest.raises(StateError, match="full"):
        sparse.copy(sparse.pieces([b"x" * (1 << 20), b"y"]), target, room)
    assert bytes(target.content) == b"x" * (1 << 20)


def test_zeros_beyond_the_end_need_room_too() -> None:
    ends: list[int] = []
    sparse.copy(sparse.pieces([b"x", bytes(5000)]), Target(1), ends.append)
    assert ends[-1] == 5001
