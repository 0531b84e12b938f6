"""The rows of the table that are about backups."""

from __future__ import annotations

from storpool_addon.lab.command import Command
from storpool_addon.lab.machine import Vm, Volatile
from tests.sweep import scene
from tests.sweep.ground import Ground
from tests.sweep.row import Row

CONTENT = b"the bytes of an image" * 1000
DISK = "one-img-7-42-0"


def machine(lab: Ground, mode: str) -> Vm:
    """A VM with two disks that is about to be backed up."""
    vm = scene.machine(lab, lab.give_image(content=CONTENT), Volatile(4))
    lab.vm_backups.configure(vm, MODE=mode, BACKUP_VOLATILE="YES")
    return vm


def full(lab: Ground) -> Command:
    return lab.vm_backups.pre(machine(lab, "FULL"))


def increment(lab: Ground) -> Command:
    """The fourth of a chain, with what the last two have left; a disk has changed since."""
    vm = machine(lab, "INCREMENT")
    vm.backup.update(LAST_INCREMENT_ID="2", INCREMENTAL_BACKUP_ID="31")
    snapshots(lab, 1)
    snapshots(lab, 2)
    with open(lab.hosts.nodes["node1"].device(DISK), "r+b") as device:
        device.write(b"changed since then")
    return lab.vm_backups.pre(vm)


def snapshots(lab: Ground, number: int, chain: str = "31") -> None:
    """What an increment has left in StorPool."""
    word = "odd" if number % 2 else "even"
    tags = {**scene.OURS, "nvm": "42", "backup": f"{chain}:{number}"}
    for volume in (DISK, "one-sys-42-1-raw"):
        body = {"name": f"{volume}-ONEBACKUP-{word}", "tags": tags, "deleteAfter": 2_592_000}
        lab.storpool(f"VolumeSnapshot/{volume}", body)


def after(lab: Ground) -> Command:
    """A full backup that was killed while the host wrote."""
    vm = machine(lab, "FULL")
    tags = {**scene.OURS, "nvm": "42", "backup": "new:0"}
    for volume in (DISK, "one-sys-42-1-raw"):
        name = f"{volume}-ONEBACKUP-full"
        lab.storpool(f"VolumeSnapshot/{volume}", {"name": name, "tags": tags})
        item = {"snapshot": name, "ro": [11]}
        lab.storpool("VolumesReassignWait", {"reassign": [item], "attachTimeout": 10})
    lab.hosts.nodes["node1"].write(f"{vm.home}/backup/disk.0.0", b"half of it")
    return lab.vm_backups.post(vm)


ROWS = (
    Row("prebackup", full, needs="qemu-img"),
    Row("prebackup-increment", increment),
    Row("postbackup", after, undoes=False, spares_dead_hosts=True),
)
