"""Writing a stream into a device that reads zeros: only what is not zero is written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from typing import Callable, Protocol

from storpool_addon.errors import StateError

BLOCK = 1 << 20
# A run of zeros shorter than this is written: skipping it costs more than it saves.
HOLE = 64 << 10
_ZEROS = bytes(HOLE)


class Writer(Protocol):
    """Where data goes. hole: the smallest run of zeros that it is worth to skip."""

    hole: int

    def write(self, offset: int, data: bytes) -> None: ...


def pieces(blocks: Iterable[bytes], hole: int = HOLE) -> Iterator[tuple[int, bytes]]:
    """(offset, data) of a stream, without the zeros; the last piece is (length of the stream, b"")."""
    zeros = bytes(hole)
    offset = 0
    for block in blocks:
        yield from _not_zero(block, offset, zeros)
        offset += len(block)
    yield offset, b""


def file_pieces(fd: int) -> Iterator[tuple[int, bytes]]:
    """`pieces` of a file, which does not read the holes that the file system knows."""
    end = file_size(fd)
    for start, stop in extents(fd, end):
        for offset in range(start, stop, BLOCK):
            yield from read_pieces(fd, offset, min(BLOCK, stop - offset))
    yield end, b""


def read_pieces(fd: int, offset: int, size: int) -> Iterator[tuple[int, bytes]]:
    """The pieces of a part of a file; StateError when the file ends before it."""
    block = os.pread(fd, size, offset)
    if len(block) != size:
        raise StateError(f"the image file became shorter than {offset + size} bytes while it was read")
    yield from _not_zero(block, offset, _ZEROS)


def file_size(fd: int) -> int:
    """Bytes of a file or device."""
    return os.lseek(fd, 0, os.SEEK_END)


def blocks_of(fd: int) -> Iterator[bytes]:
    """The content of a file, holes included, from its beginning."""
    offset = 0
    while block := os.pread(fd, BLOCK, offset):
        yield block
        offset += len(block)


def copy(parts: Iterable[tuple[int, bytes]], writer: Writer, room: Callable[[int], None]) -> int:
    """Write the pieces; the length of the stream.

    room: told the end of each piece before it is written, to make room for it or to refuse.
    """
    end = 0
    for offset, data in parts:
        end = offset + len(data)
        room(end)
        if data:
            writer.write(offset, data)
    return end


def extents(fd: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the file system keeps data; one extent for a file (a device) that has no holes."""
    stop = 0
    while stop < end:
        try:
            start = os.lseek(fd, stop, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return
            if error.errno != errno.EINVAL:
                raise
            yield stop, end
            return
        stop = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, stop


def _not_zero(block: bytes, offset: int, zeros: bytes) -> Iterator[tuple[int, bytes]]:
    """The runs of a block that are not zero; comparing is memcmp, which ends at the first difference."""
    size, hole = len(block), len(zeros)
    start: int | None = None
    for at in range(0, size, hole):
        empty = block.startswith(zeros, at) if at + hole <= size else not block[at:].strip(b"\0")
        if empty and start is not None:
            yield offset + start, block[start:at]
            start = None
        elif not empty and start is None:
            start = at
    if start is not None:
        yield offset + start, block[start:] if start else block
