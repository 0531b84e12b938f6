"""A guest's memory on a volume: what runs around OpenNebula's own save and restore.

oned does not know these scripts; the VM driver's save and restore call them where they are set up for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from posixpath import dirname
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon import names
from storpool_addon.errors import AddonError, StateError
from storpool_addon.hosts import savefile, vmdir
from storpool_addon.opennebula.action import VmmAction
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.location import Location, absolute, checked_host
from storpool_addon.opennebula.protocol import number, protocol, text
from storpool_addon.opennebula.vm import Vm
from storpool_addon.tm.own import Own
from storpool_addon.undo import Undo, uninterrupted
from storpool_addon.units import mib_to_bytes

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


@_saving
def presave(driver: Driver, guest: SavedGuest) -> None:
    """What is saved to FILE goes to a volume of its own (SP_CHECKPOINT_BD); without that, nothing.

    A volume that a failed save left is taken again as it is: should that save have succeeded after all, its
    memory is safe until new memory is really written.
    """
    memory = _memory(driver, guest)
    if not memory.config.checkpoint_on_volume:
        return
    size, there = size_of_memory(memory.vm), memory.placement(driver, guest.host)
    with Undo(driver.log) as undo:
        with uninterrupted():
            if memory.ensure(size, "CHKPNT"):
                undo.add(f"delete volume {memory.volume}", memory.volumes.discard, memory.volume)
            memory.volumes.place([there])
        savefile.lead_to_volume(driver.hosts.on(guest.host), guest.file, memory.reference)


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
    if not memory.exists():
        return
    there = memory.placement(driver, guest.host)
    with uninterrupted():
        memory.volumes.place([there])
    savefile.lead_from_volume(driver.hosts.on(guest.host), guest.file, memory.reference)


@_restoring
def postrestore(driver: Driver, guest: SavedGuest) -> None:
    """The guest runs again: its saved memory is deleted at once, as it does not fit its disks any more.

    What fails is no failure of the VM, which runs: a volume that stays is what the next save writes to.
    """
    memory = _memory(driver, guest)
    with _whatever_fails(driver, f"volume {memory.volume} is left for the next save"):
        if not memory.exists():
            return
        # First: through a link without its volume a save would write into /dev.
        vmdir.unlink(driver.hosts.on(guest.host), [guest.file])
        memory.volumes.delete(memory.volume, keep=False)


def take_out_archive(driver: Driver, vm: Vm, system: Datastore, place: Location) -> None:
    """Memory that the bash addon put into an archive (SP_CHECKPOINT) is a file of the directory again."""
    archive = Own.of(driver, vm, system, names.checkpoint_archive)
    if not archive.exists():
        return
    with uninterrupted():
        archive.volumes.place([archive.placement(driver, place.host)])
    file, compression = f"{place.directory}/checkpoint", archive.config.sp_compression
    savefile.unpack(driver.hosts.on(place.host), file, archive.reference, compression)
    archive.volumes.delete(archive.volume)


def _memory(driver: Driver, guest: SavedGuest) -> Own:
    """UsageError when the arguments and the document are not about the same VM."""
    vmdir.check(dirname(guest.file), guest.vm_id)
    return Own.of(driver, *guest.action.of(guest.vm_id), names.checkpoint)


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
