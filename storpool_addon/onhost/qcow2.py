"""The writing of a qcow2 image, cluster by cluster."""

import os
import struct
import threading
from typing import List

# A disk's table of clusters' tables may have 32 MiB, says qemu.
MOST_L1 = (32 << 20) // 8
COPIED, ZERO = 1 << 63, 1
# qcow2 version 3, docs/interop/qcow2.txt of qemu; 104 bytes, no extensions.
HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
REFCOUNT_ORDER = 4


class Qcow2:
    """A new qcow2 image; several threads add clusters, `finish` makes it whole."""

    def __init__(self, path: str, size: int, bits: int) -> None:
        self.size = size
        self.cluster = 1 << bits
        self._bits = bits
        self._entries = self.cluster // 8
        # The bytes that one table of clusters is about.
        self.span = self._entries * self.cluster
        self._l1 = [0] * max(1, -(-size // self.span))
        self._lock = threading.Lock()
        self._next = 1
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def append(self, data: bytes) -> int:
        """Write whole clusters; the offset of the first."""
        with self._lock:
            offset = self._next * self.cluster
            self._next += -(-len(data) // self.cluster)
        self._write(offset, data)
        return offset

    def table(self, offset: int, entries: List[int]) -> None:
        """The table of the clusters from `offset` of the disk on."""
        packed = struct.pack(">%dQ" % self._entries, *entries)
        self._l1[offset // self.span] = self.append(packed) | COPIED

    def new_entries(self, entry: int = 0) -> List[int]:
        """An empty table, or one of the same entry."""
        return [entry] * self._entries

    def finish(self) -> None:
        """Write what makes an image of the clusters; it is on the disk when this returns."""
        l1 = self.append(struct.pack(">%dQ" % len(self._l1), *self._l1))
        blocks, table = self._refcounts()
        header = HEADER.pack(
            b"QFI\xfb", 3, 0, 0, self._bits, self.size, 0, len(self._l1), l1, table,
            -(-blocks * 8 // self.cluster), 0, 0, 0, 0, 0, REFCOUNT_ORDER, HEADER.size,
        )  # fmt: skip
        self._write(0, header.ljust(self.cluster, b"\0"))
        end = self._next * self.cluster
        os.ftruncate(self._fd, end)
        os.fsync(self._fd)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)

    def _refcounts(self) -> "tuple[int, int]":
        """Every cluster of the file is used once, those that say so too: how many blocks, and their table."""
        each, blocks = self.cluster * 8 >> REFCOUNT_ORDER, 0
        while True:
            total = self._next + blocks + -(-blocks * 8 // self.cluster)
            needed = -(-total // each)
            if needed == blocks:
                break
            blocks = needed
        first = self._next * self.cluster
        whole = b"\0\1" * each
        for block in range(blocks):
            used = min(each, total - block * each)
            self.append(whole if used == each else (b"\0\1" * used).ljust(self.cluster, b"\0"))
        offsets = [first + block * self.cluster for block in range(blocks)]
        return blocks, self.append(struct.pack(">%dQ" % blocks, *offsets))

    def _write(self, offset: int, data: bytes) -> None:
        done, rest = 0, memoryview(data)
        while done < len(data):
            done += os.pwrite(self._fd, rest[done:], offset + done)


def bits_for(size: int, smallest: int) -> int:
    """The smallest cluster that a disk of that size can have."""
    bits = smallest
    while size > MOST_L1 << (2 * bits - 3):
        bits += 1
    return bits
