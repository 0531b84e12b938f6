"""Several steps of an action at once, each of which waits for child processes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Callable

from storpool_addon.hosts.process import Processes

AT_ONCE = 4
_LOOK_S = 0.2


def each_at_once(processes: Processes, steps: Sequence[Callable[[], None]], at_once: int = AT_ONCE) -> None:
    """Carry all steps out, `at_once` at a time; the first failure ends the children of all and is raised.

    Nothing of them runs any more when this returns, whatever ended it, a signal too. The steps must call
    nobody but children: an adapter's connection belongs to one thread.
    """
    if len(steps) <= 1:
        for step in steps:
            step()
        return
    crew = _Crew(steps, at_once)
    try:
        crew.wait()
    finally:
        crew.stopped = True
        while crew.is_busy:
            processes.close()
            crew.join(_LOOK_S)
    if crew.failures:
        raise crew.failures[0]


class _Crew:
    def __init__(self, steps: Sequence[Callable[[], None]], at_once: int) -> None:
        self._waiting = list(steps)
        self.failures: list[BaseException] = []
        self.stopped = False
        self._threads = [
            threading.Thread(target=self._work, daemon=True) for _ in range(min(at_once, len(steps)))
        ]
        for each in self._threads:
            each.start()

    @property
    def is_busy(self) -> bool:
        """Whether anything still runs."""
        return any(each.is_alive() for each in self._threads)

    def wait(self) -> None:
        """Until all has ended, or something failed."""
        while self.is_busy and not self.failures:
            self.join(_LOOK_S)

    def join(self, timeout_s: float) -> None:
        """Until all has ended, or so long."""
        for each in self._threads:
            each.join(timeout_s / len(self._threads))

    def _work(self) -> None:
        while not self.stopped:
            try:
                step = self._waiting.pop(0)
            except IndexError:
                return
            try:
                step()
            except BaseException as failure:
                self.failures.append(failure)
                self.stopped = True
