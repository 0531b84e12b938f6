"""What all processes of the driver did on this front-end: their lines, taken out of the spool and added up.

For the exporter: `Spool(directory).totals()` takes what has come since the last time and gives `Totals`,
which only grow, over restarts too (`since` says from when on):

    actions  (action, outcome) to Spread   "tm/clone", "ok"; outcomes are tally.OUTCOMES
    retries  action to number              calls to the outside that it made again
    calls    call to Calls                 "VolumeCreate", "one.vm.info", "ssh", and "here" for the front-end
                                           (scripts on hosts; programs that data stream through do not count)
    losses   "garbage", "full"             lines that could not be read; takings of a spool that was full

Bounds of the histograms are tally.ACTION_BOUNDS and tally.CALL_BOUNDS. The directory is
`{home_of(environ)}/{tally.DIRECTORY}`; processes leave lines from the moment that it is there.

A line is counted once, whatever ends the reader and wherever: the file is renamed to `taken.N`, which waits
for those who are writing; its sums are written together with N in one step; then it is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time

from storpool_addon import locks
from storpool_addon.errors import StateError
from storpool_addon.monitoring.totals import Totals
from storpool_addon.tally import FILE, MOST_BYTES, is_ours

_STATE = "totals.json"
_TAKEN = re.compile(r"taken\.([0-9]{1,15})", re.ASCII)
# How long another reader, and whoever writes a line at this moment, is waited for.
_PATIENCE_S = 1.0
_PAUSE_S = 0.005
_MOST_STATE = 16 << 20


class Spool:
    """The spool in a directory. trouble: why the last totals are not of this moment, "" when they are."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._last = Totals.none()
        self.trouble = ""

    def totals(self) -> Totals:
        """All that was done up to now; what could be had the last time when there is trouble."""
        self.trouble = ""
        who = f"process {os.getpid()}"
        try:
            with locks.exclusive(self._directory, "reader", timeout_s=_PATIENCE_S, who=who):
                self._last = self._up_to_now()
        except (StateError, OSError) as error:
            self.trouble = f"the spool {self._directory} cannot be read: {error}"
        return self._last

    def _up_to_now(self) -> Totals:
        totals, done = self._known()
        for number in self._waiting():
            if number > done:
                done = self._include(totals, number)
            else:
                self._remove(number)
        try:
            os.rename(self._path(FILE), self._path(f"taken.{done + 1}"))
        except FileNotFoundError:
            return totals
        self._include(totals, done + 1)
        return totals

    def _known(self) -> tuple[Totals, int]:
        """The sums that are kept, and the number of the last file that is in them."""
        try:
            with open(os.open(self._path(_STATE), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                if not is_ours(os.fstat(file.fileno())):
                    raise ValueError("not ours")
                return Totals.unpacked(file.read(_MOST_STATE))
        except (FileNotFoundError, ValueError):
            # What counters are for: who reads them sees that they began anew.
            return Totals.none(), 0

    def _waiting(self) -> list[int]:
        """Numbers of files that an earlier run has not removed."""
        found = (_TAKEN.fullmatch(each) for each in os.listdir(self._directory))
        return sorted(int(each[1]) for each in found if each)

    def _include(self, totals: Totals, number: int) -> int:
        for line in self._lines(totals, number):
            if line:
                totals.add(line)
        self._keep(totals, number)
        self._remove(number)
        return number

    def _lines(self, totals: Totals, number: int) -> list[bytes]:
        path = self._path(f"taken.{number}")
        descriptor = _opened(path)
        if descriptor is None:
            totals.losses["garbage"] += 1
            return []
        with open(descriptor, "rb") as file:
            _wait_for_writers(descriptor, path)
            content = file.read(2 * MOST_BYTES)
        totals.losses["full"] += len(content) >= MOST_BYTES
        return content.split(b"\n")

    def _keep(self, totals: Totals, number: int) -> None:
        new = self._path(f"{_STATE}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(new, flags, 0o600), "wb") as file:
            file.write(totals.packed(number))
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._path(_STATE))

    def _remove(self, number: int) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._path(f"taken.{number}"))

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)


def _opened(path: str) -> int | None:
    """A file that processes of ours wrote; None for a link, another user's, or anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if is_ours(os.fstat(descriptor)):
        return descriptor
    os.close(descriptor)
    return None


def _wait_for_writers(descriptor: int, path: str) -> None:
    """Whoever gets the file later sees that it has lost its name, and writes to the next one."""
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise StateError(f"a process is still writing to {path}") from None
        time.sleep(_PAUSE_S)
