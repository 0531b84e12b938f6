"""Steps at once: all are carried out, the first failure ends the children of the others."""

from __future__ import annotations

import time

import pytest

from storpool_addon.errors import StateError, ToolError
from storpool_addon.hosts.process import Processes
from storpool_addon.restoring.parallel import AT_ONCE, each_at_once


def test_all_steps_are_carried_out() -> None:
    done: list[int] = []
    each_at_once(Processes(), [lambda number=number: done.append(number) for number in range(9)])  # type: ignore[misc]
    assert sorted(done) == list(range(9))


def test_the_first_failure_ends_the_others() -> None:
    processes, begun = Processes(), time.monotonic()

    def fail() -> None:
        time.sleep(0.3)
        raise StateError("no such backup")

    def wait() -> None:
        processes.run(["sleep", "60"], what="waiting", timeout_s=90)

    with pytest.raises(StateError, match="no such backup"):
        each_at_once(processes, [*[wait] * (AT_ONCE - 1), fail, wait, wait])
    assert time.monotonic() - begun < 30


def test_waiting_for_the_others_takes_no_processor() -> None:
    class Counted(Processes):
        closed = 0

        def close(self) -> None:
            self.closed += 1
            super().close()

    def fail() -> None:
        time.sleep(0.3)
        raise ToolError("no")

    processes = Counted()
    with pytest.raises(ToolError):
        each_at_once(processes, [fail, lambda: time.sleep(1)])
    assert 1 <= processes.closed < 20


def test_one_step_fails_as_it_is() -> None:
    def fail() -> None:
        raise ToolError("no")

    with pytest.raises(ToolError):
        each_at_once(Processes(), [fail])
