"""What of a disk differs from its base, as a qcow2 image of the whole disk's size without a backing file.

Clusters that are as in the base are left out, others are in it, and those that became zeros are marked as
zeros.
"""

import threading
from typing import Callable, Iterator, List, Optional

from storpool_addon.onhost.qcow2 import COPIED, ZERO, Qcow2, bits_for
from storpool_addon.onhost.source import Source
from storpool_addon.onhost.threads import together

CHUNK = 2 << 20
# What one thread takes at a time: enough that a hole of a terabyte is passed in a moment.
UNIT = 256 << 20
# Reading from StorPool is waiting, not computing.
THREADS = 4
# A small cluster makes a small increment. Of a disk whose base is lost every cluster has an entry: 128 MiB
# for a terabyte with the larger ones.
SMALLEST_BITS, WHOLE_BITS = 12, 16


class Increment:
    """One increment. base: None when nobody knows what the readers' base holds: then every zero is marked."""

    def __init__(self, image: Qcow2, source: Source, base: Optional[Source]) -> None:
        self._image = image
        self._source = source
        self._base = base
        self._chunk = min(CHUNK, image.span)
        self._zeros = bytes(self._chunk)

    def unit(self, begin: int, end: int) -> None:
        """The tables of a part of the disk."""
        at = begin
        while at < end:
            if self._base is not None:
                data = min(self._source.next_data(at), self._base.next_data(at))
                at = max(at, data - data % self._image.span)
                if at >= end:
                    return
            self._table(at, min(at + self._image.span, self._image.size))
            at += self._image.span

    def _table(self, begin: int, end: int) -> None:
        entries = None  # type: Optional[List[int]]
        if self._base is None and self._source.next_data(begin) >= end:
            self._image.table(begin, self._image.new_entries(ZERO))
            return
        for at in range(begin, end, self._chunk):
            length = min(self._chunk, end - at)
            new = self._source.read(at, length)
            old = None if self._base is None else self._base.read(at, length)
            if new != old:
                entries = entries or self._image.new_entries()
                self._changed(new, old, entries, (at - begin) // self._image.cluster)
        if entries is not None:
            self._image.table(begin, entries)

    def _changed(self, new: bytes, old: Optional[bytes], entries: List[int], first: int) -> None:
        """Find the clusters of a chunk that differ; those with data are written in one piece."""
        size, written, where = self._image.cluster, [], []
        for at in differing(new, old, size):
            piece, index = new[at : at + size], first + at // size
            if self._zeros.startswith(piece):
                entries[index] = ZERO
            else:
                written.append(piece.ljust(size, b"\0"))
                where.append(index)
        if written:
            offset = self._image.append(b"".join(written))
            for number, index in enumerate(where):
                entries[index] = offset + number * size | COPIED


def differing(new: bytes, old: Optional[bytes], size: int) -> Iterator[int]:
    """Where clusters that differ begin; with nothing to compare with, all."""
    if old is None:
        yield from range(0, len(new), size)
        return
    # Whole runs first: comparing is memcmp, and the loop around it is what costs.
    run = max(size, 64 << 10)
    for begin in range(0, len(new), run):
        if new[begin : begin + run] != old[begin : begin + run]:
            for at in range(begin, min(begin + run, len(new)), size):
                if new[at : at + size] != old[at : at + size]:
                    yield at


def write_increment(device: str, base_device: str, path: str, done: Callable[[int], None]) -> None:
    """One increment into a new file; `done` is told of every so many bytes that are.

    base_device: "" for a whole disk in an increment's place.
    """
    source = Source(device)
    base = Source(base_device) if base_device else None
    image = Qcow2(path, source.size, bits_for(source.size, SMALLEST_BITS if base else WHOLE_BITS))
    increment = Increment(image, source, base)
    step = max(UNIT, image.span)
    units = iter(range(0, source.size, step))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                begin = next(units, None)
            if begin is None:
                return
            end = min(begin + step, source.size)
            increment.unit(begin, end)
            done(end - begin)

    together([work] * THREADS)
    image.finish()
    for each in (image, source, base):
        if each is not None:
            each.close()
