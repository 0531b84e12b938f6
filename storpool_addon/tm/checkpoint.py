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

_saving = protocol(
    deploy_id=text,
    file=absolute,
    host=checked_host,
    vm_id=number,
    same_host=checked_host,
    stdin=("action", VmmAction.parse),
)
_restoring = protocol(
    file=absolute,
    host=checked_host,
    deploy_id=text,
    vm_id=number,
    same_host=checked_host,
    stdin=("action", VmmAction.parse),
)


class _Memory(NamedTuple):
    """The volume of a VM's saved memory, whether it is there or not."""

    vm: Vm
    system: Datastore
    volume: str
    volumes: Volumes
    config: Config


@_saving
def presave(
    driver: Driver, deploy_id: str, file: str, host: str, vm_id: int, same_host: str, action: VmmAction
) -> None:
    """What is saved to FILE goes to a volume of its own (SP_CHECKPOINT_BD); without that, nothing.

    A volume that a failed save left is taken again as it is: should that save have succeeded after all, its
    memory is safe until new memory is really written.
    """
    memory = _memory(driver, file, vm_id, action)
    if not memory.config.checkpoint_on_volume:
        return
    size, template = _size(memory.vm), names.template(memory.config.one_px, memory.system.id)
    qc = qos.of_vm(memory.config, memory.vm, memory.system)
    wanted = tags.vm_disk(memory.config, memory.vm, type="CHKPNT", qc=qc)
    client = driver.client_id(host, memory.vm, memory.system)
    with Undo(driver.log) as undo:
        with uninterrupted():
            if memory.volumes.ensure(memory.volume, size=size, template=template, tags=wanted):
                undo.add(f"delete volume {memory.volume}", memory.volumes.discard, memory.volume)
            memory.volumes.place([Placement(memory.volume, client)])
        savefile.lead_to_volume(driver.hosts.on(host), file, memory.volumes.api.reference(memory.volume))


@_saving
def postsave(
    driver: Driver, deploy_id: str, file: str, host: str, vm_id: int, same_host: str, action: VmmAction
) -> None:
    """The memory is saved: the link goes, and the volume leaves the host.

    Neither is worth a failure, for which oned would forget that the VM has saved memory.
    """
    memory = _memory(driver, file, vm_id, action)
    if not memory.config.checkpoint_on_volume:
        return
    with _whatever_fails(driver, f"the link {file} stays there"):
        vmdir.unlink(driver.hosts.on(host), [file])
    with _whatever_fails(driver, f"volume {memory.volume} stays attached to {host}"):
        memory.volumes.owned(memory.volume)
        memory.volumes.release([memory.volume], force=False)


@_restoring
def prerestore(
    driver: Driver, file: str, host: str, deploy_id: str, vm_id: int, same_host: str, action: VmmAction
) -> None:
    """Memory that is on a volume is there on this host, under the name FILE.

    Whatever SP_CHECKPOINT_BD says by now. Memory that is not on a volume is in FILE already.
    """
    memory = _memory(driver, file, vm_id, action)
    if memory.volumes.find(memory.volume) is None:
        return
    client = driver.client_id(host, memory.vm, memory.system)
    with uninterrupted():
        memory.volumes.place([Placement(memory.volume, client)])
    savefile.lead_from_volume(driver.hosts.on(host), file, memory.volumes.api.reference(memory.volume))


@_restoring
def postrestore(
    driver: Driver, file: str, host: str, deploy_id: str, vm_id: int, same_host: str, action: VmmAction
) -> None:
    """The guest runs again: its saved memory is deleted at once, as it does not fit its disks any more.

    What fails is no failure of the VM, which runs: a volume that stays is what the next save writes to.
    """
    memory = _memory(driver, file, vm_id, action)
    with _whatever_fails(driver, f"volume {memory.volume} is left for the next save"):
        if memory.volumes.find(memory.volume) is None:
            return
        # First: through a link without its volume a save would write into /dev.
        vmdir.unlink(driver.hosts.on(host), [file])
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


def _memory(driver: Driver, file: str, vm_id: int, action: VmmAction) -> _Memory:
    """UsageError when the arguments and the document are not about the same VM."""
    vmdir.check(dirname(file), vm_id)
    if action.vm.id != vm_id or action.datastore is None:
        raise UsageError(f"standard input is not about VM {vm_id} and its system datastore")
    config = driver.config.for_datastore(action.datastore).for_vm(action.vm)
    name = names.checkpoint(config.one_px, vm_id)
    return _Memory(action.vm, action.datastore, name, driver.volumes(action.datastore), config)


def _size(vm: Vm) -> int:
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
