"""What is to be restored: one piece of work for each disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon import names
from storpool_addon.config import Config
from storpool_addon.drafts import Draft
from storpool_addon.errors import StateError
from storpool_addon.hosts.vmdir import device
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.vm import TM_MAD, Disk, Vm
from storpool_addon.restoring.listing import Backup
from storpool_addon.snapshots import Snapshots
from storpool_addon.tm import disks, sharing
from storpool_addon.tm.disks import Subject

if TYPE_CHECKING:
    from storpool_addon.driver import Driver


class Work(NamedTuple):
    """A disk that gets the content of a backup.

    path: of its link on the VM's host. draft: the new volume that the content is put together in, at the
    host. whole: the snapshot of it once it is complete, which no other backup has the name of.
    unsettled: `whole`, once only a repetition of the restore can put the disk right.
    """

    disk: Subject
    url: str
    path: str
    client: int
    draft: Draft
    whole: str
    snapshots: Snapshots
    unsettled: set[str]

    @property
    def what(self) -> str:
        """For the log and for errors."""
        return f"restoring disk {self.disk.disk.disk_id} of VM {self.disk.vm.id}"

    @property
    def config(self) -> Config:
        """What holds for the disk."""
        return self.disk.config

    @property
    def target(self) -> str:
        """The device of the new volume."""
        return device(self.disk.volumes.api.reference(self.draft.name))

    @property
    def link(self) -> tuple[str, str]:
        """Of the VM's directory, for `vmdir.link`."""
        return self.path, self.disk.reference


def plan(driver: Driver, vm: Vm, home: Location, backup: Backup, disk_id: int) -> list[Work]:
    """The work, in the order of the disks; StateError when any of it is not ours to do.

    disk_id: -1 for all disks that are in the backup.
    """
    wanted = sorted(backup.disks) if disk_id < 0 else [disk_id]
    if not wanted or not backup.disks.keys() >= set(wanted):
        there = ", ".join(map(str, sorted(backup.disks))) or "none"
        which = "disks" if disk_id < 0 else f"disk {disk_id}"
        raise StateError(f"backup {backup.image_id} does not hold {which} of VM {vm.id}; in it are: {there}")
    chosen = [vm.disk(each) for each in wanted]
    _check(vm, chosen)
    ours = {each.disk.disk_id: each for each in disks.on_storpool(driver, vm)}
    return [_work(driver, ours[each], home, backup.disks[each]) for each in wanted]


def _check(vm: Vm, chosen: Iterable[Disk]) -> None:
    for disk in chosen:
        which = f"disk {disk.disk_id} of VM {vm.id}"
        mad = vm.tm_mad_of(disk)
        if mad != TM_MAD:
            raise StateError(
                f"{which} is kept by transfer manager {mad}, which has to restore it;"
                " restore the other disks one by one"
            )
        if disk.is_cdrom or sharing.is_shared(disk):
            raise StateError(f"{which} is a CDROM or an image of many VMs; restore the backup as a new image")


def _work(driver: Driver, disk: Subject, home: Location, url: str) -> Work:
    client = driver.client_id(home.host, disk.vm, disk.datastore)
    draft = Draft(disk.volumes, names.restored(disk.volume, ""), home.host, client)
    # The URL names all increments of the chain: the same name is the same content.
    word = hashlib.sha256(url.encode()).hexdigest()[:16]
    return Work(
        disk=disk,
        url=url,
        path=f"{home.path}/disk.{disk.disk.disk_id}",
        client=client,
        draft=draft,
        whole=names.restored(disk.volume, f"-{word}"),
        snapshots=driver.snapshots(disk.datastore),
        unsettled=set(),
    )
