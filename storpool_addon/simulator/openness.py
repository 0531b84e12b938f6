"""Who has a device open: a look at the descriptors of all processes, and at mounts."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator


def is_open(path: str) -> bool:
    """Whether a process has that file or block device open, or it is mounted."""
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
