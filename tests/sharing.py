"""How tests are shared out among processes: a file to one process, what takes long first."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import pytest
from xdist.scheduler import LoadFileScheduling

# These need a real libvirt each; what one process has made for the first serves all of them.
LIBVIRT = ("tests/kvm/", "tests/domain/test_libvirt.py", "tests/domain/test_start.py")
# A file of a third of all time: its rows are as good as files of their own.
SWEEP = "tests/sweep/test_sweep.py"
SWEEP_PARTS = 6
# What is begun last should be short, or one process works on while the others have nothing to do.
LONG = (*LIBVIRT, SWEEP, "tests/tm/", "tests/datastore/", "tests/lab/", "tests/legacy/", "tests/install/")


class Sharing(LoadFileScheduling):
    """`--dist loadfile`, with other bounds than those of files where that saves time."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


def scope(nodeid: str) -> str:
    """What a test belongs to: all of that is run by one process, one after the other."""
    if nodeid.startswith(LIBVIRT):
        return "libvirt"
    file, _, name = nodeid.partition("::")
    if file != SWEEP:
        return file
    row = name.partition("[")[2]
    return f"{file} {crc32(row.encode()) % SWEEP_PARTS}"


def in_order(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The tests, those that take long first."""
    places = [*LONG, ""]

    def place(item: pytest.Item) -> int:
        return next(at for at, start in enumerate(places) if item.nodeid.startswith(start))

    return sorted(items, key=place)
