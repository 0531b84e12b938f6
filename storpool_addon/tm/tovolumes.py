"""Disks that another driver left as files in the directory of a powered-off VM become volumes of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon import names
from storpool_addon.config import Config
from storpool_addon.drafts import Draft, is_finished
from storpool_addon.errors import StateError
from storpool_addon.hosts import diskfile
from storpool_addon.hosts.diskfile import Seen
from storpool_addon.hosts.shell import Shell
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.states import VmState
from storpool_addon.opennebula.vm import TM_MAD, Vm
from storpool_addon.tm import context, disks
from storpool_addon.undo import Undo
from storpool_addon.units import SECTOR, mib_to_bytes, round_up_to_sector
from storpool_addon.volumes import Placement, Volumes

if TYPE_CHECKING:
    from storpool_addon.driver import Driver


class File(NamedTuple):
    """A disk that is a file, or was a moment ago. size, tags: of its volume."""

    vm: Vm
    system: Datastore
    volumes: Volumes
    host: str
    path: str
    volume: str
    size: int
    tags: dict[str, str]
    seen: Seen

    def __str__(self) -> str:
        return f"VM {self.vm.id}: {self.host}:{self.path} ({self.size} bytes) to volume {self.volume}"


class _Place(NamedTuple):
    """Where a disk is looked for. size: that oned says, in bytes, 0 when it says nothing."""

    path: str
    volume: str
    size: int
    tags: dict[str, str]


def files_of(driver: Driver, vm: Vm) -> list[File]:
    """The disks of a VM that are files and could be volumes; StateError for a VM that is not powered off."""
    _check_off(vm)
    system = driver.one.datastore(vm.last.ds_id)
    if system.tm_mad != TM_MAD:
        raise StateError(
            f"VM {vm.id} is in system datastore {system.id} of driver {system.tm_mad}; its disks stay there"
        )
    volumes, host = driver.volumes(system), vm.last.hostname
    places = list(_places(driver, vm, system, volumes.config.for_vm(vm)))
    if not places:
        return []
    all_seen = diskfile.look(driver.hosts.on(host), [each.path for each in places])
    found = []
    for place, seen in zip(places, all_seen):
        if seen.kind == "file" or seen.was_replaced:
            size = _size(place, seen)
            found.append(File(vm, system, volumes, host, place.path, place.volume, size, place.tags, seen))
    return found


def move(driver: Driver, file: File) -> None:
    """Copy one to its volume, compare, and put a link in its place.

    May be repeated after any end. The file stays beside the link until the VM is seen not to have started
    meanwhile: a guest that had opened the file would go on in it.
    """
    shell, client = driver.hosts.on(file.host), driver.client_id(file.host, file.vm, file.system)
    with driver.exclusive(file.volume):
        if file.seen.kind == "file":
            if not is_finished(file.volumes, file.volume):
                _fill(driver, shell, file, client)
            file.volumes.place([Placement(file.volume, client)])
            _compare(shell, file, file.path)
            _check_still_off(driver, file.vm)
            diskfile.replace(shell, file.path, file.volumes.api.reference(file.volume))
        kept = file.path + diskfile.KEPT
        _check_still_off(driver, file.vm, f"; it may have begun with {kept}, which is kept")
        _compare(shell, file, kept)
        diskfile.drop(shell, file.path)


def _fill(driver: Driver, shell: Shell, file: File, client: int) -> None:
    draft = Draft(file.volumes, file.volume, file.host, client)
    template = names.template(file.volumes.config.one_px, file.system.id)
    with Undo(driver.log) as undo:
        draft.create(undo, size=file.size, template=template, tags=file.tags)
        diskfile.copy(shell, file.path, file.volumes.api.reference(file.volume))
        _compare(shell, file, file.path)
        draft.finish()


def _compare(shell: Shell, file: File, path: str) -> None:
    if not diskfile.is_same(shell, path, file.volumes.api.reference(file.volume)):
        raise StateError(
            f"volume {file.volume} holds something else than {file.host}:{path}; remove the one that is old"
        )


def _places(driver: Driver, vm: Vm, system: Datastore, config: Config) -> Iterator[_Place]:
    """The context image and the volatile disks; every other disk is a volume, or another driver's."""
    directory = f"{system.base_path}/{vm.id}"
    if vm.context_disk_id is not None:
        name = names.context(config.one_px, vm.id, vm.context_disk_id)
        wanted = context.tags_of(driver.volumes(system), vm, system, vm.context_disk_id)
        yield _Place(f"{directory}/disk.{vm.context_disk_id}", name, 0, wanted)
    for disk in disks.on_storpool(driver, vm):
        if disk.disk.is_volatile:
            path = f"{directory}/disk.{disk.disk.disk_id}"
            size = mib_to_bytes(disk.disk.size_mib)
            yield _Place(path, disk.volume, size, disks.tags_of(driver, disk))


def _size(place: _Place, seen: Seen) -> int:
    if seen.is_qcow2:
        raise StateError(f"{place.path} is a qcow2 image; convert it to raw first (qemu-img convert -O raw)")
    return max(place.size, round_up_to_sector(seen.size), SECTOR)


def _check_off(vm: Vm, consequence: str = "") -> None:
    if vm.state != VmState.POWEROFF:
        state = vm.state.name if isinstance(vm.state, VmState) else vm.state
        raise StateError(f"VM {vm.id} is not powered off but in state {state}{consequence}")


def _check_still_off(driver: Driver, vm: Vm, consequence: str = "") -> None:
    driver.one.forget("vm", vm.id)
    _check_off(driver.one.vm(vm.id), consequence)
