"""A guest's memory on a volume: what runs around OpenNebula's own save and restore.

oned does not know these scripts; the VM driver's save and restore call them where they are set up for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from posixpath import dirname
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon import names, qos, tags
from storpool_addon.config import Config
from storpool_addon.errors import AddonError, StateError, UsageError
from storpool_addon.hosts import savefile, vmdir
from storpool_addon.opennebula.action import VmmAction
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.location import Location, absolute, checked_host
from storpool_addon.opennebula.protocol import number, protocol, text
from storpool_addon.opennebula.vm import Vm
from storpool_addon.undo import Undo, uninterrupted
from storpool_addon.units import mib_to_bytes
from storpool_addon.volumes import Placement, Volumes

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

# QEMU writes each page of guest memory once, with 8 bytes before it, then video memory and device state
# (migration/ram.c); libvirt puts the domain's XML before that. The volume is thin: room costs nothing.
_ROOM_MIB = 256


class SavedGuest(NamedTuple):
    """A guest's memory that is saved to FILE on HOST, or restored from it; both actions are told the same."""

    file: str
    host: str
    vm_id: int
    action: VmmAction
    deploy_id: str = ""
    same_host: str = ""


_saving = protocol(
    deploy_id=text,
    file=absolute,
    host=checked_host,
    vm_id=number,
    same_host=checked_host,
    stdin=("action", VmmAction.parse),
    into=SavedGuest,
)
_restoring = protocol(
    file=absolute,
    host=checked_host,
    deploy_id=text,
    vm_id=number,
    same_host=checked_host,
    stdin=("action", VmmAction.parse),
    into=SavedGuest,
)


class _Memory(NamedTuple):
    """The volume of a VM's saved memory, whether it is there or not."""

    vm: Vm
    system: Datastore
    volume: str
    volumes: Volumes
    config: Config


@_saving
def presave(driver: Driver, guest: SavedGuest) -> None:
    """What is saved to FILE goes to a volume of its own (SP_CHECKPOINT_BD); without that, nothing.

    A volume that a failed save left is taken again as it is: should that save have succeeded after all, its
    memory is safe until new memory is really written.
    """
    memory = _memory(driver, guest)
    if not memory.config.checkpoint_on_volume:
        return
    size, template = size_of_memory(memory.vm), names.template(memory.config.one_px, memory.system.id)
    qc = qos.of_vm(memory.config, memory.vm, memory.system)
    wanted = tags.vm_disk(memory.config, memory.vm, type="CHKPNT", qc=qc)
    client = driver.client_id(guest.host, memory.vm, memory.system)
    with Undo(driver.log) as undo:
        with uninterrupted():
            if memory.volumes.ensure(memory.volume, size=size, template=template, tags=wanted):
                undo.add(f"delete volume {memory.volume}", memory.volumes.discard, memory.volume)
            memory.volumes.place([Placement(memory.volume, client)])
        savefile.lead_to_volume(
            driver.hosts.on(guest.host), guest.file, memory.volumes.api.reference(memory.volume)
        )


@_saving
def postsave(driver: Driver, guest: SavedGuest) -> None:
    """The memory is saved: the link goes, and the volume leaves the host.

    Neither is worth a failure, for which oned would forget that the VM has saved memory.
    """
    memory = _memory(driver, guest)
    if not memory.config.checkpoint_on_volume:
        return
    with _whatever_fails(driver, f"the link {guest.file} stays there"):
        vmdir.unlink(driver.hosts.on(guest.host), [guest.file])
    with _whatever_fails(driver, f"volume {memory.volume} stays attached to {guest.host}"):
        memory.volumes.owned(memory.volume)
        memory.volumes.release([memory.volume], force=False)


@_restoring
def prerestore(driver: Driver, guest: SavedGuest) -> None:
    """Memory that is on a volume is there on this host, under the name FILE.

    Whatever SP_CHECKPOINT_BD says by now. Memory that is not on a volume is in FILE already.
    """
    memory = _memory(driver, guest)
    if memory.volumes.find(memory.volume) is None:
        return
    client = driver.client_id(guest.host, memory.vm, memory.system)
    with uninterrupted():
        memory.volumes.place([Placement(memory.volume, client)])
    savefile.lead_from_volume(
        driver.hosts.on(guest.host), guest.file, memory.volumes.api.reference(memory.volume)
    )


@_restoring
def postrestore(driver: Driver, guest: SavedGuest) -> None:
    """The guest runs again: its saved memory is deleted at once, as it does not fit its disks any more.

    What fails is no failure of the VM, which runs: a volume that stays is what the next save writes to.
    """
    memory = _memory(driver, guest)
    with _whatever_fails(driver, f"volume {memory.volume} is left for the next save"):
        if memory.volumes.find(memory.volume) is None:
            return
        # First: through a link without its volume a save would write into /dev.
        vmdir.unlink(driver.hosts.on(guest.host), [guest.file])
        memory.volumes.delete(memory.volume, keep=False)


def take_out_archive(driver: Driver, vm: Vm, system: Datastore, place: Location) -> None:
    """Memory that the bash addon put into an archive (SP_CHECKPOINT) is a file of the directory again."""
    volumes = driver.volumes(system)
    config = volumes.config
    name = names.checkpoint_archive(config.one_px, vm.id)
    if volumes.find(name) is None:
        return
    with uninterrupted():
        volumes.place([Placement(name, driver.client_id(place.host, vm, system))])
    file = f"{place.directory}/checkpoint"
    savefile.unpack(driver.hosts.on(place.host), file, volumes.api.reference(name), config.sp_compression)
    volumes.delete(name)


def _memory(driver: Driver, guest: SavedGuest) -> _Memory:
    """UsageError when the arguments and the document are not about the same VM."""
    vmdir.check(dirname(guest.file), guest.vm_id)
    vm, system = guest.action.vm, guest.action.datastore
    if vm.id != guest.vm_id or system is None:
        raise UsageError(f"standard input is not about VM {guest.vm_id} and its system datastore")
    config = driver.config.for_datastore(system).for_vm(vm)
    return _Memory(vm, system, names.checkpoint(config.one_px, vm.id), driver.volumes(system), config)


def size_of_memory(vm: Vm) -> int:
    """Bytes that saved memory may take. MEMORY_MAX is what a guest with a balloon has at the most."""
    most = vm.template.get("MEMORY_MAX", "")
    memory_mib = max(vm.memory_mib, int(most) if most.isdigit() else 0)
    if memory_mib == 0:
        raise StateError(f"oned does not say how much MEMORY VM {vm.id} has; its memory cannot be saved")
    return mib_to_bytes(max(2 * memory_mib, memory_mib + _ROOM_MIB))


@contextmanager
def _whatever_fails(driver: Driver, consequence: str) -> Iterator[None]:
    try:
        yield
    except AddonError as error:
        driver.log(f"{error}; {consequence}")
