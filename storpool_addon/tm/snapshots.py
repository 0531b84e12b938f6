"""Snapshots of a VM's disk: snap_create, snap_create_live, snap_delete, snap_revert."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon import names, tags
from storpool_addon.errors import StateError, StorPoolUnreachable
from storpool_addon.hosts import freeze, vmdir
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.protocol import number, protocol
from storpool_addon.opennebula.snapshots import forgotten_by_revert
from storpool_addon.tm import disks, sharing
from storpool_addon.tm.disks import Subject
from storpool_addon.undo import Undo, uninterrupted

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

_LIMIT = "DISKSNAPSHOT_LIMIT"
_declared = protocol(target=Location.parse, snapshot_id=number, vm_id=number, datastore_id=number)


@_declared
def snap_create(driver: Driver, target: Location, snapshot_id: int, vm_id: int, datastore_id: int) -> None:
    """A snapshot of a disk whose VM does not run."""
    disk = _may_be_taken(driver, disks.subject(driver, target, vm_id, datastore_id))
    with Undo(driver.log) as undo:
        _take(driver, undo, disk, snapshot_id)


@_declared
def snap_create_live(
    driver: Driver, target: Location, snapshot_id: int, vm_id: int, datastore_id: int
) -> None:
    """A snapshot of a running VM's disk, its file systems frozen for that moment if the site wants it."""
    disk = _may_be_taken(driver, disks.subject(driver, target, vm_id, datastore_id))
    mode = freeze.AGENT if disk.config.disk_snapshot_fsfreeze else ""
    shell = driver.hosts.on(target.host)
    held = freeze.frozen(driver.processes, shell, disk.vm.deploy_id, mode, required=False, log=driver.log)
    with Undo(driver.log) as undo, held:
        _take(driver, undo, disk, snapshot_id)


@_declared
def snap_delete(driver: Driver, target: Location, snapshot_id: int, vm_id: int, datastore_id: int) -> None:
    """Delete one snapshot of a disk, whether its VM runs or not; done already when it is not there."""
    disk = disks.subject(driver, target, vm_id, datastore_id)
    driver.snapshots(disk.datastore).delete(names.disk_snapshot(disk.volume, snapshot_id))


@_declared
def snap_revert(driver: Driver, target: Location, snapshot_id: int, vm_id: int, datastore_id: int) -> None:
    """Give a disk the data of a snapshot; what it held is kept aside for DELAY_DELETE.

    The disk keeps the size that OpenNebula knows, which the API offers no way to make smaller.
    """
    disk = disks.subject(driver, target, vm_id, datastore_id)
    if sharing.is_shared(disk.disk):
        text = f"disk {target.disk_id} of VM {vm_id} is an image of many VMs; detach it and revert the image"
        raise StateError(text)
    client = driver.client_id(target.host, disk.vm, disk.datastore)
    snapshots = driver.snapshots(disk.datastore)
    shell = driver.hosts.on(target.host)
    with driver.exclusive(disk.volume), Undo(driver.log) as undo:
        plan = snapshots.plan_revert(disk.volume, names.disk_snapshot(disk.volume, snapshot_id))
        # All that may be refused is asked for while the disk is what it was.
        link = (target.path, disk.reference)
        own = {} if plan.before.tags else disks.tags_of(driver, disk)
        _take_off(undo, disk, client)
        # oned opens a new history record for each revert: the next one keeps what it discards as well.
        disk.volumes.set_aside(plan.before, f"{plan.before.global_id}-{vm_id}.{disk.vm.last.seq}")
        with uninterrupted():
            snapshots.carry_out(plan, keep_size=True)
            if own:
                # An interrupted run has let them get lost.
                disk.volumes.tag(disk.volume, own)
            disk.volumes.place([disk.placement(client)])
        vmdir.link(shell, [link])
    for each in forgotten_by_revert(disk.vm.snapshots_of(disk.disk.disk_id), snapshot_id):
        snapshots.delete(names.disk_snapshot(disk.volume, each.id))


def _may_be_taken(driver: Driver, disk: Subject) -> Subject:
    """The disk, unless OpenNebula knows no snapshots of its kind, or it has as many as it may have."""
    which = f"disk {disk.disk.disk_id} of VM {disk.vm.id}"
    if disk.disk.is_volatile or disk.disk.is_cdrom or disk.disk.readonly:
        raise StateError(f"{which} is volatile, a CDROM or read-only; such disks have no snapshots")
    system = driver.one.datastore(disk.vm.last.ds_id)
    config = driver.config.for_datastore(system).for_datastore(disk.datastore).for_vm(disk.vm)
    limit, given = config.disksnapshot_limit, config.given(_LIMIT)
    # oned has entered the new one already.
    if limit is not None and given is not None and len(disk.vm.snapshots_of(disk.disk.disk_id)) > limit:
        most = f"at most {limit} snapshots" if limit else "no snapshots"
        raise StateError(
            f"{which} may have {most} ({_LIMIT} of {given.where}); delete one, or raise the limit"
        )
    return disk


def _take(driver: Driver, undo: Undo, disk: Subject, snapshot_id: int) -> None:
    name = names.disk_snapshot(disk.volume, snapshot_id)
    snapshots = driver.snapshots(disk.datastore)
    wanted = tags.disk_snapshot(disk.config, disk.vm.id, _date(disk, snapshot_id))
    disk.volumes.owned(disk.volume)
    with uninterrupted():
        if snapshots.take(disk.volume, name, wanted):
            undo.add(f"delete snapshot {name}", snapshots.delete, name)


def _date(disk: Subject, snapshot_id: int) -> int:
    """When it was asked for: oned enters a snapshot before the script runs (DispatchManagerActions.cc).

    It tells this request from one that OpenNebula has forgotten, whose snapshot may have stayed.
    """
    for each in disk.vm.snapshots_of(disk.disk.disk_id):
        if each.id == snapshot_id and each.date > 0:
            return each.date
    raise StateError(
        f"OpenNebula knows no snapshot {snapshot_id} of disk {disk.disk.disk_id} of VM {disk.vm.id};"
        " take it with onevm disk-snapshot-create"
    )


def _take_off(undo: Undo, disk: Subject, client: int) -> None:
    """Detach the disk; a device that is open, by a guest perhaps, is left where it is."""
    again = (f"attach volume {disk.volume} to client {client}", disk.volumes.place, [disk.placement(client)])
    with uninterrupted():
        try:
            disk.volumes.release([disk.volume], force=False)
        except StorPoolUnreachable:
            undo.add(*again)
            raise
        undo.add(*again)
