"""Live migration: two hosts have the volumes while it is under way, one host before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.hosts import vmdir
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.location import absolute
from storpool_addon.opennebula.protocol import Optional, number, protocol, text
from storpool_addon.opennebula.vm import Vm
from storpool_addon.tm import disks, sharing
from storpool_addon.tm.disks import Subject
from storpool_addon.undo import Undo, uninterrupted
from storpool_addon.volumes import Placement, Volumes

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

_declared = protocol(
    source=text,
    target=text,
    directory=absolute,
    vm_id=number,
    datastore_id=number,
    caller=Optional(text),
    stdin=("vm", Vm.parse),
)


class _Share(NamedTuple):
    """The VM's volumes on one StorPool cluster, each with the way it is attached."""

    volumes: Volumes
    datastore: Datastore
    modes: dict[str, str]

    def on(self, driver: Driver, vm: Vm, host: str) -> list[Placement]:
        client = driver.client_id(host, vm, self.datastore)
        return [Placement(volume, client, mode) for volume, mode in self.modes.items()]


@_declared
def premigrate(
    driver: Driver,
    source: str,
    target: str,
    directory: str,
    vm_id: int,
    datastore_id: int,
    caller: str | None,
    vm: Vm,
) -> None:
    """The target host gets the volumes as well, and the VM's directory with its links.

    caller: the driver of the VM's directory when that is not this one; the directory is its business then.
    """
    vmdir.check(directory, vm_id)
    system = driver.one.datastore(datastore_id)
    with Undo(driver.log) as undo:
        for share in _shares(driver, vm, system):
            there = share.on(driver, vm, target)
            undo.add(f"detach from {target}", share.volumes.place, share.on(driver, vm, source))
            with uninterrupted():
                share.volumes.share(there)
        for disk in sharing.of_vm(driver, vm):
            sharing.join(driver, undo, disk, *_clients(driver, disk, source, target))
        if _keeps_home(driver, system, caller):
            vmdir.copy_to(driver.hosts.on(source), directory, target, directory)
        if caller is None:
            vmdir.link(driver.hosts.on(target), _links(driver, vm, directory))


@_declared
def postmigrate(
    driver: Driver,
    source: str,
    target: str,
    directory: str,
    vm_id: int,
    datastore_id: int,
    caller: str | None,
    vm: Vm,
) -> None:
    """The VM runs on the target: the source loses the volumes, by force if it must, and the directory."""
    vmdir.check(directory, vm_id)
    system = driver.one.datastore(datastore_id)
    for share in _shares(driver, vm, system):
        share.volumes.place(share.on(driver, vm, target), force=True)
    for disk in sharing.of_vm(driver, vm):
        sharing.be_on(driver, disk, _clients(driver, disk, target), force=True)
    if _keeps_home(driver, system, caller):
        with driver.dead_host_is_no_obstacle(f"{directory} stays there"):
            vmdir.remove(driver.hosts.on(source), directory)


@_declared
def failmigrate(
    driver: Driver,
    source: str,
    target: str,
    directory: str,
    vm_id: int,
    datastore_id: int,
    caller: str | None,
    vm: Vm,
) -> None:
    """The migration failed: the target host loses the volumes again, unless it has them open.

    oned believes that the VM runs on the source. If a device is open on the target the guest may have
    arrived after all; then nothing is detached and the action fails, for a person to look.
    """
    vmdir.check(directory, vm_id)
    system = driver.one.datastore(datastore_id)
    for share in _shares(driver, vm, system):
        share.volumes.place(share.on(driver, vm, source))
    for disk in sharing.of_vm(driver, vm):
        sharing.be_on(driver, disk, _clients(driver, disk, source))
    if _keeps_home(driver, system, caller):
        with driver.dead_host_is_no_obstacle(f"{directory} stays there"):
            vmdir.remove(driver.hosts.on(target), directory)


def _shares(driver: Driver, vm: Vm, system: Datastore) -> list[_Share]:
    """The VM's volumes by cluster, each seen to be ours: one call then attaches a cluster's all at once.

    Without those that other VMs have too: each of them goes by itself, under its lock.
    """
    shares: dict[object, _Share] = {}
    for disk in disks.on_storpool(driver, vm):
        if sharing.is_shared(disk.disk):
            continue
        disk.volumes.owned(disk.volume)
        share = shares.setdefault(disk.volumes.api, _Share(disk.volumes, disk.datastore, {}))
        share.modes[disk.volume] = disk.mode
    if system.tm_mad == disks.TM_MAD:
        volumes = driver.volumes(system)
        share = shares.setdefault(volumes.api, _Share(volumes, system, {}))
        share.modes.update((name, "rw") for name in disks.home_volumes(driver, vm, system))
    return list(shares.values())


def _clients(driver: Driver, disk: Subject, *hosts: str) -> list[int]:
    return [driver.client_id(host, disk.vm, disk.datastore) for host in hosts]


def _links(driver: Driver, vm: Vm, directory: str) -> list[tuple[str, str]]:
    return [(f"{directory}/disk.{disk.disk.disk_id}", disk.volume) for disk in disks.on_storpool(driver, vm)]


def _keeps_home(driver: Driver, system: Datastore, caller: str | None) -> bool:
    """Whether the VM's directory is ours and on one host only."""
    return caller is None and driver.config.for_datastore(system).sp_system == "ssh"
