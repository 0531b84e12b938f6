"""The disks get what was put together for them: all, or none, and never a moment without a volume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon import tags
from storpool_addon.errors import StorPoolRefused
from storpool_addon.hosts import qemu, vmdir
from storpool_addon.hosts.vmdir import device
from storpool_addon.restoring.work import Work
from storpool_addon.snapshots import Revert
from storpool_addon.undo import uninterrupted
from storpool_addon.volumes import Placement

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.hosts.shell import Shell
    from storpool_addon.undo import Undo

# Where delayed delete is off, what is replaced is kept as long as the action may have to go back to it.
SAFE_S = 24 * 3600
# What says nothing about the snapshot that a revert is asked for.
_OTHER_TROUBLE = ("busy", "objectDoesNotExist", "insufficientResources")


class Swap(NamedTuple):
    """A disk on its way.

    begun: its volume, once that may hold something else; what is kept, when an earlier run kept it.
    """

    work: Work
    revert: Revert
    begun: set[str]


def swap(driver: Driver, undo: Undo, works: Sequence[Work], host: str) -> None:
    """Replace the content of all disks; detached meanwhile, so that no half of it can be started."""
    swaps = [Swap(work, work.snapshots.plan_revert(work.disk.volume, work.whole), set()) for work in works]
    shell = driver.hosts.on(host)
    _take_off(undo, works, shell)
    for each in swaps:
        _set_aside(undo, each)
    for each in swaps:
        _replace(driver, undo, each, shell)
    for group in _by_cluster(works):
        with uninterrupted():
            group[0].disk.volumes.place([work.placement for work in group])
    vmdir.link(shell, [(work.path, work.disk.volume) for work in works])


def forget(works: Sequence[Work]) -> None:
    """Let go of what only the way was for."""
    for work in works:
        if not work.config.delay_delete_s:
            work.snapshots.delete(work.kept)
        work.snapshots.delete(work.whole)


def _take_off(undo: Undo, works: Sequence[Work], shell: Shell) -> None:
    """Detach the disks; a device that somebody has open stays where it is, and nothing has changed."""
    undo.add("link the disks", vmdir.link, shell, [(work.path, work.disk.volume) for work in works])
    for group in _by_cluster(works):
        volumes, placements = group[0].disk.volumes, [work.placement for work in group]
        undo.add(f"attach {_named(group)} again", volumes.place, placements)
        with uninterrupted():
            volumes.release([work.disk.volume for work in group], force=False)


def _set_aside(undo: Undo, each: Swap) -> None:
    """Keep what the disk holds, for DELAY_DELETE and for the way back."""
    work, before = each.work, each.revert.before
    undo.add(f"give volume {work.disk.volume} what it held before", _go_back, each)
    if work.snapshots.find(work.kept) is not None:
        # An interrupted run has kept it, and may have replaced it already.
        each.begun.add(work.kept)
        return
    kept_s = work.config.delay_delete_s or SAFE_S
    own = tags.deleted(work.config, before.name, before.tags)
    with uninterrupted():
        work.snapshots.take(work.disk.volume, work.kept, own, delete_after_s=kept_s)


def _replace(driver: Driver, undo: Undo, each: Swap, shell: Shell) -> None:
    volume = each.work.disk.volume
    each.begun.add(volume)
    try:
        with uninterrupted():
            each.work.snapshots.carry_out(each.revert, keep_size=True)
    except StorPoolRefused as error:
        # Not certain of StorPool: whether a volume can be reverted to a snapshot of another one.
        if error.name in _OTHER_TROUBLE:
            raise
        driver.log(f"volume {volume} cannot be reverted to {each.work.whole} ({error}); writing it instead")
        _write(driver, undo, each, shell)
    if not each.revert.before.tags:
        _own_again(each)


def _write(driver: Driver, undo: Undo, each: Swap, shell: Shell) -> None:
    """Write the whole snapshot into the volume, which keeps its name all the time.

    Its link goes first: while the volume is neither the old nor the new one, no guest can be started from it.
    """
    work, volumes = each.work, each.work.disk.volumes
    vmdir.unlink(shell, [work.path])
    undo.add(f"detach snapshot {work.whole}", work.snapshots.detach, [work.whole])
    undo.add(f"detach volume {work.disk.volume}", volumes.release, [work.disk.volume])
    with uninterrupted():
        volumes.grow(volumes.owned(work.disk.volume), each.revert.source.size)
        volumes.place([Placement(work.disk.volume, work.client)])
        work.snapshots.attach([work.whole], work.client)
    source, target = device(work.whole), device(work.disk.volume)
    qemu.copy_device(driver.processes, shell, source, target, work.what, driver.log)
    with uninterrupted():
        work.snapshots.detach([work.whole])
        volumes.release([work.disk.volume])


def _go_back(each: Swap) -> None:
    """What was kept goes only once the disk holds it again: until then there is no other copy of it."""
    work, volume = each.work, each.work.disk.volume
    if each.begun:
        work.disk.volumes.release([volume])
        work.snapshots.revert(volume, work.kept, keep_size=False)
    if work.kept not in each.begun:
        work.snapshots.delete(work.kept)


def _own_again(each: Swap) -> None:
    """The tags, when an interrupted run has let them get lost: what was kept has them."""
    work = each.work
    kept = work.snapshots.owned(work.kept)
    own = {key: word for key, word in kept.tags.items() if key != work.config.deleted_tag}
    work.disk.volumes.tag(work.disk.volume, own)


def _by_cluster(works: Iterable[Work]) -> list[list[Work]]:
    groups: dict[object, list[Work]] = {}
    for each in works:
        groups.setdefault(each.disk.volumes.api, []).append(each)
    return list(groups.values())


def _named(works: Iterable[Work]) -> str:
    return ", ".join(f"volume {each.disk.volume}" for each in works)
