"""Fenced StorPool clients: this front-end attaches nothing to one, from its mark until somebody lifts it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterable, Iterator
from typing import Callable

from storpool_addon.errors import StateError

# Below the service user's home, as the locks.
DIRECTORY = ".storpool-addon/fences"
_PAUSE_S = 0.1
_LONGEST = 200
_ODD = re.compile(r"[^A-Za-z0-9_.\-]", re.ASCII)


def key(urls: Iterable[str], client: int, cluster: str = "") -> str:
    """What names a client of the cluster whose API is at these URLs. cluster: another one's id."""
    words = [*urls, cluster] if cluster else urls
    return _ODD.sub("_", f"{client}-{'-'.join(words)}")[:_LONGEST]


class Fences:
    """The marks of fenced clients, each in a file that outlives everything, and who attaches just now.

    Who attaches holds a client's lock together with others, from its look at the mark to StorPool's answer.
    A fence that has the lock for itself after it set the mark knows: no attach that had not seen the mark is
    under way, and none will begin. The kernel frees the locks of a process that is killed.
    directory: "" for none; nothing is fenced then. sleep: a pause of seconds.
    """

    def __init__(self, directory: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._directory = directory
        self._sleep = sleep

    @contextlib.contextmanager
    def attaching(self, clients: Iterable[str]) -> Iterator[None]:
        """Attach to these clients while the block runs; StateError when one of them is fenced."""
        with contextlib.ExitStack() as held:
            for client in sorted(set(clients)) if self._directory else ():
                held.enter_context(self._together(client))
            yield

    @contextlib.contextmanager
    def _together(self, client: str) -> Iterator[None]:
        try:
            descriptor = self._open(client)
        except OSError:
            # A disk that is full must not stop every VM; no mark can be set on it either.
            self._refuse_fenced(client)
            yield
            return
        try:
            # Only a fence has it alone, for an instant, and its mark is there by then.
            while not _locked(descriptor, fcntl.LOCK_SH):
                self._refuse_fenced(client)
                self._sleep(_PAUSE_S)
            self._refuse_fenced(client)
            yield
        finally:
            os.close(descriptor)

    def _refuse_fenced(self, client: str) -> None:
        words = self.words(client)
        if words:
            raise StateError(f"nothing is attached to {words}")

    def words(self, client: str) -> str:
        """What the mark of a client says, "" for one that is not fenced."""
        try:
            with open(self._mark(client), encoding="utf-8", errors="replace") as file:
                said = file.read(4 * _LONGEST)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise StateError(f"whether a client is fenced cannot be told: {error}") from None
        return "".join(each for each in said if each.isprintable()) or "a fenced host"

    def mark(self, client: str, words: str) -> None:
        """Fence a client: no attach begins from now on. words: who is told so, and what can be done."""
        path = self._mark(client)
        try:
            os.close(self._open(client))
            descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(words)
                file.flush()
                os.fsync(file.fileno())
            os.replace(f"{path}.new", path)
            _to_disk(self._directory)
        except OSError as error:
            raise StateError(f"the mark of a fenced host cannot be written: {error}") from None

    def settle(self, client: str, give_up: Callable[[], bool]) -> None:
        """Wait until no attach is under way that began before the mark; StateError when that is too long."""
        try:
            descriptor = self._open(client)
        except OSError as error:
            raise StateError(f"the lock of a fenced host cannot be opened: {error}") from None
        try:
            while not _locked(descriptor, fcntl.LOCK_EX):
                if give_up():
                    raise StateError("another action still attaches volumes to the host; run it again")
                self._sleep(_PAUSE_S)
        finally:
            os.close(descriptor)

    def lift(self, client: str) -> None:
        """Take the mark away; done already when there is none."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._mark(client))

    def _mark(self, client: str) -> str:
        return os.path.join(self._directory, f"{client}.fenced")

    def _open(self, client: str) -> int:
        path = os.path.join(self._directory, f"{client}.lock")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            return os.open(path, flags, 0o600)


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _to_disk(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
