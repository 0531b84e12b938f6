"""Copies a local raw file into a local device with several threads, as qemu-img does with coroutines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Callable

from storpool_addon.datastore import sparse
from storpool_addon.datastore.sparse import Writer

# The copy waits for memory and disk in turn: four in flight keep both busy.
THREADS = 4
BLOCK = 2 << 20


def copy_file(fd: int, writer: Writer, room: Callable[[int], None]) -> int:
    """Write what is not zero in a file; its length. The writer must take pieces from several threads.

    room: told the end of each block before it is written, as in `sparse.copy`.
    """
    copying = _Copy(fd, writer, room)
    threads = [threading.Thread(target=copying.work, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:
        # A signal ends the wait: nobody may write any more when the undo begins.
        copying.stop = True
        for thread in threads:
            thread.join()
    for error in copying.errors:
        raise error
    return copying.end


class _Copy:
    """What the threads share."""

    def __init__(self, fd: int, writer: Writer, room: Callable[[int], None]) -> None:
        self.end = sparse.file_size(fd)
        self.errors: list[BaseException] = []
        self.stop = False
        self._fd = fd
        self._writer = writer
        self._room = room
        self._lock = threading.Lock()
        self._blocks = self._all()

    def work(self) -> None:
        """Copy blocks until there are no more, or another thread failed."""
        try:
            while (block := self._next()) is not None:
                for offset, data in sparse.read_pieces(self._fd, *block):
                    self._writer.write(offset, data)
        except BaseException as error:
            self.errors.append(error)
            self.stop = True

    def _next(self) -> tuple[int, int] | None:
        with self._lock:
            return None if self.stop else next(self._blocks, None)

    def _all(self) -> Iterator[tuple[int, int]]:
        self._room(self.end)
        for start, stop in sparse.extents(self._fd, self.end):
            for offset in range(start, stop, BLOCK):
                self._room(offset)
                yield offset, min(BLOCK, stop - offset)
