"""Live migration: two hosts have the volumes while it is under way, one host before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.hosts import transfer, vmdir
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.location import Location, absolute
from storpool_addon.opennebula.protocol import Optional, number, protocol, text
from storpool_addon.opennebula.vm import TM_MAD, Vm
from storpool_addon.storpool import Volume
from storpool_addon.tm import cdrom, disks, others, sharing, tpm
from storpool_addon.tm.disks import Subject
from storpool_addon.tm.others import Migration
from storpool_addon.undo import Undo, uninterrupted
from storpool_addon.volumes import Placement, Volumes

if TYPE_CHECKING:
    from storpool_addon.driver import Driver


class _Sent(NamedTuple):
    """A VM, and the document that it was read from, for other drivers."""

    vm: Vm
    document: bytes

    @classmethod
    def parse(cls, document: bytes) -> _Sent:
        return cls(Vm.parse(document), document)


class _Asked(NamedTuple):
    """What oned gives. caller: the driver of the VM's directory when that is not this one."""

    source: str
    target: str
    directory: str
    vm_id: int
    datastore_id: int
    caller: str | None
    vm: _Sent

    def migration(self) -> Migration:
        """The same, seen to be about one VM's directory."""
        vmdir.check(self.directory, self.vm_id)
        vm, document = self.vm
        hosts = (self.source, self.target)
        return Migration(vm, *hosts, self.directory, self.datastore_id, document, self.caller)


_declared = protocol(
    source=text,
    target=text,
    directory=absolute,
    vm_id=number,
    datastore_id=number,
    caller=Optional(text),
    stdin=("vm", _Sent.parse),
    into=_Asked,
)


class _Share(NamedTuple):
    """The VM's volumes on one StorPool cluster, each with the way it is attached."""

    volumes: Volumes
    datastore: Datastore
    modes: dict[str, str]

    def on(self, driver: Driver, vm: Vm, host: str) -> list[Placement]:
        client = driver.client_id(host, vm, self.datastore)
        return [Placement(volume, client, mode) for volume, mode in self.modes.items()]


class _Storage(NamedTuple):
    """What a live migration moves.

    shares: the volumes. shared: disks that other VMs have too: each goes by itself, under its lock.
    images: CDROM images that the guest still uses on the source, each with its disk.
    has_home: the VM's directory is ours and on one host only.
    """

    shares: Sequence[_Share]
    shared: Sequence[Subject]
    images: Sequence[tuple[Subject, str]]
    has_home: bool


@_declared
def premigrate(driver: Driver, asked: _Asked) -> None:
    """The target host gets the volumes as well, and the VM's directory with its links.

    With a caller the directory is its business.
    """
    migration = asked.migration()
    vm, source, target, directory = migration.vm, migration.source, migration.target, migration.directory
    if migration.caller is None:
        others.refuse_strangers(driver, vm)
    with Undo(driver.log) as undo:
        storage = _storage(driver, migration, undo)
        for share in storage.shares:
            there = share.on(driver, vm, target)
            here = share.on(driver, vm, source)
            undo.add(f"detach from {target}", share.volumes.give_back, here)
            with uninterrupted():
                share.volumes.span(here, there)
        for disk in storage.shared:
            sharing.set_clients(driver, disk, _clients(driver, disk, source, target), undo=undo)
        if storage.has_home:
            system = driver.one.datastore(migration.datastore_id)
            tpm.save_running(driver, vm, system, Location(source, directory))
            undo.add(f"remove {directory} on {target}", _leave, driver, migration, storage)
            transfer.copy_to(driver.hosts.on(source), directory, target, directory)
        if migration.caller is None:
            vmdir.link(driver.hosts.on(target), _links(driver, migration))
            others.prepare(driver, migration, undo)


@_declared
def postmigrate(driver: Driver, asked: _Asked) -> None:
    """The VM runs on the target: the source loses the volumes, by force if it must, and the directory."""
    migration = asked.migration()
    source, target = migration.source, migration.target
    with others.told(driver, "postmigrate", migration):
        storage = _storage(driver, migration)
        for share in storage.shares:
            share.volumes.place(share.on(driver, migration.vm, target), force=True)
        for disk in storage.shared:
            sharing.set_clients(driver, disk, _clients(driver, disk, target), force=True)
        for disk, image in storage.images:
            cdrom.detach_image(driver, disk, image, source, force=True)
            cdrom.unmark(disk)
        if storage.has_home:
            _remove_home(driver, migration, source, target)


@_declared
def failmigrate(driver: Driver, asked: _Asked) -> None:
    """The migration failed: the target host loses the volumes again, unless it has them open.

    oned believes that the VM runs on the source. If a device is open on the target the guest may have
    arrived after all; then nothing is detached and the action fails, for a person to look.
    """
    migration = asked.migration()
    with others.told(driver, "failmigrate", migration):
        _leave(driver, migration, _storage(driver, migration))


def _leave(driver: Driver, migration: Migration, storage: _Storage) -> None:
    """Take everything from the target; the directory last, for a guest that has arrived needs it."""
    for share in storage.shares:
        share.volumes.give_back(share.on(driver, migration.vm, migration.source))
    for disk in storage.shared:
        sharing.set_clients(driver, disk, _clients(driver, disk, migration.source))
    if storage.has_home:
        _remove_home(driver, migration, migration.target, migration.source)


def _remove_home(driver: Driver, migration: Migration, host: str, other: str) -> None:
    directory = migration.directory
    with driver.dead_host_is_no_obstacle(f"{directory} stays there"):
        if not transfer.remove_copy(driver.hosts.on(host), directory, other):
            driver.log(f"{directory} is one directory on both hosts and stays; SP_SYSTEM=shared would say so")


def _storage(driver: Driver, migration: Migration, undo: Undo | None = None) -> _Storage:
    """What the VM has, each volume seen to be ours: one call then attaches all that a cluster keeps."""
    vm, system = migration.vm, driver.one.datastore(migration.datastore_id)
    shares: dict[object, _Share] = {}
    shared, images = [], []
    for disk in disks.on_storpool(driver, vm):
        if sharing.is_shared(disk.disk):
            shared.append(disk)
            continue
        volume = _volume(driver, disk, undo)
        if volume is None:
            continue
        image = cdrom.replaces(volume)
        if image:
            images.append((disk, image))
        share = shares.setdefault(disk.volumes.api, _Share(disk.volumes, disk.datastore, {}))
        share.modes[disk.volume] = disk.mode
    if system.tm_mad == TM_MAD:
        volumes = driver.volumes(system)
        share = shares.setdefault(volumes.api, _Share(volumes, system, {}))
        share.modes.update((name, "rw") for name in disks.home_volumes(driver, vm, system))
    return _Storage(list(shares.values()), shared, images, _has_home(driver, migration))


def _clients(driver: Driver, disk: Subject, *hosts: str) -> list[int]:
    return [driver.client_id(host, disk.vm, disk.datastore) for host in hosts]


def _volume(driver: Driver, disk: Subject, undo: Undo | None) -> Volume | None:
    """The disk's volume. A CDROM has no copy of its own where premigrate has taken it back."""
    if undo is None and disk.disk.is_cdrom:
        return disk.volumes.find(disk.volume)
    return cdrom.volume_of(driver, disk, undo)


def _links(driver: Driver, migration: Migration) -> list[tuple[str, str]]:
    found = disks.on_storpool(driver, migration.vm)
    return [(f"{migration.directory}/disk.{disk.disk.disk_id}", disk.reference) for disk in found]


def _has_home(driver: Driver, migration: Migration) -> bool:
    """Whether the VM's directory is ours and on one host only."""
    system = driver.one.datastore(migration.datastore_id)
    return migration.caller is None and driver.config.for_datastore(system).sp_system == "ssh"
