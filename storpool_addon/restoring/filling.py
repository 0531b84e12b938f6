"""The content of a backup in new volumes, each whole before any disk is touched."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Callable, NamedTuple

from storpool_addon import names, tags
from storpool_addon.datastore import formats, sparse
from storpool_addon.datastore.opening import Wanted, open_image
from storpool_addon.datastore.staging import staged
from storpool_addon.datastore.writing import Progress, Target, open_target
from storpool_addon.errors import StateError
from storpool_addon.hosts import qemu
from storpool_addon.restoring.parallel import each_at_once
from storpool_addon.restoring.work import Work
from storpool_addon.undo import uninterrupted
from storpool_addon.units import bytes_to_mib_up, mib_to_bytes

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.hosts.shell import Shell
    from storpool_addon.undo import Undo

# What a killed run has put together is there for its repetition, and then gone by itself.
KEPT_S = 24 * 3600
_QCOW2 = "qcow2"
# The state of swtpm is some ten kB.
MAX_TPM = 16 << 20


class _Staged(NamedTuple):
    """A disk's content as a file on the host."""

    work: Work
    shell: Shell
    image: qemu.Image


def fill(driver: Driver, undo: Undo, works: Sequence[Work], host: str) -> None:
    """Let there be a complete snapshot of what each disk is to hold."""
    missing = [work for work in works if not _is_whole(driver, work)]
    shell = driver.hosts.on(host)
    with ExitStack() as stack:
        files = [
            _Staged(
                work,
                shell,
                qemu.Image(
                    _QCOW2, stack.enter_context(staged(shell, work.config.staging_dir, work.draft.name))
                ),
            )
            for work in missing
        ]
        each_at_once(driver.processes, [_call(_download, driver, each) for each in files])
        for each in files:
            _make_volume(driver, undo, each)
        each_at_once(driver.processes, [_conversion(driver, each) for each in files])
    for work in missing:
        _complete(undo, work)


def tpm_state(driver: Driver, works: Sequence[Work], url: str) -> bytes:
    """The archive of the virtual TPM's state, b"" when the backup has none."""
    found = b""
    wanted = Wanted(path=url, config=works[0].config, decompress=False)
    with ExitStack() as stack:
        for block in open_image(driver, wanted, stack).stream.blocks if url else ():
            found += block
            if len(found) > MAX_TPM:
                raise StateError(f"{url} is too large for the state of a virtual TPM")
    return found


def _call(step: Callable[[Driver, _Staged], None], driver: Driver, each: _Staged) -> Callable[[], None]:
    return lambda: step(driver, each)


def _is_whole(driver: Driver, work: Work) -> bool:
    """Whether an earlier run got as far; its unfinished volume is removed either way."""
    volumes, name = work.disk.volumes, work.draft.name
    if volumes.find(name) is not None:
        try:
            volumes.release([name], force=False)
        except StateError:
            raise StateError(f"{work.what}: volume {name} is still being written; try again later") from None
        volumes.discard(name)
    if work.snapshots.find(work.whole) is None:
        return False
    driver.log(f"{work.what}: an earlier run left snapshot {work.whole} of it, which is taken")
    return True


def _download(driver: Driver, each: _Staged) -> None:
    """The file of the backup, as it is, on the host: a qcow2 image has to be sought in."""
    work = each.work
    wanted = Wanted(path=work.url, config=work.config, decompress=False)
    with ExitStack() as stack:
        opened = open_image(driver, wanted, stack)
        if formats.detect(opened.stream.head) != _QCOW2:
            # Every backup driver keeps qcow2; anything else is a message, or half of something.
            raise StateError(
                f"{work.what}: {opened.name} is not a qcow2 image; look at the backup's datastore"
            )
        formats.check_self_contained(opened.stream.head, _QCOW2)
        target = Target(each.shell, each.image.where, device=False)
        writer = stack.enter_context(open_target(target, driver.processes))
        progress = Progress(f"{work.what} (copying to {target.path})", 0, driver.log)
        writer.finish(sparse.copy(sparse.pieces(opened.stream.blocks, writer.hole), writer, progress))


def _make_volume(driver: Driver, undo: Undo, each: _Staged) -> None:
    """As large as the largest of: what was backed up, what OpenNebula knows, what is there."""
    work = each.work
    disk, config = work.disk, work.config
    inside = qemu.virtual_size(driver.processes, each.shell, each.image, work.what)
    there = disk.volumes.owned(disk.volume).size
    size = max(mib_to_bytes(bytes_to_mib_up(inside)), mib_to_bytes(disk.disk.size_mib), there)
    wanted = tags.group_snapshot(config, disk.vm.id)
    template = names.template(config.one_px, disk.datastore.id)
    work.draft.create(undo, size=size, template=template, tags=wanted)


def _conversion(driver: Driver, each: _Staged) -> Callable[[], None]:
    # Of a multicluster, StorPool is asked for the device, which a step must not do.
    target = each.work.target
    return lambda: qemu.convert(driver.processes, each.shell, each.image, target, each.work.what, driver.log)


def _complete(undo: Undo, work: Work) -> None:
    """What is whole has a snapshot, and the volume that it was put together in goes."""
    volumes, wanted = work.disk.volumes, tags.group_snapshot(work.config, work.disk.vm.id)
    volumes.release([work.draft.name])
    undo.add(f"delete snapshot {work.whole}", _drop, work)
    with uninterrupted():
        work.snapshots.take(work.draft.name, work.whole, wanted, delete_after_s=KEPT_S)
    volumes.discard(work.draft.name)


def _drop(work: Work) -> None:
    if not work.unsettled:
        work.snapshots.delete(work.whole)
