"""The rows of snapshots of whole VMs."""

from __future__ import annotations

from storpool_addon.lab.command import Command
from storpool_addon.lab.machine import Vm, Volatile
from tests.sweep import scene
from tests.sweep.ground import Ground
from tests.sweep.row import Row
from tests.vmm.guest import Guest

CONTENT, LATER = b"when the snapshot was taken", b"what came after"
ID, MEMORY = "ONESNAP-0-17", "one-sys-42"


def machine(lab: Ground, *, context: bool) -> Vm:
    """A VM that runs, with two disks."""
    vm = scene.machine(lab, lab.give_image(content=CONTENT), Volatile(4), context=context)
    Guest(lab, vm)
    return vm


def create(lab: Ground) -> Command:
    return next(lab.vm_snapshots.create(machine(lab, context=True)))


def create_with_memory(lab: Ground) -> Command:
    vm = machine(lab, context=False)
    vm.user_attributes["VMSNAPSHOT_WITH_CHECKPOINT"] = "YES"
    return next(lab.vm_snapshots.create(vm))


def revert(lab: Ground) -> Command:
    return next(lab.vm_snapshots.revert(snapshotted(lab), 0))


def revert_with_memory(lab: Ground) -> Command:
    return next(lab.vm_snapshots.revert(snapshotted(lab, memory=True), 0))


def delete(lab: Ground) -> Command:
    return next(lab.vm_snapshots.delete(snapshotted(lab), 0))


def snapshotted(lab: Ground, *, memory: bool = False) -> Vm:
    """A VM with a snapshot, that was written to since."""
    vm = machine(lab, context=False)
    disks = list(scene.volumes(lab, vm))
    volumes = [*disks, MEMORY] if memory else disks
    if memory:
        scene.volume(lab, MEMORY, scene.OURS)
        lab.write_volume(MEMORY, b"LibvirtQemudSave then\n")
    items = [{"volume": each, "name": f"{each}-{ID}"} for each in volumes]
    tags = {**scene.OURS, "nvm": str(vm.id), "vmsnap": str(len(items))}
    lab.storpool("VolumesGroupSnapshot", {"volumes": items, "tags": tags})
    if memory:
        lab.storpool(f"VolumeDelete/{MEMORY}", {})
    for each in disks:
        with open(lab.hosts.nodes["node1"].device(each), "r+b") as device:
            device.write(LATER)
    vm.snapshots = [{"SNAPSHOT_ID": "0", "HYPERVISOR_ID": ID, "NAME": "x", "TIME": "17"}]
    return vm


ROWS = (
    Row("vm-snapshot-create", create, settings={"VMSNAPSHOT_FSFREEZE": 1}, spares_dead_hosts=True),
    # A date, and then its name, is all that what is set aside would lack.
    Row("vm-snapshot-revert", revert, undoes=False, sets_aside=True, forgives=True),
)
# What others of the table do as well, or as a part.
MORE = (
    # Memory stays where it is while nobody knows whether the guest runs.
    Row("vm-snapshot-create-memory", create_with_memory, undoes=False, forgives=True),
    Row("vm-snapshot-revert-memory", revert_with_memory, undoes=False, sets_aside=True, forgives=True),
    Row("vm-snapshot-delete", delete, undoes=False),
)
