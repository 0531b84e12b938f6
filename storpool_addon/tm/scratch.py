"""A directory of our own on the front-end, for an action that has to build files."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator

_PREFIX = "storpool-addon-"


@contextlib.contextmanager
def directory(word: str) -> Iterator[str]:
    """An empty directory, gone at the end; what a killed run left is removed by the next.

    Whoever lives holds a lock on its directory, which ends with the process.
    """
    import tempfile

    _remove_forsaken(tempfile.gettempdir())
    path, lock = _make(word)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _make(word: str) -> tuple[str, int]:
    import tempfile

    while True:
        path = tempfile.mkdtemp(prefix=f"{_PREFIX}{word}-")
        # Another process may take it for forsaken before the lock is ours.
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(path):
            return path, lock
        os.close(lock)


def _remove_forsaken(parent: str) -> None:
    with os.scandir(parent) as entries:
        ours = [each.path for each in entries if each.name.startswith(_PREFIX)]
    for path in ours:
        # Others may write to the parent: only a directory, only our own, and only where nobody works.
        with contextlib.suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
