"""What one process did: its calls to the outside, counted and timed, and the line that it leaves of them.

The line goes to a file in the service user's home, from which `storpool-addon exporter` takes it. There is
no file, and no line, where that never ran. A line that cannot be written at once is not written: nothing
here fails, waits, or says anything.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from _thread import get_ident
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from storpool_addon.errors import HostError, HostUnreachable, OpenNebulaRefused, StorPoolRefused

# Below the service user's home; whoever reads makes it.
DIRECTORY = ".storpool-addon/spool"
FILE = "actions"
# First in each line; another one says that the rest is another.
FORMAT = 1
# What nobody takes must not grow.
MOST_BYTES = 4 << 20
_MOST_LINE = 4000
# Calls and actions are counted by classes of their seconds, up to these; one more class is for all above.
CALL_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 240.0)
ACTION_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
# By exit code; what is above was ended by a signal.
OUTCOMES = ("ok", "failed", "usage", "bug", "terminated")
_PARTS = ("datastore", "tm", "vmm", "hooks")
# The file that we opened may be taken away; its name leads to another one then.
_TRIES = 4
_ANSWERED, _REFUSED, _FAILED = range(3)


class Call:
    """Times one call to the outside; the block's error says how it ended. retries: to be counted up."""

    retries = 0

    def __init__(self, tally: Tally, name: str) -> None:
        self._tally = tally
        self._name = name
        self._began = 0.0

    def __enter__(self) -> Call:
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tally.add(self._name, time.monotonic() - self._began, self.retries, _end(error))


class Tally:
    """The calls of one process, from any of its threads.

    Without a lock, for a signal may interrupt it anywhere: each thread has counts of its own.
    """

    def __init__(self) -> None:
        self._counts: dict[int, dict[str, list[Any]]] = {}

    def call(self, name: str) -> Call:
        """A call that is about to be made. name: of a fixed set, and no name of any object."""
        return Call(self, name)

    def add(self, name: str, seconds: float, retries: int, end: int) -> None:
        """Count one call."""
        own = self._counts.setdefault(get_ident(), {})
        found = own.get(name)
        if found is None:
            found = own[name] = [0, 0, 0, 0.0, [0] * (len(CALL_BOUNDS) + 1)]
        found[0] += end == _FAILED
        found[1] += end == _REFUSED
        found[2] += retries
        found[3] += seconds
        found[4][place(seconds, CALL_BOUNDS)] += 1

    def write(self, home: str, action: str, exit_code: int, seconds: float | None = None) -> None:
        """Leave the line of what was counted, and begin anew.

        seconds: that it took; since the process was started, when not given.
        """
        calls, directory = self._taken(), f"{home}/{DIRECTORY}"
        if not os.path.isdir(directory):
            return
        age_s = _age_s() if seconds is None else seconds
        line = _line([FORMAT, action, outcome(exit_code), round(age_s, 3), calls])
        if len(line) <= _MOST_LINE:
            _append(f"{directory}/{FILE}", line)

    def _taken(self) -> dict[str, list[Any]]:
        """The counts of all threads together, which begin anew."""
        counts, self._counts = self._counts, {}
        calls: dict[str, list[Any]] = {}
        for own in list(counts.values()):
            for name, found in list(own.items()):
                calls[name] = _sum(calls[name], found) if name in calls else found
        return {name: _short(found) for name, found in calls.items()}


def outcome(exit_code: int) -> str:
    """What an exit code of ours says."""
    return OUTCOMES[min(exit_code, len(OUTCOMES) - 1)]


def action_of(path: str) -> str:
    """`tm/clone` for `/var/lib/one/remotes/tm/storpool/clone`."""
    *directories, script = path.split("/")
    part = next((each for each in reversed(directories) if each in _PARTS), "other")
    return f"{part}/{script}"


def place(seconds: float, bounds: Sequence[float]) -> int:
    """The class that a time belongs to."""
    return sum(seconds > each for each in bounds)


def _end(error: BaseException | None) -> int:
    """Refused is answered: what that means is for the action to say. A signal is nobody's failure."""
    if not isinstance(error, Exception):
        return _ANSWERED
    refused = isinstance(error, (StorPoolRefused, OpenNebulaRefused, HostError))
    passes = isinstance(error, HostUnreachable) or getattr(error, "transient", False)
    return _REFUSED if refused and not passes else _FAILED


def _short(found: list[Any]) -> list[Any]:
    """As it is written: classes without those at the end that are empty."""
    *numbers, seconds, classes = found
    while classes and not classes[-1]:
        classes = classes[:-1]
    return [*numbers, round(seconds, 6), classes]


def _sum(one: list[Any], other: list[Any]) -> list[Any]:
    classes = [a + b for a, b in zip(one[4], other[4])]
    return [*(a + b for a, b in zip(one[:4], other[:4])), classes]


def _age_s() -> float:
    """How long this process has been there, which is what its caller has waited for (proc(5))."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def _line(words: list[Any]) -> bytes:
    import json

    # What stands before it may have been cut off by a full disk.
    return b"\n" + json.dumps(words, separators=(",", ":")).encode()


def _append(path: str, line: bytes) -> None:
    for _ in range(_TRIES):
        try:
            descriptor = os.open(
                path,
                os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                0o600,
            )
        except OSError:
            return
        try:
            # Who takes the file away renames it, and then waits for those who are here.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            found = os.fstat(descriptor)
            if os.path.samestat(os.lstat(path), found):
                if is_ours(found) and found.st_size < MOST_BYTES:
                    os.write(descriptor, line)
                return
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            return
        finally:
            os.close(descriptor)


def is_ours(found: os.stat_result) -> bool:
    """Whether it is a plain file of the user that we are."""
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
