"""CDROMs of VMs that have used the image itself since before a VM had a copy of its own.

The bash addon attached the image's volume until its release 19.03.2, and linked that. Such a VM gets its copy
when it moves. A tag on the copy says so until the image is taken from the host that the VM has left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon import names
from storpool_addon.errors import ConfigError, OpenNebulaRefused, StateError
from storpool_addon.storpool import Volume
from storpool_addon.tm import disks
from storpool_addon.tm.disks import Subject
from storpool_addon.undo import Undo, uninterrupted

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

TAG = "replaces"


def volume_of(driver: Driver, disk: Subject, undo: Undo | None = None) -> Volume:
    """The volume of a disk, which has to be there; the copy of a CDROM is made where there is none yet."""
    found = disk.volumes.find(disk.volume)
    if found is None and disk.disk.is_cdrom:
        _make_copy(driver, disk, undo)
    return found or disk.volumes.owned(disk.volume)


def _make_copy(driver: Driver, disk: Subject, undo: Undo | None) -> None:
    image = names.of_source(disk.disk.source)
    disk.volumes.owned(image)
    driver.log(f"disk {disk.disk.disk_id} of VM {disk.vm.id} used the CDROM image {image} itself")
    wanted = {**disks.tags_of(driver, disk), TAG: image}
    with uninterrupted():
        made = disk.volumes.create(disk.volume, base_on=image, template=disks.template_of(disk), tags=wanted)
        if made and undo is not None:
            undo.add(f"delete volume {disk.volume}", disk.volumes.discard, disk.volume)


def replaces(volume: Volume) -> str:
    """The image's volume that a host of the VM may still have, "" for none."""
    return volume.tags.get(TAG, "")


def detach_image(driver: Driver, disk: Subject, image: str, host: str, *, force: bool) -> None:
    """Take the image itself from a host that the VM has left.

    It stays where another VM uses the image: the two may share the host's one attachment. Nobody writes to
    it, so that it does no harm there.
    """
    if _others(driver, disk):
        driver.log(f"volume {image} stays attached to {host}: other VMs use the image")
    elif disk.volumes.find(image) is not None:
        try:
            client = driver.client_id(host, disk.vm, disk.datastore)
            disk.volumes.take_from(image, client, force=force)
        except (StateError, ConfigError) as error:
            driver.log(f"volume {image} stays attached to {host}: {error}")


def detach_leftover(driver: Driver, disk: Subject, host: str) -> None:
    """The disk is deleted: where it never got its copy, the image itself leaves the VM's host."""
    copy = disk.volumes.find(disk.volume)
    image = replaces(copy) if copy else names.of_source(disk.disk.source)
    try:
        if image:
            detach_image(driver, disk, image, host, force=True)
    except OpenNebulaRefused as error:
        # The image may be gone from oned; that must not keep a VM from going.
        driver.log(f"volume {image} may stay attached to {host}: {error}")


def unmark(disk: Subject) -> None:
    """The image has been detached: the copy need not say any more what it replaces."""
    disk.volumes.tag(disk.volume, {TAG: ""})


def _others(driver: Driver, disk: Subject) -> bool:
    """Whether other VMs have the image, or nobody knows."""
    if disk.disk.image_id is None:
        return True
    return bool(set(driver.one.image(disk.disk.image_id).vms) - {disk.vm.id})
