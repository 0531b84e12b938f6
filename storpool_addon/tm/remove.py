"""Taking disks away from a VM: delete, mvds; and the VM's directory with what belongs to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon import names, qos, remotebackup, tags
from storpool_addon.hosts import vmdir
from storpool_addon.opennebula.backup import may_have_snapshots
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.protocol import number, protocol, text
from storpool_addon.opennebula.states import LcmState
from storpool_addon.opennebula.xml import is_true
from storpool_addon.tm import cdrom, disks, sharing
from storpool_addon.tm.disks import Subject

if TYPE_CHECKING:
    from storpool_addon.config import Config
    from storpool_addon.driver import Driver
    from storpool_addon.opennebula.vm import Vm

# A VM's attribute: its VM snapshots include what is in its memory.
WITH_MEMORY = "VMSNAPSHOT_WITH_CHECKPOINT"


@protocol(target=Location.parse, vm_id=number, datastore_id=number)
def delete(driver: Driver, target: Location, vm_id: int, datastore_id: int) -> None:
    """A disk of a VM, or (a path without disk.N) the VM's directory and the volumes that belong to it."""
    if target.disk_id is None:
        _delete_directory(driver, target, vm_id, datastore_id)
        return
    disk = disks.subject(driver, target, vm_id, datastore_id)
    if disk.disk.has_own_volume:
        # The copy of a CDROM holds nothing that its image does not.
        keep = not disk.disk.is_cdrom
        if keep:
            wanted = disk.datastore.attribute("REMOTE_BACKUP_DELETE")
            remotebackup.before_delete(disk.volumes, disk.volume, wanted, driver.exclusive(disk.volume))
        else:
            cdrom.detach_leftover(driver, disk, target.host)
        disk.volumes.delete(disk.volume, keep=keep, snapshots=_snapshots(disk))
    elif sharing.is_shared(disk.disk):
        _leave(driver, disk)
    else:
        # The reconciler of policies gives it the class of its image again; a deleted VM's must not stay.
        _give_back(driver, disk, qos.resolve(disk.config, qos.DEFAULT_ONLY))
    _unlink(driver, target)


@protocol(source=Location.parse, target=text, vm_id=number, datastore_id=number)
def mvds(driver: Driver, source: Location, target: str, vm_id: int, datastore_id: int) -> None:
    """A persistent image goes back to its datastore: detached everywhere and nobody's.

    One that other VMs have too leaves this VM's host when no other VM there has it.
    """
    disk = disks.subject(driver, source, vm_id, datastore_id)
    image = names.of_source(target)
    if sharing.is_shared(disk.disk):
        _leave(driver, disk)
        _unlink(driver, source)
        return
    if disk.volume != image and disk.volumes.find(image) is None:
        disk.volumes.rename(disk.volume, image)
    _give_back(driver, disk._replace(volume=image), _image_class(driver, disk))
    _unlink(driver, source)


def _image_class(driver: Driver, disk: Subject) -> str:
    if disk.disk.image_id is None:
        return qos.resolve(disk.config, qos.DEFAULT_ONLY)
    return qos.of_image(disk.config, driver.one.image(disk.disk.image_id), disk.datastore)


def _give_back(driver: Driver, disk: Subject, qc: str) -> None:
    """Detach an image that this VM has, by force if need be: its host may be dead.

    One that no VM has is only detached where nobody has it open, and one that another VM has is left to it:
    a VM that never got its disk must not take it away when it is cleaned up.
    """
    volume = disk.volumes.find(disk.volume)
    if volume is None:
        disk.volumes.log(f"volume {disk.volume} is not there any more; nothing to give back")
        return
    user, ours = volume.tags.get(disk.config.vm_tag, ""), str(disk.vm.id)
    if sharing.is_used_together(disk, volume):
        disk.volumes.log(f"volume {disk.volume} is shared by other VMs; VM {ours} has nothing to give back")
        return
    if user not in ("", ours):
        disk.volumes.log(f"volume {disk.volume} is in use by VM {user}; VM {ours} has nothing to give back")
        return
    disk.volumes.release([disk.volume], force=user == ours)
    _forget_snapshots(driver, disk)
    # Nobody could name them any more once the VM is gone.
    for name in _parts(disk.config, disk.vm, disk.volume):
        disk.volumes.delete_snapshot(name)
    disk.volumes.tag(disk.volume, tags.released(disk.config, qc))
    _forget_backups(disk)


def _leave(driver: Driver, disk: Subject) -> None:
    """Let this VM have the image no longer; what other VMs have of it stays theirs."""
    sharing.set_clients(driver, disk, (), force=True)
    _forget_backups(disk)


def _forget_backups(disk: Subject) -> None:
    for name in _of_backups(disk):
        disk.volumes.delete_snapshot(name)


def _of_backups(disk: Subject) -> list[str]:
    """What backups may have left: the increments of a VM end when a disk leaves it."""
    if not may_have_snapshots(disk.vm):
        return []
    return names.backup_snapshots(disk.volume, sharing.user_of_backups(disk))


def _forget_snapshots(driver: Driver, disk: Subject) -> None:
    """PERSISTENT_SNAPSHOTS=NO: what the VM took and its image does not list, oned forgets with the VM.

    The next VM's snapshots get the same numbers.
    """
    if disk.disk.attribute("PERSISTENT_SNAPSHOTS").upper() != "NO" or disk.disk.image_id is None:
        return
    known = {each.id for each in driver.one.image(disk.disk.image_id).snapshots}
    for each in disk.vm.snapshots_of(disk.disk.disk_id):
        if each.id not in known:
            disk.volumes.delete_snapshot(names.disk_snapshot(disk.volume, each.id))


def _snapshots(disk: Subject) -> list[str]:
    """Snapshots that go with a disk, by the exact names that oned knows them by."""
    found = [names.disk_snapshot(disk.volume, each.id) for each in disk.vm.snapshots_of(disk.disk.disk_id)]
    return found + _parts(disk.config, disk.vm, disk.volume) + _of_backups(disk)


def _parts(config: Config, vm: Vm, volume: str) -> list[str]:
    """A volume's parts of VM snapshots, if they go with the VM."""
    # A VM that is recreated keeps its VM snapshots: oned lists them on.
    if not config.vmsnapshot_delete_on_terminate or vm.lcm_state == LcmState.CLEANUP_RESUBMIT:
        return []
    return [names.vm_snapshot(volume, each.hypervisor_id) for each in vm.vm_snapshots if each.hypervisor_id]


def _delete_directory(driver: Driver, target: Location, vm_id: int, datastore_id: int) -> None:
    vmdir.check(target.path, vm_id)
    vm, system = driver.one.vm(vm_id), driver.one.datastore(datastore_id)
    config = driver.config.for_datastore(system).for_vm(vm)
    volumes = driver.volumes(system)
    # Saved memory too, which may be there in any state: what saved it may have been switched off since.
    for name in sorted({*disks.home_volume_names(config, vm), names.checkpoint(config.one_px, vm.id)}):
        # The guest's UEFI variables are no less its own than its disks; the other two are made anew.
        kept = name == names.nvram(config.one_px, vm.id)
        volumes.delete(name, keep=kept, snapshots=_parts(config, vm, name))
    for name in _unaddressed(config, vm):
        volumes.delete(name, snapshots=_parts(config, vm, name))
    if config.sp_checkpoint:
        volumes.delete(names.checkpoint_archive(config.one_px, vm.id), keep=False)
    if vm.has_tpm:
        tpm = names.tpm(config.one_px, vm.id)
        volumes.delete(tpm, snapshots=_parts(config, vm, tpm))
    if vm.vm_snapshots or is_true(vm.attribute(WITH_MEMORY)):
        memory = names.memory(config.one_px, vm.id)
        volumes.delete(memory, keep=False, snapshots=_parts(config, vm, memory))
    with driver.dead_host_is_no_obstacle(f"{target.path} stays there"):
        vmdir.remove(driver.hosts.on(target.host), target.path)


def _unaddressed(config: Config, vm: Vm) -> list[str]:
    """Volatile disks of VMs so old that no driver is told of them: oned addresses a disk by its TM_MAD."""
    old = (each for each in vm.disks if each.is_volatile and not each.tm_mad)
    return [names.of_disk(config.one_px, vm.id, each) for each in old]


def _unlink(driver: Driver, target: Location) -> None:
    with driver.dead_host_is_no_obstacle(f"the link {target.path} stays there"):
        vmdir.unlink(driver.hosts.on(target.host), [target.path])
