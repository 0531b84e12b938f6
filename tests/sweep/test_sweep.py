"""Every action, every outside call that it makes, every fault: the world ends as if nothing had happened.

`SWEEP=full` adds the faults that pass by themselves and a kill on both sides of each call.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest

from storpool_addon.lab.conductor import Fault
from tests.sweep import engine, transfer_rows
from tests.sweep.engine import Place, Standard
from tests.sweep.row import Row

ROWS = [*transfer_rows.ROWS]
FULL = os.environ.get("SWEEP") == "full"
# Most of a case is waiting for a process or for a deadline.
WORKERS = 3 * (os.cpu_count() or 2)


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(WORKERS) as workers:
        yield workers


@cache
def known(row: Row, place: Place) -> Standard:
    return engine.standard(row, place)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_every_call_may_fail(row: Row, place: Place, pool: ThreadPoolExecutor) -> None:
    undisturbed = known(row, place)
    wanted = list(engine.faults(undisturbed, full=FULL))
    found = list(pool.map(lambda fault: engine.problems(row, place, undisturbed, fault), wanted))
    lines = [line for fault, wrong in zip(wanted, found) for line in _shown(row, undisturbed, fault, wrong)]
    assert not lines, f"{len(lines)} problems in {len(wanted)} cases\n" + "\n".join(lines)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_twice_at_the_same_time(row: Row, place: Place) -> None:
    if not row.settled:
        pytest.skip("what it leaves depends on how often it ran")
    wrong = engine.twice_at_once(row, place, known(row, place))
    assert not wrong, "\n".join(wrong)


def _shown(row: Row, undisturbed: Standard, fault: Fault, wrong: list[str]) -> list[str]:
    call = undisturbed.calls[fault.call - 1]
    return [f"{row.name}: {fault} ({call.kind} {call.what}): {line}" for line in wrong]
