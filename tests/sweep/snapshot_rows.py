"""The rows of snapshots of disks and images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Callable

from storpool_addon.lab.chain import LINEAR
from storpool_addon.lab.command import Command, Steps
from storpool_addon.lab.machine import Vm
from tests.sweep import scene
from tests.sweep.ground import Ground
from tests.sweep.row import Row

CONTENT, LATER = b"when the snapshot was taken", b"what came after"
Prepare = Callable[[Ground], Command]


def disk(
    verb: Callable[[Ground, Vm], Steps[object]], script: str, taken: int, orphans: str = "YES"
) -> Prepare:
    """A VM whose disk has snapshots, and has been written to since."""

    def prepare(lab: Ground) -> Command:
        vm = scene.machine(lab, lab.give_image(content=CONTENT))
        vm.disks[0]["ALLOW_ORPHANS"] = orphans
        chain = lab.disk_snapshots.chain(vm, 0)
        for _ in range(taken):
            chain.create("", 4)
        _written(lab, f"one-img-7-{vm.id}-0", list(chain.entries))
        return scene.upto(verb(lab, vm), script)

    return prepare


def create(lab: Ground, vm: Vm) -> Steps[int]:
    lab.vms.poweroff(vm)
    return lab.disk_snapshots.create(vm, 0)


def create_live(lab: Ground, vm: Vm) -> Steps[int]:
    path = os.path.join(lab.directory, "hostbin", "virsh")
    with open(path, "w") as file:
        file.write("#!/bin/true\n")
    os.chmod(path, 0o755)
    return lab.disk_snapshots.create(vm, 0)


def delete(lab: Ground, vm: Vm) -> Steps[None]:
    return lab.disk_snapshots.delete(vm, 0, 0)


def revert(lab: Ground, vm: Vm) -> Steps[None]:
    lab.vms.poweroff(vm)
    return lab.disk_snapshots.revert(vm, 0, 0)


def image(action: str) -> Prepare:
    """An image with two snapshots, written to since."""

    def prepare(lab: Ground) -> Command:
        made = lab.give_image(content=CONTENT, persistent=True)
        for _ in range(2):
            made.chain.create("", 4)
        _written(lab, f"one-img-{made.id}", list(made.chain.entries), attached=False)
        return _first(getattr(lab.image_snapshots, action)(made, 0))

    return prepare


def _first(steps: Steps[None]) -> Command:
    return next(steps)


def _written(lab: Ground, volume: str, snapshots: Sequence[int], *, attached: bool = True) -> None:
    for number in snapshots:
        lab.storpool(f"VolumeSnapshot/{volume}", {"name": f"{volume}-snap{number}", "tags": scene.OURS})
    if not attached:
        lab.write_volume(volume, LATER)
        return
    with open(lab.hosts.nodes["node1"].device(volume), "r+b") as device:
        device.write(LATER)


ON = {"undoes": False}
ROWS = (
    Row(
        "snap-create-live",
        disk(create_live, "snap_create_live", 0),
        settings={"DISK_SNAPSHOT_FSFREEZE": 1},
        spares_dead_hosts=True,
    ),
    Row("snap-delete", disk(delete, "snap_delete", 2), **ON),
    Row("snap-revert", disk(revert, "snap_revert", 2, LINEAR), **ON),
    Row("image-snap-flatten", image("flatten"), **ON),
)
# What others of the table do as well, or as a part.
MORE = (
    Row("snap-create", disk(create, "snap_create", 0)),
    Row("image-snap-delete", image("delete"), **ON),
    Row("image-snap-revert", image("revert"), **ON),
)
