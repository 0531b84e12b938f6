"""Every action, every outside call that it makes, every fault: the world ends as if nothing had happened.

`SWEEP=full` adds the faults that pass by themselves and a kill on both sides of each call.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from storpool_addon.lab.conductor import Fault
from tests.sweep import (
    backup_rows,
    datastore_rows,
    engine,
    hypervisor_rows,
    restore_rows,
    shared_rows,
    snapshot_rows,
    transfer_rows,
    vm_snapshot_rows,
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
    *vm_snapshot_rows.ROWS,
    *(vm_snapshot_rows.MORE if FULL else ()),
    *datastore_rows.ROWS,
    *hypervisor_rows.ROWS,
]
# These make the calls of other rows in another state of the VM, or through ssh; with SWEEP=full they are run.
LIKE_OTHERS = {
    "premigrate-mixed", "premigrate-old-cdrom", "postmigrate-two-clusters", "mv-old-cdrom", "delete-cdrom",
    "mv-disk-9", "mv-disk-10", "mv-disk-30", "mv-disk-31", "mv-disk-43", "mv-disk-45", "mv-disk-60",
    "mv-directory-9-state", "mv-directory-10", "mv-directory-31", "mv-directory-43", "mv-directory-45",
    "mv-directory-60", "cp-raw-by-ssh", "cp-qcow2-by-ssh", "mkfs-ext4-by-ssh", "context-again",
    "mkimage-ext4", "export-qcow2", "clone-grown", "delete-volatile", "postmigrate-shared",
    "mv-directory-other-datastore",
}  # fmt: skip
ROWS = [row for row in ROWS if FULL or row.name not in LIKE_OTHERS]
BY_NAME = {row.name: row for row in ROWS}
# Most of a case is waiting for a process or for a deadline; other tests run in other processes meanwhile.
WORKERS = 5


class Known(NamedTuple):
    """A row, and its undisturbed run."""

    row: Row
    run: Standard


@pytest.fixture(scope="module")
def crew() -> Iterator[ThreadPoolExecutor]:
    """Who runs the cases of a row."""
    with ThreadPoolExecutor(WORKERS) as pool:
        yield pool


@pytest.fixture(scope="module", params=[row.case for row in ROWS])
def known(request: pytest.FixtureRequest, place: Place) -> Known:
    """Each row in turn."""
    row = BY_NAME[request.param]
    return Known(row, engine.standard(row, place))


def test_every_call_may_fail(known: Known, place: Place, crew: ThreadPoolExecutor) -> None:
    def problems(fault: Fault) -> list[str]:
        call = known.run.calls[fault.call - 1]
        wrong = engine.problems(known.row, place, known.run, fault)
        return [f"{known.row.name}: {fault} ({call.kind} {call.what}): {line}" for line in wrong]

    faults = engine.faults(known.run, full=FULL)
    lines = [line for wrong in crew.map(problems, faults) for line in wrong]
    assert not lines, f"{len(lines)} problems in {len(faults)} cases\n" + "\n".join(lines)


def test_twice_at_the_same_time(known: Known, place: Place) -> None:
    wrong = engine.twice_at_once(known.row, place, known.run)
    assert not wrong, "\n".join(wrong)
