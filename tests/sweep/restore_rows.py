"""The rows of the table that are about getting backups back."""

from __future__ import annotations

import functools
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from storpool_addon.lab.command import Command
from storpool_addon.lab.machine import Volatile
from storpool_addon.lab.objects import Image
from tests import chains
from tests.sweep import scene
from tests.sweep.ground import Ground
from tests.sweep.row import Row

MIB = 1 << 20
NOW = b"what the disk holds now" * 4000


@functools.cache
def parts(seed: int) -> Sequence[bytes]:
    """A complete backup and an increment, the same in each world."""
    first = random.Random(seed).randbytes(MIB)
    with tempfile.TemporaryDirectory() as directory:
        return chains.parts(Path(directory), [first, first[: MIB // 2] + bytes(MIB // 2)])


def restore(lab: Ground, *disks: Image | Volatile) -> Command:
    """`onevm restore` of the newest increment of all disks."""
    vm = scene.machine(lab, *disks)
    lab.vms.poweroff(vm)
    datastore = lab.backups.add_datastore()
    image: Image | None = None
    for number in range(2):
        image = lab.backups.record(
            datastore, vm, f"abc{number}", range(len(disks)), increment_of=image, incremental=True
        )
        files = {f"disk.{each}.{number}": parts(each)[number] for each in range(len(disks))}
        lab.backups.keep(datastore, vm, f"abc{number}", files)
    assert image is not None
    return scene.upto(lab.backups.restore(vm, image), "restore")


def one_disk(lab: Ground) -> Command:
    return restore(lab, lab.give_image(content=NOW, persistent=True))


def two_disks(lab: Ground) -> Command:
    return restore(lab, lab.give_image(content=NOW), Volatile(4))


def written(lab: Ground) -> Command:
    """StorPool takes no snapshot of another volume."""
    lab.simulator.switches = lab.simulator.switches.set({"revert_foreign": "refuse"})
    return restore(lab, lab.give_image(content=NOW))


# A revert that is refused is made good by writing: the volume then has another parent.
ROWS = (Row("restore", one_disk, forgives=True, sets_aside=True, needs="qemu-img"),)
# With SWEEP=full.
MORE = (
    Row("restore-two-disks", two_disks, forgives=True, sets_aside=True, needs="qemu-img"),
    Row("restore-written", written, sets_aside=True, needs="qemu-img"),
)
