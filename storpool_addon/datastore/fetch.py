"""One stream of bytes from wherever an image is: digested, unpacked, kept to a speed limit."""

from __future__ import annotations

import contextlib
import hmac
import itertools
import os
import select
import subprocess
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import NamedTuple

from storpool_addon.datastore import compression
from storpool_addon.datastore.formats import HEAD_SIZE
from storpool_addon.errors import ConfigError, StateError, UsageError
from storpool_addon.hosts.process import Finished, Processes, describe

STALL_S = 60.0
BLOCK = 1 << 20
_RATE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_DIGEST_LENGTHS = {"md5": 32, "sha1": 40}


class Stream(NamedTuple):
    """An image's bytes.

    length: of what `blocks` yields, None when nobody said. certain: whether length can be relied on.
    head: the first bytes, which `blocks` yields again.
    """

    blocks: Iterator[bytes]
    length: int | None
    head: bytes


class Digests(NamedTuple):
    """What the content must hash to; "" for what is not to be checked."""

    md5: str = ""
    sha1: str = ""

    def check_form(self) -> None:
        """UsageError when one cannot be a digest, before anything is read."""
        for kind, value in self._asdict().items():
            if value and (len(value) != _DIGEST_LENGTHS[kind] or value.strip("0123456789abcdefABCDEF")):
                raise UsageError(f"{kind.upper()} {value!r} of the image is no {kind} digest; correct it")

    def checked(self, blocks: Iterable[bytes], name: str) -> Iterator[bytes]:
        """The same blocks; StateError at their end when the content is not what it has to be.

        Digested is what the server keeps, before decompression, as OpenNebula's downloader does.
        """
        import hashlib

        wanted = {kind: value.lower() for kind, value in self._asdict().items() if value}
        found = {kind: hashlib.new(kind, usedforsecurity=False) for kind in wanted}
        for block in blocks:
            for each in found.values():
                each.update(block)
            yield block
        for kind, value in wanted.items():
            if not hmac.compare_digest(found[kind].hexdigest(), value):
                got = found[kind].hexdigest()
                raise StateError(
                    f"{name} has {kind} {got} and not {value}; it was changed or damaged on its way"
                )


def rate(text: str) -> int:
    """Bytes a second of LIMIT_TRANSFER_BW, written as for curl's --limit-rate: 800, 500k, 10M; 0 for none."""
    number, unit = (text[:-1], text[-1:].lower()) if text[-1:].isalpha() else (text, "")
    if not text:
        return 0
    if unit not in _RATE_UNITS or not (number.isascii() and number.isdigit()):
        raise ConfigError(
            f"LIMIT_TRANSFER_BW {text!r} is not a number of bytes a second with k, M or G behind it"
        )
    return int(number) * _RATE_UNITS[unit]


def limited(blocks: Iterable[bytes], bytes_per_s: int) -> Iterator[bytes]:
    """The same blocks, not faster than that."""
    if not bytes_per_s:
        yield from blocks
        return
    begin, done = time.monotonic(), 0
    for block in blocks:
        done += len(block)
        time.sleep(max(0.0, begin + done / bytes_per_s - time.monotonic()))
        yield block


def peeked(blocks: Iterator[bytes], size: int = HEAD_SIZE) -> tuple[bytes, Iterator[bytes]]:
    """The first `size` bytes, and the blocks with those still in them."""
    head = b""
    for block in blocks:
        head += block
        if len(head) >= size:
            break
    return head[:size], prepended(head, blocks)


def prepended(head: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks with `head` before them."""
    return itertools.chain([head] if head else [], blocks)


def unpacked(stream: Stream) -> Stream:
    """What is inside a compressed stream; any other stream as it is."""
    kind = compression.compression(stream.head)
    if not kind:
        return stream
    head, blocks = peeked(compression.decompressed(stream.blocks, kind))
    return Stream(blocks, None, head)


def of_command(
    processes: Processes,
    argv: Sequence[str],
    what: str,
    data: bytes = b"",
    *,
    first_s: float = 0.0,
) -> Generator[bytes, None, None]:
    """What a program prints; StateError when it fails or is silent for too long.

    data: what it is given on standard input, at most what fits in a pipe (64 KiB). first_s: how long it may
    be silent before its first byte, where that is longer than afterwards.
    """
    receiving, sending = os.pipe()
    try:
        os.write(sending, data)
        child = processes.start(argv, stdin=receiving)
    finally:
        os.close(receiving)
        os.close(sending)
    try:
        yield from _printed(child, what, max(first_s, STALL_S))
        processes.finish(child, timeout_s=STALL_S)
    except Finished as ended:
        raise StateError(f"{what} failed: {describe(ended, STALL_S)}") from None
    finally:
        with contextlib.suppress(ValueError):
            processes.end(child)


def _printed(child: subprocess.Popen[bytes], what: str, wait_s: float) -> Iterator[bytes]:
    assert child.stdout is not None
    output = child.stdout.fileno()
    while True:
        if not select.select([output], [], [], wait_s)[0]:
            raise StateError(f"{what} failed: no data for {wait_s:g} s")
        wait_s = STALL_S
        block = os.read(output, BLOCK)
        if not block:
            return
        yield block
