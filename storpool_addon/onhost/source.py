"""A device that is read in pieces, by several threads, and leaves nothing of itself in the page cache."""

import errno
import os

NOWHERE = 1 << 63


class Failed(Exception):
    """What went wrong, in one line."""


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
