"""One process at a time: a lock for each object on this front-end, which ends with its process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator

from storpool_addon.errors import StateError

# Below the service user's home, where the driver may write without anybody having prepared anything.
DIRECTORY = ".storpool-addon/locks"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.25
_NAME = re.compile(r"[A-Za-z0-9_.:\-]{1,199}", re.ASCII)
# Nobody but us writes there; a file that somebody put there must not fill a message.
_MOST_WORDS = 200


class Busy(StateError):
    """Another process has the lock."""


@contextlib.contextmanager
def exclusive(directory: str, name: str, *, timeout_s: float, who: str) -> Iterator[None]:
    """Hold the lock of the object `name` while the block runs; the kernel frees it however we end.

    who: says it to those who wait. Busy after timeout_s, with the words of the process that has it.
    Locks of several objects are to be taken in the order of their names.
    """
    path = _path(directory, name)
    descriptor = _acquire(path, name, time.monotonic() + timeout_s)
    try:
        # A disk that is full has no room for words; the lock is had all the same.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{who} since {time.strftime('%Y-%m-%d %H:%M:%S')}".encode(), 0)
        yield
    finally:
        # While it is still ours: who opened it meanwhile sees that it is gone and begins anew.
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.close(descriptor)


def _path(directory: str, name: str) -> str:
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise StateError(f"{name[:200]!r} cannot be locked: it is no name of an object")
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        found = os.lstat(directory)
    except OSError as error:
        raise StateError(f"the directory for locks cannot be made: {error}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise StateError(f"{directory} is not a directory of the user that runs this; remove it")
    return os.path.join(directory, name)


def _acquire(path: str, name: str, give_up: float) -> int:
    pause_s = _FIRST_PAUSE_S
    while True:
        descriptor = _open(path)
        try:
            if _locked(descriptor) and _is_there(path, descriptor):
                taken, descriptor = descriptor, -1
                return taken
            if time.monotonic() + pause_s > give_up:
                raise Busy(f"{name} is being worked on by {_words(descriptor)}; try again later")
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StateError(f"lock {path} cannot be opened: {error.strerror}") from None


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_there(path: str, descriptor: int) -> bool:
    """Whether the file that we locked is still the one of that name: who had it has removed it at its end."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _words(descriptor: int) -> str:
    said = os.pread(descriptor, _MOST_WORDS, 0).decode("utf-8", "replace")
    return "".join(char for char in said if char.isprintable()) or "another process"
