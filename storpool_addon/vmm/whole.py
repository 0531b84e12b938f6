"""All of a VM that a VM snapshot holds: the volumes of its disks and those of its own, in one StorPool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon import names
from storpool_addon.errors import StateError
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.vm import TM_MAD, Disk, Vm
from storpool_addon.tm import disks, sharing, tpm
from storpool_addon.volumes import Placement

if TYPE_CHECKING:
    from storpool_addon.config import Config
    from storpool_addon.driver import Driver
    from storpool_addon.opennebula.action import VmmAction
    from storpool_addon.snapshots import Pair, Snapshots
    from storpool_addon.tm.disks import Subject
    from storpool_addon.volumes import Volumes


class Whole(NamedTuple):
    """A VM. system, place: its system datastore and its directory. disks: those that a VM snapshot holds.

    own: the names of its own volumes: context image, UEFI variables, state of the virtual TPM.
    """

    vm: Vm
    system: Datastore
    place: Location
    config: Config
    volumes: Volumes
    snapshots: Snapshots
    disks: Sequence[Subject]
    own: Sequence[str]

    @property
    def names(self) -> list[str]:
        """Of all these volumes."""
        return [*(each.volume for each in self.disks), *self.own]

    def pairs(self, hypervisor_id: str, *more: str) -> list[Pair]:
        """Each volume with its part of the VM snapshot. more: further volumes."""
        return [(each, names.vm_snapshot(each, hypervisor_id)) for each in (*self.names, *more)]

    def placements(self, client: int) -> list[Placement]:
        """All that a guest uses on one client and on no other; the state of a TPM is only copied."""
        saved = names.tpm(self.config.one_px, self.vm.id)
        own = [Placement(each, client, self._mode(each)) for each in self.own if each != saved]
        return [each.placement(client) for each in self.disks] + own

    def holds_data(self, name: str) -> bool:
        """Whether a volume holds what cannot be made anew, as a context image and the copy of a CDROM can."""
        made_anew = {each.volume for each in self.disks if each.disk.is_cdrom}
        return name not in made_anew and not names.is_context(self.config.one_px, name)

    def _mode(self, name: str) -> str:
        return self.config.readonly_mode if names.is_context(self.config.one_px, name) else "rw"


def of_vm(driver: Driver, action: VmmAction, vm_id: int, host: str) -> Whole:
    """What is to be in a VM snapshot; StateError for a VM with a disk of which there can be none."""
    vm, system = action.of(vm_id)
    config = driver.config.for_datastore(system).for_vm(vm)
    held = [
        each for each in map(partial(_subject, driver, vm), _held(vm, config)) if _has_volume(driver, each)
    ]
    own = _own(driver, vm, system, config)
    if not held and not own:
        raise StateError(f"VM {vm_id} has no disk that a VM snapshot could hold")
    datastore = system if own else held[0].datastore
    volumes = driver.volumes(datastore)
    for each in held:
        if each.volumes.api is not volumes.api:
            raise StateError(
                f"the disks of VM {vm_id} are in different StorPool clusters (disk {each.disk.disk_id} is not"
                " where the others are), which have no moment in common; take snapshots of its disks instead"
            )
    place = Location(host, f"{system.base_path}/{vm_id}")
    return Whole(vm, system, place, config, volumes, driver.snapshots(datastore), held, own)


def ever(driver: Driver, action: VmmAction, vm_id: int) -> Iterator[tuple[Snapshots, str]]:
    """The name of every volume of the VM of which a VM snapshot may have a part, with the snapshots there."""
    vm, system = action.of(vm_id)
    for each in disks.on_storpool(driver, vm):
        yield driver.snapshots(each.datastore), each.volume
    there = driver.snapshots(system)
    for name in own_names(driver.config.for_datastore(system).for_vm(vm), vm):
        yield there, name


def own_names(config: Config, vm: Vm) -> list[str]:
    """What may be there of the VM's own, with the memory that some VM snapshots have."""
    px = config.one_px
    found = [names.nvram(px, vm.id), names.tpm(px, vm.id), names.memory(px, vm.id)]
    return found if vm.context_disk_id is None else [names.context(px, vm.id, vm.context_disk_id), *found]


def _subject(driver: Driver, vm: Vm, disk: Disk) -> Subject:
    return disks.of_disk(driver, vm, disk, driver.one.datastore(disks.datastore_id(vm, disk)))


def _has_volume(driver: Driver, disk: Subject) -> bool:
    """Whether the VM has a volume for it: a CDROM of before bash addon 19.03.2 is its image, all read it."""
    if not disk.disk.is_cdrom or disk.volumes.find(disk.volume) is not None:
        return True
    driver.log(
        f"disk {disk.disk.disk_id} of VM {disk.vm.id} is its CDROM image itself, of which nothing is kept"
    )
    return False


def _held(vm: Vm, config: Config) -> Iterable[Disk]:
    """Its disks, but for those that nobody writes to; StateError for one that cannot be in a VM snapshot."""
    for disk in vm.disks:
        if disk.readonly and config.vmsnapshot_exclude_readonly:
            continue
        if sharing.is_shared(disk) and not disk.shareable:
            # IMMUTABLE: what it holds is the same for ever.
            continue
        keeper = vm.tm_mad_of(disk)
        which = f"disk {disk.disk_id} of VM {vm.id}"
        if keeper != TM_MAD:
            raise StateError(
                f"{which} is kept by {keeper or 'nobody'}, so that no snapshot of the VM would be whole;"
                " detach it, or take snapshots of the other disks"
            )
        if disk.shareable and sharing.is_shared(disk):
            raise StateError(
                f"{which} is an image of many VMs, whose data a revert would take away; detach it, or take"
                " snapshots of the other disks"
            )
        yield disk


def _own(driver: Driver, vm: Vm, system: Datastore, config: Config) -> list[str]:
    """What of the VM's own is there; StateError for the state of a TPM that is on no volume."""
    if vm.has_tpm and (system.tm_mad != TM_MAD or not tpm.is_kept(driver, vm)):
        raise StateError(
            f"the state of the TPM of VM {vm.id} is on no volume, so that no snapshot of the VM would be"
            " whole; ONE_TPM_SAVE=1 and a system datastore of this driver keep it there"
        )
    if system.tm_mad != TM_MAD:
        return []
    own = disks.home_volumes(driver, vm, system)
    return [*own, names.tpm(config.one_px, vm.id)] if vm.has_tpm else own
