"""The disks of a VM as an action sees them: volume, kind, attach mode, and where each of them lives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon import names, qos, tags
from storpool_addon.config import Config
from storpool_addon.errors import StateError, UsageError
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.states import LcmState, VmState
from storpool_addon.opennebula.vm import TM_MAD, Disk, Vm
from storpool_addon.units import MAX_SIZE, mib_to_bytes
from storpool_addon.volumes import Placement, Volumes

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

# The guest's memory lies somewhere then; where, SP_CHECKPOINT_BD said when it was saved.
_MEMORY_IS_SAVED = frozenset(
    (
        LcmState.PROLOG_MIGRATE,
        LcmState.PROLOG_MIGRATE_FAILURE,
        LcmState.PROLOG_MIGRATE_SUSPEND,
        LcmState.PROLOG_MIGRATE_SUSPEND_FAILURE,
        LcmState.PROLOG_RESUME,
        LcmState.PROLOG_RESUME_FAILURE,
        LcmState.EPILOG_STOP,
        LcmState.EPILOG_STOP_FAILURE,
    )
)


class Subject(NamedTuple):
    """A disk and all that an action needs to act on it.

    volumes: the StorPool that keeps it. config: with what the disk's datastore and the VM override.
    """

    vm: Vm
    disk: Disk
    volume: str
    datastore: Datastore
    volumes: Volumes
    config: Config

    @property
    def mode(self) -> str:
        """How the volume is attached: libvirt opens even a read-only disk for writing by default."""
        return self.config.readonly_mode if self.disk.readonly else "rw"

    @property
    def reference(self) -> str:
        """What names the volume's device on a host."""
        return self.volumes.api.reference(self.volume)

    def placement(self, client: int) -> Placement:
        """The volume on one client and on no other."""
        return Placement(self.volume, client, self.mode)


def subject(driver: Driver, location: Location, vm_id: int, datastore_id: int) -> Subject:
    """The disk that `location` names; StateError when the VM has no such disk."""
    if location.disk_id is None:
        raise UsageError(f"{location.path!r} is not the path of a disk (…/disk.N)")
    vm = driver.one.vm(vm_id)
    return of_disk(driver, vm, vm.disk(location.disk_id), driver.one.datastore(datastore_id))


def of_disk(driver: Driver, vm: Vm, disk: Disk, datastore: Datastore) -> Subject:
    """A disk whose datastore is known."""
    config = driver.config.for_datastore(datastore).for_vm(vm)
    volume = volume_name(config, vm, disk)
    return Subject(vm, disk, volume, datastore, driver.volumes(datastore), config)


def on_storpool(driver: Driver, vm: Vm) -> list[Subject]:
    """Every disk of the VM that this driver keeps; disks of other drivers are theirs to move."""
    datastore = driver.one.datastore
    return [
        of_disk(driver, vm, disk, datastore(datastore_id(vm, disk)))
        for disk in vm.disks
        if vm.tm_mad_of(disk) == TM_MAD
    ]


def datastore_id(vm: Vm, disk: Disk) -> int:
    """The datastore that a disk is in; a volatile one is where the VM is."""
    if disk.is_volatile and vm.history:
        return vm.last.ds_id
    if disk.datastore_id < 0:
        raise StateError(
            f"disk {disk.disk_id} of VM {vm.id} has no DATASTORE_ID in OpenNebula; detach and attach it anew"
        )
    return disk.datastore_id


def volume_name(config: Config, vm: Vm, disk: Disk) -> str:
    """The volume behind a disk; the names are those of the bash addon, and stay."""
    if not disk.is_volatile and not disk.source:
        raise StateError(
            f"disk {disk.disk_id} of VM {vm.id} has no SOURCE in OpenNebula; detach and attach it anew"
        )
    return names.of_disk(config.one_px, vm.id, disk)


def size_of(disk: Subject, size_mib: int) -> int:
    """Bytes of a size that oned asks for; UsageError for one that no disk can have."""
    size = mib_to_bytes(size_mib)
    if not 0 < size <= MAX_SIZE:
        raise UsageError(
            f"disk {disk.disk.disk_id} of VM {disk.vm.id}: a size of {size_mib} MiB is not possible"
        )
    return size


def kind(disk: Disk) -> str:
    """The `type` tag of a disk's volume."""
    if disk.is_volatile:
        return "VOLRO" if disk.readonly else "VOL"
    if disk.is_cdrom:
        return "CDROM"
    if disk.is_immutable:
        return "IMMUT"
    word = "NPERS" if disk.clone else "PERS"
    return word + "RO" if disk.readonly else word


def template_of(disk: Subject) -> str | None:
    """The template for a VM's own copy of an image; None for that of the image."""
    return None if disk.config.no_volume_template else names.template(disk.config.one_px, disk.datastore.id)


def tags_of(driver: Driver, disk: Subject) -> dict[str, str]:
    """Whose the disk's volume is, with the first QoS class that anybody asks for."""
    vm, disk_id = disk.vm, disk.disk.disk_id
    own = disk.disk.has_own_volume
    image = None if own or disk.disk.image_id is None else driver.one.image(disk.disk.image_id)
    qc = qos.resolve(
        disk.config,
        qos.VM_FIRST if own else qos.IMAGE_FIRST,
        vm=vm,
        disk_id=disk_id,
        image=image,
        system=driver.one.datastore(vm.last.ds_id),
        datastore=disk.datastore,
    )
    return tags.vm_disk(disk.config, vm, type=kind(disk.disk), qc=qc, disk_id=disk_id)


def home_volumes(driver: Driver, vm: Vm, system: Datastore) -> list[str]:
    """Volumes that belong to the VM itself and are there now: context image, UEFI variables, saved memory."""
    config = driver.config.for_datastore(system).for_vm(vm)
    wanted = home_volume_names(config, vm)
    volumes = driver.volumes(system)
    return [name for name in wanted if volumes.find(name) is not None]


def home_volume_names(config: Config, vm: Vm) -> list[str]:
    """What `home_volumes` looks for."""
    found = []
    if vm.context_disk_id is not None:
        found.append(names.context(config.one_px, vm.id, vm.context_disk_id))
    if vm.attribute("T_OS_NVRAM"):
        found.append(names.nvram(config.one_px, vm.id))
    if vm.lcm_state in _MEMORY_IS_SAVED or vm.state in (VmState.STOPPED, VmState.SUSPENDED):
        found.append(names.checkpoint(config.one_px, vm.id))
    return found


def by_cluster(subjects: Iterable[Subject]) -> list[list[Subject]]:
    """The subjects in groups, one for each StorPool cluster: a call goes to one cluster."""
    groups: dict[object, list[Subject]] = {}
    for each in subjects:
        groups.setdefault(each.volumes.api, []).append(each)
    return list(groups.values())
