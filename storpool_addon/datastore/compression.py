"""Compressed images: which compression, the stream inside, and how long that is."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from typing import Protocol

from storpool_addon.datastore.formats import ReadAt
from storpool_addon.errors import StateError

BLOCK = 1 << 20

_MAGIC = (
    ("gzip", re.compile(rb"\x1f\x8b\x08")),
    # The digits after "BZh" are the block size, then comes pi (a block) or its square root (the end).
    ("bzip2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")),
    ("xz", re.compile(rb"\xfd7zXZ\x00")),
)
_XZ_FOOTER = 12
_XZ_LARGEST_INDEX = 1 << 20


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def compression(head: bytes) -> str:
    """gzip, bzip2 or xz; "" for anything else."""
    return next((name for name, magic in _MAGIC if magic.match(head)), "")


def decompressed(blocks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """The stream inside, in pieces of at most BLOCK bytes; several members one after another are one stream.

    StateError when it is damaged or ends too early. A small compressed file never becomes a large piece
    in memory.
    """
    decompressor = _make(name)
    for block in blocks:
        data = block
        while data or _holds_more(decompressor):
            if decompressor.eof:
                data = data.lstrip(b"\0")  # tar and tape pad with zeros
                if not data:
                    break
                decompressor = _make(name)
            piece, data = _step(decompressor, data, name)
            if piece:
                yield piece
    if not decompressor.eof:
        raise StateError(f"the {name} stream of the image ends too early; is the file complete?")


def _make(name: str) -> _Decompressor:
    if name == "gzip":
        return _Gzip()
    if name == "bzip2":
        import bz2

        return bz2.BZ2Decompressor()
    import lzma

    return lzma.LZMADecompressor(memlimit=1 << 30)


class _Gzip:
    """zlib's decompressor with the interface that bz2's and lzma's have."""

    def __init__(self) -> None:
        import zlib

        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _holds_more(decompressor: _Decompressor) -> bool:
    """Whether it has input that it was not let to put out yet."""
    return not decompressor.eof and not getattr(decompressor, "needs_input", True)


def _step(decompressor: _Decompressor, data: bytes, name: str) -> tuple[bytes, bytes]:
    """One piece of output, and the input that is left for a next member."""
    import lzma
    import zlib

    try:
        piece = decompressor.decompress(data, BLOCK)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise StateError(f"the {name} stream of the image is damaged: {error}") from None
    return piece, decompressor.unused_data if decompressor.eof else b""


def uncompressed_size(name: str, length: int, read_at: ReadAt) -> int | None:
    """Bytes of the stream inside as its end tells, without reading the rest; None when it does not tell.

    gzip keeps the size modulo 4 GiB and of its last member only: the smallest size not below the
    compressed one is given. bzip2 keeps none.
    """
    if name == "gzip" and length >= 18:
        end = read_at(length - 4, 4)
        if len(end) != 4:
            return None
        size: int = struct.unpack("<I", end)[0]
        return size if size >= length else size + -(-(length - size) // (1 << 32)) * (1 << 32)
    if name == "xz" and length >= 2 * _XZ_FOOTER:
        return _xz_size(length, read_at)
    return None


def _xz_size(length: int, read_at: ReadAt) -> int | None:
    """The sum over the index of the last stream (xz-file-format 1.2, sections 2.1.2 and 4)."""
    footer = read_at(length - _XZ_FOOTER, _XZ_FOOTER)
    if footer[10:] != b"YZ":
        return None
    size = (struct.unpack("<I", footer[4:8])[0] + 1) * 4
    if size > min(_XZ_LARGEST_INDEX, length - _XZ_FOOTER):
        return None
    index = read_at(length - _XZ_FOOTER - size, size)
    try:
        numbers = _numbers(index[1:])
        return sum(number for _, number in zip(range(2 * next(numbers)), numbers) if _ % 2)
    except (StopIteration, IndexError):
        return None


def _numbers(data: bytes) -> Iterator[int]:
    """xz's variable-length integers: seven bits a byte, the lowest first."""
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0
