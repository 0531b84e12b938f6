"""The rows of snapshots of whole VMs."""

from __future__ import annotations

from storpool_addon.lab.command import Command
from storpool_addon.lab.machine import Vm, Volatile
from tests.sweep import scene
from tests.sweep.ground import Ground
from tests.sweep.row import Row
from tests.vmm.guest import Guest

CONTENT, LATER = b"when the snapshot was taken", b"what came after"
ID = "ONESNAP-0-17"


def machine(lab: Ground, *, context: bool) -> Vm:
    """A VM that runs, with two disks."""
    vm = scene.machine(lab, lab.give_image(content=CONTENT), Volatile(4), context=context)
    Guest(lab, vm)
    return vm


def create(lab: Ground) -> Command:
    return next(lab.vm_snapshots.create(machine(lab, context=True)))


def revert(lab: Ground) -> Command:
    """To a snapshot that was taken before one of the disks was written to."""
    vm = machine(lab, context=False)
    volumes = list(scene.volumes(lab, vm))
    items = [{"volume": each, "name": f"{each}-{ID}"} for each in volumes]
    tags = {**scene.OURS, "nvm": str(vm.id), "vmsnap": str(len(items))}
    lab.storpool("VolumesGroupSnapshot", {"volumes": items, "tags": tags})
    for each in volumes:
        with open(lab.hosts.nodes["node1"].device(each), "r+b") as device:
            device.write(LATER)
    vm.snapshots = [{"SNAPSHOT_ID": "0", "HYPERVISOR_ID": ID, "NAME": "x", "TIME": "17"}]
    return next(lab.vm_snapshots.revert(vm, 0))


ROWS = (
    Row("vm-snapshot-create", create, settings={"VMSNAPSHOT_FSFREEZE": 1}, spares_dead_hosts=True),
    Row("vm-snapshot-revert", revert, undoes=False, sets_aside=True),
)
