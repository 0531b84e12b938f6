"""Giving a VM its disks: clone, ln, mkimage, mkswap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from storpool_addon import names
from storpool_addon.errors import UsageError
from storpool_addon.hosts import vmdir
from storpool_addon.hosts.filesystems import SWAP, make_command
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.protocol import number, protocol, text
from storpool_addon.tm import disks, sharing
from storpool_addon.tm.disks import Subject
from storpool_addon.undo import Undo, uninterrupted
from storpool_addon.units import mib_to_bytes

if TYPE_CHECKING:
    from storpool_addon.driver import Driver


@protocol(source=text, target=Location.parse, vm_id=number, datastore_id=number)
def clone(driver: Driver, source: str, target: Location, vm_id: int, datastore_id: int) -> None:
    """A private, writable copy of an image for a VM's disk, attached to the VM's host and linked there."""
    disk = disks.subject(driver, target, vm_id, datastore_id)
    image, client = names.of_source(source.rpartition(":")[2]), _client(driver, disk, target)
    with Undo(driver.log) as undo:
        _copy(driver, undo, disk, image)
        _attach(disk, client)
        vmdir.link(driver.hosts.on(target.host), [(target.path, disk.reference)])


@protocol(source=text, target=Location.parse, vm_id=number, datastore_id=number)
def ln(driver: Driver, source: str, target: Location, vm_id: int, datastore_id: int) -> None:
    """A persistent image, or a private copy of a CDROM image, attached to the VM's host and linked there.

    A SHAREABLE or IMMUTABLE image is attached to this VM's host as well: other VMs keep it.
    """
    disk = disks.subject(driver, target, vm_id, datastore_id)
    image, client = names.of_source(source.rpartition(":")[2]), _client(driver, disk, target)
    with Undo(driver.log) as undo:
        if disk.disk.has_own_volume:
            _copy(driver, undo, disk, image)
            _attach(disk, client)
        elif sharing.is_shared(disk.disk):
            sharing.set_clients(driver, disk, {client}, undo=undo)
        else:
            _lend(driver, undo, disk, client)
        vmdir.link(driver.hosts.on(target.host), [(target.path, disk.reference)])


@protocol(size_mib=number, image_format=text, target=Location.parse, vm_id=number, datastore_id=number)
def mkimage(
    driver: Driver, size_mib: int, image_format: str, target: Location, vm_id: int, datastore_id: int
) -> None:
    """A volatile disk, with a file system when its FS asks for one."""
    disk = disks.subject(driver, target, vm_id, datastore_id)
    if image_format.lower() != "raw":
        raise UsageError(
            f"disk {target.disk_id} of VM {vm_id}: format {image_format!r} is not supported, use raw"
        )
    filesystem = disk.disk.fs.lower()
    options = disk.config.fs_options(filesystem)
    _volatile(driver, disk, target, size_mib, make_command(filesystem, options) if filesystem else ())


@protocol(size_mib=number, target=Location.parse, vm_id=number, datastore_id=number)
def mkswap(driver: Driver, size_mib: int, target: Location, vm_id: int, datastore_id: int) -> None:
    """A volatile disk that is a swap area."""
    disk = disks.subject(driver, target, vm_id, datastore_id)
    _volatile(driver, disk, target, size_mib, make_command(SWAP))


def _copy(driver: Driver, undo: Undo, disk: Subject, image: str) -> None:
    """Make the VM's own volume as a clone of the image, grown to the disk's size."""
    size_mib, original = disk.disk.size_mib, disk.disk.original_size_mib
    grown = mib_to_bytes(size_mib) if size_mib and original and size_mib > original else None
    wanted = disks.tags_of(driver, disk)
    with uninterrupted():
        template = disks.template_of(disk)
        if disk.volumes.create(disk.volume, base_on=image, size=grown, template=template, tags=wanted):
            undo.add(f"delete volume {disk.volume}", disk.volumes.discard, disk.volume)


def _lend(driver: Driver, undo: Undo, disk: Subject, client: int) -> None:
    """Attach a persistent image for the VM and say so in its tags.

    Attached first: an image whose device is open elsewhere is refused before anything about it changes.
    """
    before = disk.volumes.owned(disk.volume)
    sharing.refuse_if_used_together(disk, before)
    wanted = disks.tags_of(driver, disk)
    undo.add(f"detach volume {disk.volume} from client {client}", disk.volumes.withdraw, disk.volume, client)
    _attach(disk, client)
    old = {key: before.tags.get(key, "") for key in wanted}
    undo.add(f"give volume {disk.volume} its tags back", disk.volumes.tag, disk.volume, old)
    with uninterrupted():
        disk.volumes.tag(disk.volume, wanted)


def _client(driver: Driver, disk: Subject, target: Location) -> int:
    """Asked for first: what nobody knows is said before anything is made."""
    return driver.client_id(target.host, disk.vm, disk.datastore)


def _attach(disk: Subject, client: int) -> None:
    with uninterrupted():
        disk.volumes.place([disk.placement(client)])


def _volatile(driver: Driver, disk: Subject, target: Location, size_mib: int, make: Sequence[str]) -> None:
    size = disks.size_of(disk, size_mib)
    template = names.template(disk.config.one_px, disk.datastore.id)
    wanted, client = disks.tags_of(driver, disk), _client(driver, disk, target)
    with Undo(driver.log) as undo:
        with uninterrupted():
            if disk.volumes.create(disk.volume, size=size, template=template, tags=wanted):
                undo.add(f"delete volume {disk.volume}", disk.volumes.discard, disk.volume)
        _attach(disk, client)
        shell = driver.hosts.on(target.host)
        if make:
            vmdir.make(shell, target.path, disk.reference, make)
        else:
            vmdir.link(shell, [(target.path, disk.reference)])
