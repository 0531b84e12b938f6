"""Every action, every outside call that it makes, every fault: the world ends as if nothing had happened.

`SWEEP=full` adds the faults that pass by themselves and a kill on both sides of each call.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import pytest

from storpool_addon.lab.conductor import Fault
from tests.sweep import (
    backup_rows,
    datastore_rows,
    engine,
    restore_rows,
    shared_rows,
    snapshot_rows,
    transfer_rows,
)
from tests.sweep.engine import Place, Standard
from tests.sweep.row import Row

FULL = os.environ.get("SWEEP") == "full"
ROWS = [
    *transfer_rows.ROWS,
    *backup_rows.ROWS,
    *restore_rows.ROWS,
    *(restore_rows.MORE if FULL else ()),
    *snapshot_rows.ROWS,
    *(snapshot_rows.MORE if FULL else ()),
    *shared_rows.ROWS,
    *(shared_rows.MORE if FULL else ()),
    *datastore_rows.ROWS,
]
BY_NAME = {row.name: row for row in ROWS}
# One process has them all: the cases of all rows are under way at once, in threads.
pytestmark = pytest.mark.xdist_group("sweep")
# Most of a case is waiting for a process or for a deadline.
WORKERS = 5 * (os.cpu_count() or 2)


class Cases(NamedTuple):
    """What is under way for a row."""

    undisturbed: Standard
    faults: list[tuple[Fault, Future[list[str]]]]
    twice: Future[list[str]]


@pytest.fixture(scope="module")
def under_way(request: pytest.FixtureRequest, place: Place) -> Iterator[dict[str, Future[Cases]]]:
    """All cases of all rows that were asked for: the tests wait for them one after the other."""
    chosen = dict.fromkeys(item.callspec.params["name"] for item in request.session.items if _is_ours(item))
    with ThreadPoolExecutor(2) as first, ThreadPoolExecutor(WORKERS) as then:

        def begin(row: Row) -> Cases:
            undisturbed = engine.standard(row, place)
            wanted = engine.faults(undisturbed, full=FULL)
            faults = [(each, then.submit(engine.problems, row, place, undisturbed, each)) for each in wanted]
            return Cases(undisturbed, faults, then.submit(engine.twice_at_once, row, place, undisturbed))

        yield {name: first.submit(begin, BY_NAME[name]) for name in chosen}
        first.shutdown(cancel_futures=True)
        then.shutdown(cancel_futures=True)


def _is_ours(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and item.module.__name__ == __name__


@pytest.mark.parametrize("name", [row.case for row in ROWS])
def test_every_call_may_fail(name: str, under_way: dict[str, Future[Cases]]) -> None:
    cases = under_way[name].result()
    lines = [line for fault, wrong in cases.faults for line in _shown(cases, name, fault, wrong.result())]
    assert not lines, f"{len(lines)} problems in {len(cases.faults)} cases\n" + "\n".join(lines)


@pytest.mark.parametrize("name", [row.case for row in ROWS])
def test_twice_at_the_same_time(name: str, under_way: dict[str, Future[Cases]]) -> None:
    wrong = under_way[name].result().twice.result()
    assert not wrong, "\n".join(wrong)


def _shown(cases: Cases, name: str, fault: Fault, wrong: list[str]) -> list[str]:
    call = cases.undisturbed.calls[fault.call - 1]
    return [f"{name}: {fault} ({call.kind} {call.what}): {line}" for line in wrong]
