"""Images made of snapshots: of one by its name, or of a VM snapshot's part of a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon import names
from storpool_addon.datastore.source import DiskOfVmSnapshot, NamedSnapshot
from storpool_addon.drafts import is_finished
from storpool_addon.errors import StateError
from storpool_addon.opennebula.vm import TM_MAD, Vm
from storpool_addon.undo import Undo, uninterrupted
from storpool_addon.units import bytes_to_mib_up, mib_to_bytes

if TYPE_CHECKING:
    from storpool_addon.datastore.importing import Job
    from storpool_addon.driver import Driver
    from storpool_addon.opennebula.datastore import Datastore
    from storpool_addon.opennebula.image import Image
    from storpool_addon.storpool import Snapshot

# oned's group oneadmin, whose members may see everything.
_ADMINS = 0


def make(driver: Driver, task: Job, datastore: Datastore, where: NamedSnapshot | DiskOfVmSnapshot) -> None:
    """Make the image's volume a clone of the snapshot, in one call; done already when it is there."""
    check_allowed(driver, task.image, where)
    if is_finished(task.volumes, task.name):
        return
    snapshot = find(driver, datastore, where)
    size = max(mib_to_bytes(task.image.size_mib), snapshot.size)
    with Undo(driver.log) as undo, uninterrupted():
        if task.volumes.create(
            task.name, parent=snapshot.name, size=size, template=task.template, tags=task.tags
        ):
            undo.add(f"delete volume {task.name}", task.volumes.discard, task.name)


def size_mib(driver: Driver, datastore: Datastore, where: NamedSnapshot | DiskOfVmSnapshot) -> int:
    """MiB of the disk in the snapshot. oned does not say who asks: the size is all that is told."""
    return bytes_to_mib_up(find(driver, datastore, where).size)


def check_allowed(driver: Driver, image: Image, where: NamedSnapshot | DiskOfVmSnapshot) -> None:
    """StateError unless the image's owner may have the data: the VM is theirs, or they are oneadmin's."""
    if image.gid == _ADMINS:
        return
    if isinstance(where, NamedSnapshot):
        raise StateError(
            f"image {image.id}: only members of group oneadmin may import StorPool's snapshots by name;"
            " name a VM snapshot: VM:<id>-VMSNAP:<id>-DISK:<id>"
        )
    if driver.one.vm(where.vm_id).uid != image.uid:
        raise StateError(
            f"image {image.id} is not of the owner of VM {where.vm_id}; only they or a member of group"
            " oneadmin may import its disks"
        )


def find(driver: Driver, datastore: Datastore, where: NamedSnapshot | DiskOfVmSnapshot) -> Snapshot:
    """The snapshot, in the cluster of the datastore that is to have the image; StateError without it."""
    config = driver.config.for_datastore(datastore)
    name = where.name if isinstance(where, NamedSnapshot) else name_of_disk(driver, config.one_px, where)
    found = driver.snapshots(datastore).find(name)
    if found is None:
        raise StateError(
            f"snapshot {name} does not exist in the StorPool cluster of datastore {datastore.id}; it was"
            " deleted, or it is in another cluster: import it into a datastore of that one"
        )
    if isinstance(where, DiskOfVmSnapshot):
        owner = found.tags.get(config.vm_tag, "")
        if owner not in ("", str(where.vm_id)):
            raise StateError(f"snapshot {name} is of VM {owner}, not of VM {where.vm_id}; it is left alone")
    return found


def name_of_disk(driver: Driver, px: str, where: DiskOfVmSnapshot) -> str:
    """The name in StorPool of a VM snapshot's part of a disk."""
    vm = driver.one.vm(where.vm_id)
    for each in vm.vm_snapshots:
        if each.id == where.snapshot_id and each.hypervisor_id:
            return names.vm_snapshot(_volume(px, vm, where.disk_id), each.hypervisor_id)
    raise StateError(f"VM {vm.id} has no snapshot {where.snapshot_id}; see onevm show {vm.id}")


def _volume(px: str, vm: Vm, disk_id: int) -> str:
    if disk_id == vm.context_disk_id:
        tm_mad, volume = vm.last.tm_mad, names.context(px, vm.id, disk_id)
    else:
        disk = vm.disk(disk_id)
        tm_mad = vm.tm_mad_of(disk)
        volume = names.of_disk(px, vm.id, disk) if tm_mad == TM_MAD else ""
    if tm_mad != TM_MAD:
        raise StateError(
            f"disk {disk_id} of VM {vm.id} is kept by {tm_mad or 'nobody'}, not by StorPool; it has no"
            " snapshot here"
        )
    return volume
