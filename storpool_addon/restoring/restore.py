"""`restore`: the disks of a VM that is off become what a backup of it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from storpool_addon import names
from storpool_addon.errors import UsageError
from storpool_addon.hosts import vmdir, vtpm
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.protocol import number, protocol
from storpool_addon.opennebula.vm import Vm
from storpool_addon.restoring import filling, listing, swapping, work
from storpool_addon.restoring.work import Work
from storpool_addon.tm import disks
from storpool_addon.tm.disks import Subject
from storpool_addon.undo import Undo

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

ALL = -1


@protocol(home=Location.parse, vm_id=number, image_id=number, increment=number, disk_id=number)
def restore(driver: Driver, home: Location, vm_id: int, image_id: int, increment: int, disk_id: int) -> None:
    """All disks that a backup holds (disk_id -1), or one of them; increment -1 is the newest."""
    vmdir.check(home.path, vm_id)
    if increment < ALL or disk_id < ALL:
        raise UsageError(f"increment {increment} and disk {disk_id}: only -1 may be negative")
    vm = driver.one.vm(vm_id)
    backup = listing.read(driver, vm_id, image_id, increment)
    works = work.plan(driver, vm, home, backup, disk_id)
    with ExitStack() as stack:
        for each in sorted(works, key=lambda each: each.disk.volume):
            stack.enter_context(driver.exclusive(each.disk.volume))
        with Undo(driver.log) as undo:
            state = filling.tpm_state(driver, works, backup.tpm) if disk_id == ALL and vm.has_tpm else b""
            filling.fill(driver, undo, works, home.host)
            swaps = swapping.swap(driver, undo, works, home.host)
            if state:
                vtpm.put(driver.hosts.on(home.host), home.path, state)
        for each in works:
            for name in _former_snapshots(vm, each):
                each.snapshots.delete(name)
        _drop_others(driver, vm, works)
        swapping.forget(swaps)


def _former_snapshots(vm: Vm, each: Work) -> Iterator[str]:
    """Snapshots of what the disk held: oned forgets them, and begins a new chain of backups."""
    yield from names.backup_snapshots(each.disk.volume)
    yield from _snapshots_of(vm, each.disk, of_disk=True)


def _snapshots_of(vm: Vm, disk: Subject, *, of_disk: bool) -> Iterator[str]:
    for snapshot in vm.snapshots_of(disk.disk.disk_id) if of_disk else ():
        yield names.disk_snapshot(disk.volume, snapshot.id)
    for whole in vm.vm_snapshots:
        if whole.hypervisor_id:
            yield names.vm_snapshot(disk.volume, whole.hypervisor_id)


def _drop_others(driver: Driver, vm: Vm, works: Sequence[Work]) -> None:
    """Snapshots of the disks that stay as they are: oned forgets those of the whole VM all the same.

    A persistent image keeps its own: oned takes from a VM the snapshots of disks with a TM target alone, and
    that of an image which is used itself is NONE (src/vm/VirtualMachineDisks.cc).
    """
    done = {each.disk.volume for each in works}
    for disk in disks.on_storpool(driver, vm):
        if disk.volume in done:
            continue
        snapshots = driver.snapshots(disk.datastore)
        own = disk.disk.has_own_volume
        for name in _snapshots_of(vm, disk, of_disk=own):
            snapshots.delete(name)
