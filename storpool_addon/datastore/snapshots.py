"""Snapshots of an image that no VM uses: snap_delete, snap_revert, snap_flatten."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon import names, qos, tags
from storpool_addon.config import Config
from storpool_addon.datastore.subject import image_of
from storpool_addon.errors import StateError, UsageError
from storpool_addon.opennebula.action import DatastoreAction
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.image import Image
from storpool_addon.opennebula.protocol import number, protocol
from storpool_addon.opennebula.snapshots import forgotten_by_revert
from storpool_addon.snapshots import Snapshots
from storpool_addon.undo import uninterrupted
from storpool_addon.volumes import Volumes

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

_declared = protocol(image_id=number, stdin=("action", DatastoreAction.parse))
REVERTED, FLATTENED = "RVRT", "FLAT"


class _Task(NamedTuple):
    """An image and the snapshot that the action is about."""

    image: Image
    datastore: Datastore
    config: Config
    volumes: Volumes
    snapshots: Snapshots
    volume: str

    def snapshot(self, snapshot_id: int) -> str:
        return names.disk_snapshot(self.volume, snapshot_id)

    @property
    def target(self) -> str:
        return self.snapshot(self.image.target_snapshot)


@_declared
def snap_delete(driver: Driver, image_id: int, action: DatastoreAction) -> None:
    """Delete one snapshot of an image; done already when it is not there."""
    task = _task(driver, image_id, action)
    task.snapshots.delete(task.target)


@_declared
def snap_revert(driver: Driver, image_id: int, action: DatastoreAction) -> None:
    """Give an image the data of a snapshot; what it held is kept aside for DELAY_DELETE."""
    task = _task(driver, image_id, action)
    with driver.exclusive(task.volume):
        _revert(task, REVERTED)
    for each in forgotten_by_revert(task.image.snapshots, task.image.target_snapshot):
        task.snapshots.delete(task.snapshot(each.id))


@_declared
def snap_flatten(driver: Driver, image_id: int, action: DatastoreAction) -> None:
    """Give an image the data of a snapshot, then delete this and all others that OpenNebula lists."""
    task = _task(driver, image_id, action)
    with driver.exclusive(task.volume):
        if task.snapshots.find(task.target) is not None or not _is_marked(task, FLATTENED):
            # Whether the image has been written to since, nobody can tell: it is reverted in any case.
            _revert(task, FLATTENED)
    others = [each.id for each in task.image.snapshots if each.id != task.image.target_snapshot]
    for snapshot_id in [*others, task.image.target_snapshot]:
        task.snapshots.delete(task.snapshot(snapshot_id))


def _task(driver: Driver, image_id: int, action: DatastoreAction) -> _Task:
    image, datastore = image_of(action, image_id), action.datastore
    if image.target_snapshot < 0:
        raise UsageError(f"image {image_id}: standard input names no TARGET_SNAPSHOT")
    config = driver.config.for_datastore(datastore)
    # An image can be registered with the SOURCE of another, whose data are not ours to change.
    if image.source != names.source(config.one_px, datastore.id, image.id):
        raise StateError(
            f"image {image_id} has SOURCE {image.source!r}, the volume of another; it has no snapshots"
        )
    volume = names.of_source(image.source)
    return _Task(image, datastore, config, driver.volumes(datastore), driver.snapshots(datastore), volume)


def _revert(task: _Task, verb: str) -> None:
    """Revert the image's volume. It is marked first: a run after a crash keeps no second copy of it."""
    plan = task.snapshots.plan_revert(task.volume, task.target)
    mark = _mark(task, verb, plan.before.tags)
    task.volumes.release([task.volume], force=False)
    if plan.before.tags.get(tags.TYPE) != mark:
        task.volumes.tag(task.volume, {**tags.ours(task.config), tags.TYPE: mark})
    before = plan.before._replace(tags={**plan.before.tags, tags.TYPE: mark})
    task.volumes.set_aside(before, f"{before.global_id}-{mark}")
    with uninterrupted():
        task.snapshots.carry_out(plan._replace(before=before), keep_size=True)
        qc = qos.of_image(task.config, task.image, task.datastore)
        task.volumes.tag(task.volume, {**tags.image(task.config, qc), tags.TYPE: mark})


def _mark(task: _Task, verb: str, there: dict[str, str]) -> str:
    """What the volume is marked with: as an unfinished or repeated run has left it, else a new word.

    It stands in the tag `type`, which says what a VM's volume is: whoever gives the image to a VM overwrites
    it, the bash addon too. So a mark says that nobody has written to the volume since.
    """
    prefix, found = f"{verb}-{task.image.target_snapshot}-", there.get(tags.TYPE, "")
    return found if re.fullmatch(rf"{re.escape(prefix)}[0-9]+", found) else f"{prefix}{int(time.time())}"


def _is_marked(task: _Task, verb: str) -> bool:
    there = task.volumes.owned(task.volume).tags.get(tags.TYPE, "")
    return there.startswith(f"{verb}-{task.image.target_snapshot}-")
