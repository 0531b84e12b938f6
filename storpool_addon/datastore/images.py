"""Images: cp, mkfs, rm and stat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon import names, remotebackup
from storpool_addon.datastore import cgroups, fromsnapshot, importing, size, source
from storpool_addon.datastore.subject import FORMAT, image_of, source_of
from storpool_addon.drafts import is_finished
from storpool_addon.errors import StateError, UsageError
from storpool_addon.hosts.filesystems import SWAP, make_command
from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.opennebula.action import DatastoreAction
from storpool_addon.opennebula.protocol import number, protocol
from storpool_addon.tags import UNFINISHED
from storpool_addon.undo import Undo

if TYPE_CHECKING:
    from storpool_addon.config import Config
    from storpool_addon.datastore.importing import Job
    from storpool_addon.driver import Driver
    from storpool_addon.opennebula.image import Image
    from storpool_addon.volumes import Volumes

MKFS_TIMEOUT_S = 600.0
_MKFS = f'{PRELUDE}device=$1; shift; wait_for "$device"; "$@" "$device" >/dev/null; sync "$device"\n'
_DOCUMENT = ("action", DatastoreAction.parse)


@protocol(image_id=number, stdin=_DOCUMENT)
def cp(driver: Driver, image_id: int, action: DatastoreAction) -> str:
    """Register an image: its PATH is read into a volume, or a snapshot cloned. Answers SOURCE and format."""
    snapshot = source.snapshot(image_of(action, image_id).path)
    task = importing.job(driver, action, works=snapshot is None)
    with driver.exclusive(task.name):
        if snapshot is not None:
            fromsnapshot.make(driver, task, action.datastore, snapshot)
        elif not is_finished(task.volumes, task.name):
            cgroups.join(task.config.sp_import_cgroups, driver.log)
            importing.run(driver, task, action)
    return f"{source_of(task.config, action)} {FORMAT}"


@protocol(image_id=number, stdin=_DOCUMENT)
def mkfs(driver: Driver, image_id: int, action: DatastoreAction) -> str:
    """Make an empty image, with a file system if it asks for one. Answers SOURCE.

    With FORMAT save_as only the name is wanted: `cpds` makes the volume.
    """
    image = image_of(action, image_id)
    config = driver.config.for_datastore(action.datastore)
    if not image.is_save_as:
        _check_format(image)
        filesystem = _filesystem(image, config)
        task = importing.job(driver, action, works=bool(filesystem))
        if not filesystem:
            task.create_empty()
        else:
            _make_filesystem(driver, task, filesystem)
    return source_of(config, action)


@protocol(image_id=number, stdin=_DOCUMENT)
def rm(driver: Driver, image_id: int, action: DatastoreAction) -> None:
    """Delete an image and its snapshots; done already when they are not there."""
    image, datastore = image_of(action, image_id), action.datastore
    config, volumes = driver.config.for_datastore(datastore), driver.volumes(datastore)
    name = names.image(config.one_px, image.id)
    # An image can be registered with the SOURCE of another; that one's volume is not ours to delete.
    if image.source and image.source != names.source(config.one_px, datastore.id, image.id):
        driver.log(f"image {image.id} has SOURCE {image.source}; deleting {name} only")
    volume = volumes.find(name)
    whole = volume is not None and UNFINISHED not in volume.tags
    if whole:
        wanted = datastore.attribute("REMOTE_BACKUP_DELETE")
        remotebackup.before_delete(volumes, name, wanted, driver.exclusive(name))
    snapshots = [names.disk_snapshot(name, each.id) for each in image.snapshots]
    volumes.delete(name, keep=whole, snapshots=snapshots)
    _delete_staging(volumes, names.staging(config.one_px, image.id))


@protocol(request_id=number, stdin=_DOCUMENT)
def stat(driver: Driver, request_id: int, action: DatastoreAction) -> str:
    """The size of the disk in the image at PATH, in MiB."""
    snapshot = source.snapshot(action.the_image.path)
    if snapshot is not None:
        return str(fromsnapshot.size_mib(driver, action.datastore, snapshot))
    config = driver.config.for_datastore(action.datastore)
    return str(size.size_mib(driver, config, action))


def _check_format(image: Image) -> None:
    for key, value in (("FORMAT", image.format), ("DRIVER", image.attribute("DRIVER"))):
        if value.lower() not in ("", FORMAT):
            raise UsageError(f"image {image.id}: {key} {value!r} is not possible in StorPool; use {FORMAT}")
    if image.size_mib <= 0:
        raise UsageError(f"image {image.id}: a size of {image.size_mib} MiB is not possible; give SIZE")


def _filesystem(image: Image, config: Config) -> str:
    """The file system that the image asks for, "" for none."""
    wanted = image.fs.lower()
    if wanted in ("", FORMAT):
        return ""
    supported = (*config.supported_fs, SWAP)
    if wanted not in supported:
        raise UsageError(f"image {image.id}: FS {image.fs!r} is not supported; use {', '.join(supported)}")
    return wanted


def _make_filesystem(driver: Driver, task: Job, filesystem: str) -> None:
    command = make_command(filesystem, task.config.fs_options(filesystem))
    with driver.exclusive(task.name), Undo(driver.log) as undo:
        if is_finished(task.volumes, task.name):
            return
        task.create(undo, 0)
        what = f"making {filesystem} on volume {task.name}"
        task.shell.run(_MKFS, task.device, *command, what=what, timeout_s=MKFS_TIMEOUT_S)
        task.draft.finish()


def _delete_staging(volumes: Volumes, name: str) -> None:
    """Remove the volume that the bash addon downloaded the image to, if a crash of it left one."""
    try:
        volumes.delete(name, keep=False)
    except StateError as error:
        volumes.log(f"leaving volume {name} alone: {error}")
