"""Saving a disk of a VM as an image: cpds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from storpool_addon import names, qos, tags
from storpool_addon.errors import StateError, UsageError
from storpool_addon.hosts import freeze
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.protocol import number, protocol, text
from storpool_addon.opennebula.states import LcmState
from storpool_addon.tm import disks
from storpool_addon.tm.disks import Subject
from storpool_addon.undo import Undo, uninterrupted
from storpool_addon.units import mib_to_bytes

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.opennebula.datastore import Datastore
    from storpool_addon.volumes import Volumes

# oned's word for "as the disk is now".
NOW = -1


class _Target(NamedTuple):
    """The image volume that is to be made, and its datastore."""

    name: str
    datastore: Datastore
    volumes: Volumes


@protocol(source=Location.parse, target=text, snapshot_id=number, vm_id=number, datastore_id=number)
def cpds(
    driver: Driver, source: Location, target: str, snapshot_id: int, vm_id: int, datastore_id: int
) -> None:
    """Make the image whose name `mkfs` has given a clone of a VM's disk, or of one of its snapshots."""
    disk = disks.subject(driver, source, vm_id, datastore_id)
    if disk.disk.is_volatile:
        raise StateError(
            f"disk {disk.disk.disk_id} of VM {vm_id} is volatile: it has no image to be saved as one"
        )
    image = _target(driver, disk, target)
    config = image.volumes.config
    template = None if config.no_volume_template else names.template(config.one_px, image.datastore.id)
    qc = qos.resolve(config, qos.DATASTORE_ONLY, datastore=image.datastore)
    origin, size = _origin(driver, disk, snapshot_id)
    mode, shell = _freeze_mode(disk, snapshot_id), driver.hosts.on(source.host)
    held = freeze.frozen(driver.processes, shell, disk.vm.deploy_id, mode, required=False, log=driver.log)
    with Undo(driver.log) as undo, held, uninterrupted():
        if image.volumes.create(
            image.name,
            size=max(size, mib_to_bytes(disk.disk.size_mib)),
            template=template,
            tags=tags.image(config, qc),
            **origin,
        ):
            undo.add(f"delete volume {image.name}", image.volumes.discard, image.name)


def _target(driver: Driver, disk: Subject, target: str) -> _Target:
    """The image must be a new one of ours, and what oned has noted at the disk where it has."""
    name, asked = names.of_source(target), disk.disk.attribute("HOTPLUG_SAVE_AS_SOURCE")
    origin = names.parse(disk.config.one_px, name)
    if origin is None or origin.kind != "image" or target == disk.disk.source:
        raise UsageError(f"{target} cannot be the SOURCE of an image that disk {disk.disk.disk_id} becomes")
    if asked and asked != target:
        raise StateError(
            f"disk {disk.disk.disk_id} of VM {disk.vm.id} is to be saved as {asked}, not as {target}"
        )
    datastore = driver.one.datastore(names.datastore_of_source(target))
    volumes = driver.volumes(datastore)
    if volumes.api is not disk.volumes.api:
        # oned saves a disk into the datastore of its image (VirtualMachineDiskSaveas), so nobody asks for it.
        raise StateError(
            f"volume {disk.volume} and datastore {datastore.id} are in different StorPool clusters;"
            " save the disk into its own datastore, then clone the image"
        )
    return _Target(name, datastore, volumes)


def _origin(driver: Driver, disk: Subject, snapshot_id: int) -> tuple[dict[str, str], int]:
    """What the image is a clone of, as VolumeCreate takes it, and its size in bytes."""
    if snapshot_id == NOW:
        return {"base_on": disk.volume}, disk.volumes.owned(disk.volume).size
    name = names.disk_snapshot(disk.volume, snapshot_id)
    return {"parent": name}, driver.snapshots(disk.datastore).owned(name).size


def _freeze_mode(disk: Subject, snapshot_id: int) -> str:
    """The guest's file systems are frozen where the site wants that and a guest runs."""
    runs = snapshot_id == NOW and disk.vm.lcm_state == LcmState.HOTPLUG_SAVEAS
    return freeze.AGENT if runs and disk.config.disk_saveas_fsfreeze else ""
