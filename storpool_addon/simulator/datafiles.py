"""The bytes of volumes and snapshots: sparse files, copied by reflink where the file system can."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable

_FICLONE = 0x40049409  # linux/fs.h
_COPY_CHUNK = 1 << 30


class DataFiles:
    """Data files of one cluster, known by short ids. All lengths are bytes."""

    def __init__(self, directory: str) -> None:
        self.directory = os.path.abspath(directory)
        os.makedirs(self.directory, exist_ok=True)
        self._last = max((int(each, 36) for each in os.listdir(self.directory)), default=0)

    def path(self, data: str) -> str:
        """Where a data file is."""
        return os.path.join(self.directory, data)

    def create(self, length: int) -> str:
        """A new file of zeros."""
        data = self._next()
        with open(self.path(data), "xb") as target:
            target.truncate(length)
        return data

    def copy(self, source: str, length: int) -> str:
        """A new file with the first `length` bytes of another, and zeros behind it."""
        return self.fetch(self.path(source), length)

    def fetch(self, path: str, length: int) -> str:
        """Like `copy`, from any path."""
        data = self._next()
        try:
            copy_sparse(path, self.path(data), length)
        except OSError:
            self.remove(data)
            raise
        return data

    def overwrite(self, data: str, source: str, length: int) -> None:
        """Put the content of another file into this one, which keeps its identity."""
        os.truncate(self.path(data), 0)
        copy_sparse(self.path(source), self.path(data), length)

    def resize(self, data: str, length: int) -> None:
        """Cut the file, or let it grow by zeros."""
        os.truncate(self.path(data), length)

    def length(self, data: str) -> int:
        """The file's length."""
        return os.stat(self.path(data)).st_size

    def stored(self, data: str) -> int:
        """How much of the file is really there."""
        return os.stat(self.path(data)).st_blocks * 512 if data else 0

    def remove(self, data: str) -> None:
        """Remove a file; done when it is not there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(data))

    def keep_only(self, wanted: Iterable[str]) -> None:
        """Remove what a killed process left behind."""
        for each in set(os.listdir(self.directory)) - set(wanted):
            self.remove(each)

    def _next(self) -> str:
        self._last += 1
        number, digits = self._last, ""
        while number:
            number, rest = divmod(number, 36)
            digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
        return digits


def copy_sparse(source: str, target: str, length: int) -> None:
    """Copy up to `length` bytes, sharing blocks or at least keeping holes; the rest reads as zeros."""
    with open(source, "rb") as reader, open(target, "r+b" if os.path.exists(target) else "xb") as writer:
        if not _clone(reader.fileno(), writer.fileno()):
            _copy_data(reader.fileno(), writer.fileno(), length)
        writer.truncate(length)


def _clone(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS):
            return False
        raise
    return True


def _copy_data(source: int, target: int, length: int) -> None:
    end = min(length, os.fstat(source).st_size)
    position = 0
    while position < end:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data up to the end
                return
            raise
        position = min(os.lseek(source, start, os.SEEK_HOLE), end)
        _copy_range(source, target, start, position)


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        copied = os.copy_file_range(source, target, min(end - start, _COPY_CHUNK), start, start)
        if not copied:
            return
        start += copied
