"""The size of the disk in an image that is not imported yet, told from as few of its bytes as possible."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Callable, NamedTuple

from storpool_addon.config import Config
from storpool_addon.datastore import compression, fetch, formats, opening, source
from storpool_addon.datastore.formats import HEAD_SIZE, ReadAt
from storpool_addon.errors import StateError
from storpool_addon.units import bytes_to_mib_up

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.opennebula.action import DatastoreAction

# oned waits 90 s for the answer (include/SyncRequest.h).
BUDGET_S = 75.0
# A block of bzip2 is up to 900 kB, and nothing comes out of less than one.
_COMPRESSED_HEAD = 1 << 20
# VHDX has its size some MiB from its beginning.
_UNPACKED_HEAD = 8 << 20


class Facts(NamedTuple):
    """What can be asked of an image. length: bytes, None when nobody says. stream: all of it, to count."""

    name: str
    length: int | None
    head: bytes
    read_at: ReadAt
    stream: Callable[[], Iterable[bytes]]


def size_mib(driver: Driver, config: Config, action: DatastoreAction) -> int:
    """MiB of the disk in the image at PATH; StateError when that cannot be told in time."""
    image = action.the_image
    wanted = opening.Wanted(image.path, config, marketplace=action.marketplace)
    with ExitStack() as stack:
        facts = _facts(driver, wanted, stack)
        size = disk_size(facts, unpack=not (image.no_decompress or config.no_decompress))
    if size <= 0:
        raise StateError(f"{facts.name} is empty; check the image's PATH")
    return bytes_to_mib_up(size)


def disk_size(facts: Facts, *, unpack: bool) -> int:
    """Bytes of the disk, after decompression when `unpack`."""
    kind = compression.compression(facts.head) if unpack else ""
    if kind:
        return _compressed_size(facts, kind)
    size = formats.virtual_size(facts.head, facts.read_at)
    if size is None:
        size = facts.length
    return _count(facts.stream(), facts.name) if size is None else size


def _compressed_size(facts: Facts, kind: str) -> int:
    begin = facts.read_at(0, _COMPRESSED_HEAD) or facts.head
    head = _first(compression.decompressed([begin], kind))
    size = formats.virtual_size(head, lambda offset, size: head[offset : offset + size])
    if size is None and facts.length is not None:
        size = compression.uncompressed_size(kind, facts.length, facts.read_at)
    return _count(compression.decompressed(facts.stream(), kind), facts.name) if size is None else size


def _first(pieces: Iterable[bytes]) -> bytes:
    """The head of a stream of which only the beginning is there."""
    head = b""
    try:
        for piece in pieces:
            head += piece
            if len(head) >= _UNPACKED_HEAD:
                break
    except StateError:
        pass  # it ends too early, as is to be expected
    return head


def _count(blocks: Iterable[bytes], name: str) -> int:
    """Bytes of a stream that nobody knows the length of, if it ends in time."""
    give_up, size = time.monotonic() + BUDGET_S, 0
    for block in blocks:
        size += len(block)
        if time.monotonic() > give_up:
            raise StateError(f"the size of {name} cannot be told in {BUDGET_S:g} s; offer it uncompressed")
    return size


def _facts(driver: Driver, wanted: opening.Wanted, stack: ExitStack) -> Facts:
    where, name = source.classify(wanted.path), source.shown(wanted.path)
    if isinstance(where, source.Web):
        # With it comes all of HTTP and TLS, which an image that is a file has no use for.
        from storpool_addon.datastore.web import Web

        web = stack.enter_context(Web(where.url, driver.environ, driver.log))
        length, head = web.probe()
        return Facts(name, length, head, web.read_at, lambda: web.open()[1])
    if isinstance(where, source.File):
        fd = opening.open_file(driver, wanted.config, where.path)
        stack.callback(os.close, fd)
        return _of_file(name, fd)
    if isinstance(where, source.Ssh):
        there = where

        def read_at(offset: int, size: int) -> bytes:
            return opening.ssh_read_at(driver, there, offset, size)

        length = opening.ssh_size(driver, where)
        return Facts(name, length, read_at(0, HEAD_SIZE), read_at, lambda: _opened(driver, wanted, stack))
    blocks = _opened(driver, wanted, stack)
    head, rest = fetch.peeked(iter(blocks))
    return Facts(name, None, head, lambda offset, size: head[offset : offset + size], lambda: rest)


def _of_file(name: str, fd: int) -> Facts:
    def read_at(offset: int, size: int) -> bytes:
        return os.pread(fd, size, offset)

    from storpool_addon.datastore.sparse import blocks_of

    length = os.lseek(fd, 0, os.SEEK_END)
    return Facts(name, length, read_at(0, HEAD_SIZE), read_at, lambda: blocks_of(fd))


def _opened(driver: Driver, wanted: opening.Wanted, stack: ExitStack) -> Iterable[bytes]:
    """The image's bytes as they are."""
    return opening.open_image(driver, wanted._replace(decompress=False), stack).stream.blocks
