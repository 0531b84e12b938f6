"""Who has a device open: a look at the descriptors of all processes, and at mounts."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator

# What udev or blkid look at is open for a moment; on a busy machine tests would see that again and again.
_LOOKS = 3
_BETWEEN_S = 0.02


def is_open(path: str) -> bool:
    """Whether a process has that file or block device open, or it is mounted, for more than a moment."""
    for look in range(_LOOKS):
        if look:
            time.sleep(_BETWEEN_S)
        if not _is_open_now(path):
            return False
    return True


def _is_open_now(path: str) -> bool:
    return _is_claimed(path) or any(_same(each, path) for each in _descriptors(os.path.basename(path)))


def _is_claimed(path: str) -> bool:
    """Mounts, and all who ask for exclusive use, claim a block device: so does this probe, for a moment."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_EXCL)
    except OSError as error:
        return error.errno == errno.EBUSY
    os.close(descriptor)
    return False


def _descriptors(name: str) -> Iterator[str]:
    """The /proc/PID/fd/N that lead to something of that name, whatever directory a namespace shows."""
    for pid in os.listdir("/proc"):
        if not pid.isdecimal():
            continue
        try:
            for each in os.listdir(f"/proc/{pid}/fd"):
                link = f"/proc/{pid}/fd/{each}"
                if os.readlink(link).endswith(f"/{name}"):
                    yield link
        except OSError:  # the process is gone, or not ours to look at
            continue


def _same(link: str, path: str) -> bool:
    try:
        there, here = os.stat(link), os.stat(path)
    except OSError:
        return False
    if here.st_rdev:
        return there.st_rdev == here.st_rdev
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
