"""Writes the disks of one backup into a directory of this host: whole ones, and increments of earlier ones.

Standard input is the job, one line of JSON; when it ends before we do, whoever asked for this is gone, and
so are we. Standard output tells how many bytes are done, about once a second, and `done` at the end. An
increment is a qcow2 image of the whole disk's size without a backing file: clusters that are as in the base
are left out, others are in it, and those that became zeros are marked as zeros.
"""

import errno
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from base64 import b64decode
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

CHUNK = 2 << 20
# What one thread takes at a time: enough that a hole of a terabyte is passed in a moment.
UNIT = 256 << 20
# Disks at a time, and threads for each increment: reading from StorPool is waiting, not computing.
DISKS, THREADS = 4, 4
# A small cluster makes a small increment. Of a disk whose base is lost every cluster has an entry: 128 MiB
# for a terabyte with the larger ones. The table of clusters' tables may have 32 MiB, says qemu.
SMALLEST_BITS, WHOLE_BITS, MOST_L1 = 12, 16, (32 << 20) // 8
REPORT_S = 1.0
COPIED, ZERO = 1 << 63, 1
# qcow2 version 3, docs/interop/qcow2.txt of qemu; 104 bytes, no extensions.
HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
REFCOUNT_ORDER = 4
NOWHERE = 1 << 63

Disk = NamedTuple("Disk", [("target", str), ("device", str), ("base", str), ("kind", str)])


class Failed(Exception):
    """What went wrong, in one line."""


class Progress:
    """How many bytes of all disks are done; standard output has it once a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = {}  # type: Dict[str, int]
        self._speaking = threading.Lock()
        self._over = False

    def at(self, target: str, done: int) -> None:
        """A disk is that far."""
        with self._lock:
            self._done[target] = done

    def add(self, target: str, more: int) -> None:
        """A disk is that much further."""
        with self._lock:
            self._done[target] = self._done.get(target, 0) + more

    def tell(self) -> None:
        """Report, until it is over."""
        while True:
            time.sleep(REPORT_S)
            with self._lock:
                done = sum(self._done.values())
            with self._speaking:
                if self._over:
                    return
                say(str(done))

    def finish(self) -> None:
        """Say that all is done, and nothing after that."""
        with self._speaking:
            self._over = True
            say("done")


class Source:
    """A device, read in pieces by several threads. size: in bytes."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.lseek(self._fd, 0, os.SEEK_END)

    def read(self, offset: int, length: int) -> bytes:
        """These bytes; zeros after the end."""
        parts = []
        at, end = offset, min(offset + length, self.size)
        while at < end:
            part = os.pread(self._fd, end - at, at)
            if not part:
                raise Failed("the device ended at byte {} of {}".format(at, self.size))
            parts.append(part)
            at += len(part)
        self.forget(offset + length, offset)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        return data if len(data) == length else data + bytes(length - len(data))

    def forget(self, end: int, begin: int = 0) -> None:
        """Give back the memory that holds this part, whoever read it: the machines that run here need it."""
        os.posix_fadvise(self._fd, begin, end - begin, os.POSIX_FADV_DONTNEED)

    def next_data(self, offset: int) -> int:
        """Where data may begin from there on, as far as the system knows; NOWHERE when there is none."""
        if offset >= self.size:
            return NOWHERE
        try:
            return os.lseek(self._fd, offset, os.SEEK_DATA)
        except OSError as error:
            # Devices know no holes.
            return NOWHERE if error.errno == errno.ENXIO else offset

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


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


def bits_for(size: int, smallest: int) -> int:
    """The smallest cluster that a disk of that size can have."""
    bits = smallest
    while size > MOST_L1 << (2 * bits - 3):
        bits += 1
    return bits


class Children:
    """The programs that run; they end when we do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = []  # type: List[subprocess.Popen[bytes]]

    def start(self, argv: List[str]) -> "subprocess.Popen[bytes]":
        """Start one."""
        with self._lock:
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            self._running.append(child)
        return child

    def kill(self) -> None:
        """End them all; none starts any more."""
        # Never given back: whoever waits for it is about to end as well.
        self._lock.acquire(timeout=1)
        for child in self._running:
            if child.poll() is None:
                child.kill()


CHILDREN = Children()
PROGRESS = Progress()


def convert(disk: Disk, path: str) -> None:
    """A whole disk, by qemu-img."""
    source = Source(disk.device)
    child = CHILDREN.start(
        ["qemu-img", "convert", "-p", "-m", "8", "-f", "raw", "-O", "qcow2", disk.device, path]
    )
    assert child.stdout is not None and child.stderr is not None
    while True:
        # "    (12.34/100%)\r"
        printed = os.read(child.stdout.fileno(), 4096)
        if not printed:
            break
        percent = printed.rpartition(b"(")[2].partition(b"/")[0]
        try:
            done = int(source.size * float(percent) / 100)
        except ValueError:
            continue
        source.forget(done)
        PROGRESS.at(disk.target, done)
    source.close()
    errors = child.stderr.read().decode("utf-8", "replace").strip()
    if child.wait():
        raise Failed(" ".join(errors.split()) or "qemu-img ended with {}".format(child.returncode))


def compare(disk: Disk, path: str) -> None:
    """An increment, or a whole disk in an increment's place."""
    source = Source(disk.device)
    base = Source(disk.base) if disk.base else None
    bits = bits_for(source.size, SMALLEST_BITS if base else WHOLE_BITS)
    image = Qcow2(path, source.size, bits)
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
            PROGRESS.add(disk.target, end - begin)

    together([work] * THREADS)
    image.finish()
    for each in (image, source, base):
        if each is not None:
            each.close()


def together(works: "List[Callable[[], None]]") -> None:
    """Run them all at the same time; the first failure is everybody's."""
    failures = []  # type: List[BaseException]

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(0.05)
        if failures:
            break
    if failures:
        raise failures[0]


def export(directory: str, disk: Disk) -> None:
    """Write one disk; Failed names it."""
    path = os.path.join(directory, disk.target)
    try:
        if disk.kind == "full":
            convert(disk, path)
        else:
            compare(disk, path)
    except (OSError, Failed) as error:
        words = error.strerror if isinstance(error, OSError) else str(error)
        raise Failed("{}: {}".format(disk.target, words)) from error


def prepare(directory: str, files: Dict[str, str]) -> None:
    """An empty directory that only we can read, with these files; what an earlier run left goes."""
    if os.path.islink(directory) or os.path.isfile(directory):
        os.unlink(directory)
    elif os.path.exists(directory):
        shutil.rmtree(directory)
    os.makedirs(directory, 0o700)
    for name, content in files.items():
        with open(os.path.join(directory, name), "wb") as file:
            file.write(b64decode(content))


def run(job: Dict[str, Any]) -> None:
    """Do the whole job; Failed when it could not be done."""
    directory = job["directory"]
    try:
        prepare(directory, job["files"])
    except OSError as error:
        raise Failed("{}: {}".format(error.filename or directory, error.strerror)) from error
    disks = iter([Disk(**each) for each in job["disks"]])
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                disk = next(disks, None)
            if disk is None:
                return
            export(directory, disk)

    together([work] * min(DISKS, len(job["disks"])))


def say(line: str) -> None:
    """One line of standard output; nobody there any more is nothing to us."""
    try:
        os.write(1, line.encode() + b"\n")
    except OSError:
        end(1)


def end(code: int) -> None:
    """End now, with all that we started."""
    CHILDREN.kill()
    os._exit(code)


def watch() -> None:
    """Whoever asked for this holds our input open."""
    while os.read(0, 1024):
        pass
    end(1)


def main() -> None:
    """Be the program."""
    os.umask(0o077)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: end(1))
    job = json.loads(sys.stdin.buffer.readline().decode())
    for target in (watch, PROGRESS.tell):
        threading.Thread(target=target, daemon=True).start()
    try:
        run(job)
    except Failed as error:
        os.write(2, "{}\n".format(error).encode())
        end(1)
    PROGRESS.finish()
    end(0)


if __name__ == "__main__":
    main()
