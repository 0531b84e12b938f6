"""Backups on a backup server, and VMs that get disks of them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.lab.objects import Image
from tests import chains
from tests.sweep import scene
from tests.tm import cloud

MIB = cloud.MIB
COPY, SCRATCH = "one-img-7-42-0", "one-sys-42-1-raw"
NOW = b"what the disk holds now" * 4000


def noise(seed: int, size: int = 2 * MIB) -> bytes:
    """A disk with some data and some holes."""
    disk = bytearray(size)
    disk[4096:70_000] = random.Random(seed).randbytes(70_000 - 4096)
    disk[-512:] = random.Random(-seed).randbytes(512)
    return bytes(disk)


def changed(before: bytes, seed: int) -> bytes:
    disk, chance = bytearray(before), random.Random(seed)
    for _ in range(3):
        start = chance.randrange(len(disk) - 9000)
        disk[start : start + 9000] = chance.randbytes(9000)
    disk[4096:8192] = bytes(4096)
    return bytes(disk)


def off(lab: Lab, *disks: Image | Volatile) -> Vm:
    """A VM that was powered off on node1, where its disks still are."""
    vm = scene.machine(lab, *(disks or (lab.give_image(content=NOW), Volatile(4))))
    lab.vms.poweroff(vm)
    return vm


def backup(lab: Lab, vm: Vm, tmp_path: Path, states: Mapping[int, list[bytes]]) -> Image:
    """A chain of backups of some disks, as it lies on the backup server."""
    datastore = lab.backups.add_datastore()
    image: Image | None = None
    for number in range(len(next(iter(states.values())))):
        image = lab.backups.record(
            datastore, vm, f"abc{number}", list(states), increment_of=image, incremental=True
        )
    for disk_id, contents in states.items():
        for number, (name, part) in enumerate(chains.files(tmp_path / str(disk_id), disk_id, contents)):
            lab.backups.keep(datastore, vm, f"abc{number}", {name: part})
    assert image is not None
    return image


def command(lab: Lab, vm: Vm, image: Image, increment: int = -1, disk_id: int = -1) -> Command:
    return lab.until(lab.backups.restore(vm, image, increment, disk_id), "restore")


def holds(lab: Lab, name: str, content: bytes) -> bool:
    """Whether a volume begins with that content and is empty after it."""
    found = lab.read_volume(name)
    return found.startswith(content) and not any(found[len(content) :])


def leftovers(lab: Lab) -> set[str]:
    """What restores work with and must not leave."""
    return {name for name in {*cloud.volumes(lab), *cloud.snapshots(lab)} if "tmRestore" in name}
