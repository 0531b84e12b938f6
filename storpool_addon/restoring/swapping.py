"""The disks get what was put together for them: all, or none, and never a moment without a volume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon import names, tags
from storpool_addon.errors import AddonError, StateError, StorPoolRefused
from storpool_addon.hosts import qemu, vmdir
from storpool_addon.hosts.vmdir import device
from storpool_addon.restoring.work import Work
from storpool_addon.snapshots import Revert
from storpool_addon.tm import disks
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

    kept: the snapshot of what the disk held: the same when an interrupted restore is repeated, another in
    each other restore, and after the VM has run again. begun: its volume, once that may hold something else;
    what is kept, when an earlier run kept it.
    """

    work: Work
    revert: Revert
    kept: str
    begun: set[str]


def swap(driver: Driver, undo: Undo, works: Sequence[Work], host: str) -> list[Swap]:
    """Replace the content of all disks; detached meanwhile, so that no half of it can be started."""
    swaps = [_planned(work) for work in works]
    shell = driver.hosts.on(host)
    undo.add("give the disks what they held before, attach and link them", _back, shell, swaps)
    _take_off(works)
    for each in swaps:
        _set_aside(each)
    for each in swaps:
        _replace(driver, undo, each, shell)
    _put_on(works, shell)
    return swaps


def forget(swaps: Iterable[Swap]) -> None:
    """Let go of what only the way was for."""
    for work, _, kept, _ in swaps:
        if not work.config.delay_delete_s:
            work.snapshots.delete(kept)
        work.snapshots.delete(work.whole)


def _planned(work: Work) -> Swap:
    revert = work.snapshots.plan_revert(work.disk.volume, work.whole)
    last = work.disk.vm.last
    # The snapshot stays from an interrupted run to the next, and goes at the end of a complete one.
    attempt = f"{last.seq}.{last.retime}-{revert.source.global_id}"
    return Swap(work, revert, names.deleted(work.disk.volume, attempt), set())


def _take_off(works: Sequence[Work]) -> None:
    """Detach the disks; a device that somebody has open stays where it is, and nothing has changed."""
    for group in disks.by_cluster(work.disk for work in works):
        with uninterrupted():
            group[0].volumes.release([disk.volume for disk in group], force=False)


def _put_on(works: Sequence[Work], shell: Shell) -> None:
    clients = {work.disk.volume: work.client for work in works}
    for group in disks.by_cluster(work.disk for work in works):
        with uninterrupted():
            group[0].volumes.place([disk.placement(clients[disk.volume]) for disk in group])
    vmdir.link(shell, [work.link for work in works])


def _set_aside(each: Swap) -> None:
    """Keep what the disk holds, for DELAY_DELETE and for the way back."""
    work, before = each.work, each.revert.before
    if work.snapshots.find(each.kept) is not None:
        # An interrupted run has kept it, and may have replaced it already.
        each.begun.add(each.kept)
        return
    kept_s = work.config.delay_delete_s or SAFE_S
    own = tags.deleted(work.config, before.name, before.tags)
    with uninterrupted():
        work.snapshots.take(work.disk.volume, each.kept, own, delete_after_s=kept_s)


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
    source = device(volumes.api.reference(work.whole, snapshot=True))
    qemu.copy_device(driver.processes, shell, source, device(work.disk.reference), work.what, driver.log)
    with uninterrupted():
        work.snapshots.detach([work.whole])
        volumes.release([work.disk.volume])


def _back(shell: Shell, swaps: Sequence[Swap]) -> None:
    """All disks as they were; when one cannot be, none is at the host: no guest starts from a mixture."""
    works, failures = [each.work for each in swaps], []
    for each in swaps:
        try:
            _go_back(each)
        except AddonError as failure:
            failures.append(f"{each.work.disk.volume}: {failure}")
    if failures:
        for work in works:
            work.unsettled.add(work.whole)
        vmdir.unlink(shell, [work.path for work in works])
        raise StateError(f"{'; '.join(failures)}; all disks stay detached; repeat the restore")
    _put_on(works, shell)
    # What was kept goes only now: until then there may be no other copy of it.
    for each in swaps:
        if each.kept not in each.begun:
            each.work.snapshots.delete(each.kept)


def _go_back(each: Swap) -> None:
    work, volume = each.work, each.work.disk.volume
    if each.begun:
        work.disk.volumes.release([volume])
        work.snapshots.revert(volume, each.kept, keep_size=False)


def _own_again(each: Swap) -> None:
    """The tags, when an interrupted run has let them get lost: what was kept has them."""
    work = each.work
    kept = work.snapshots.owned(each.kept)
    own = {key: word for key, word in kept.tags.items() if key != work.config.deleted_tag}
    work.disk.volumes.tag(work.disk.volume, own)
