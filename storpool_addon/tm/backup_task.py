"""What a backup is about: the snapshots of its disks in each StorPool cluster, and where its files go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon import names, tags
from storpool_addon.errors import StateError, StorPoolRefused
from storpool_addon.hosts import vmdir
from storpool_addon.opennebula.backup import Backup
from storpool_addon.opennebula.location import Location, absolute
from storpool_addon.opennebula.vm import TM_MAD, Disk
from storpool_addon.tm import disks, sharing
from storpool_addon.volumes import is_absent

if TYPE_CHECKING:
    from storpool_addon.config import Config
    from storpool_addon.driver import Driver
    from storpool_addon.opennebula.datastore import Datastore
    from storpool_addon.snapshots import Snapshots
    from storpool_addon.tm.disks import Subject
    from storpool_addon.volumes import Volumes


class Asked(NamedTuple):
    """What oned gives to each script of a backup.

    home: the VM's directory. words: the VM's deploy id, which a VM that is off may not have, and the id of
    the backup job or `-`.
    """

    home: Location
    disk_ids: Sequence[int]
    words: Sequence[str]
    vm_id: int
    datastore_id: int
    vm: Backup


class Piece(NamedTuple):
    """A disk of the backup. snapshot: what is read. base: what it is compared with, "" for nothing.

    user: whose backup it is, of a volume that several VMs have.
    """

    disk_id: int
    volume: str
    user: str
    snapshot: str
    base: str = ""


class Share(NamedTuple):
    """What is kept in one StorPool cluster. datastore: one of those there."""

    volumes: Volumes
    snapshots: Snapshots
    config: Config
    datastore: Datastore
    pieces: Sequence[Piece]

    @property
    def attached(self) -> list[str]:
        """The snapshots that the host reads."""
        return [name for piece in self.pieces for name in (piece.snapshot, piece.base) if name]

    def take(self, backup: Backup) -> None:
        """Make the snapshots of all disks, at one moment and in one call: the guest may be waiting."""
        config, pairs = self.config, [(piece.volume, piece.snapshot) for piece in self.pieces]
        wanted = tags.backup(config, backup.vm.id, backup.chain, backup.number or 0)
        self.snapshots.take_group(pairs, wanted)

    def expire(self, backup: Backup) -> None:
        """Have StorPool delete the snapshots if nobody else does."""
        config = self.config
        life_s = config.backup_snapshot_life_s if backup.number is None else config.backup_base_life_s
        for piece in self.pieces:
            self.snapshots.expire(piece.snapshot, life_s)

    def delete(self) -> None:
        """Take the snapshots back."""
        for piece in self.pieces:
            self.snapshots.delete(piece.snapshot)

    def make_room(self, backup: Backup) -> None:
        """Away with what an earlier run left under our names; a new chain needs nothing of an older one.

        StateError for a volume that is not ours: nobody gets another instance's data in a backup.
        """
        for piece in self.pieces:
            self.volumes.owned(piece.volume)
            every = names.backup_snapshots(piece.volume, piece.user)
            for name in [piece.snapshot] if backup.number else every:
                self.snapshots.delete(name)

    def leave(self, backup: Backup) -> None:
        """The backup is over, well or not.

        Snapshots of an increment stay: the next one is compared with them, or replaces them.
        """
        if backup.number is None:
            self.delete()
            return
        slots = [(piece, slot) for piece in self.pieces for slot in (0, 1)]
        self.snapshots.detach([names.backup_snapshot(each.volume, slot, each.user) for each, slot in slots])
        self.prolong(piece.snapshot for piece in self.pieces)

    def prolong(self, snapshots: Iterable[str]) -> None:
        """Have StorPool delete these later: what is in use must not go, what nobody needs must not stay."""
        for name in snapshots:
            try:
                self.snapshots.expire(name, self.config.backup_base_life_s)
            except StorPoolRefused as error:
                if not is_absent(error):
                    raise

    def with_bases(self, backup: Backup) -> Share:
        """With the snapshots of the increment before this one, where they are there and are the ones."""
        number = backup.number
        if not number:
            return self
        wanted = tags.backup(self.config, backup.vm.id, backup.base_chain, number - 1)
        found = [piece._replace(base=self._base(piece, wanted, number)) for piece in self.pieces]
        for piece in found:
            if not piece.base:
                self.volumes.log(
                    f"volume {piece.volume}: no snapshot of the last increment; all of it is read"
                )
        self.prolong(piece.base for piece in found if piece.base)
        return self._replace(pieces=found)

    def _base(self, piece: Piece, wanted: dict[str, str], number: int) -> str:
        name = names.backup_snapshot(piece.volume, number - 1, piece.user)
        there = self.snapshots.find(name)
        if there is None or any(there.tags.get(key, "") != word for key, word in wanted.items()):
            return ""
        return name


class Task(NamedTuple):
    """A backup. home: the VM's directory. host, directory: where its files are written.

    parent: a directory that is there for the backup alone, "" for none.
    """

    backup: Backup
    home: Location
    host: str
    directory: str
    parent: str
    shares: Sequence[Share]


def task(driver: Driver, asked: Asked, *, beginning: bool) -> Task:
    """What oned asks for. beginning: every disk has to be one that can be backed up."""
    backup, home, vm_id = asked.vm, asked.home, asked.vm_id
    vmdir.check(home.path, vm_id)
    if backup.vm.id != vm_id:
        raise StateError(f"standard input is about VM {backup.vm.id}, the arguments are about VM {vm_id}")
    if beginning and backup.interactive:
        raise StateError(f"VM {vm_id}: this driver makes no interactive backups; set INTERACTIVE=NO")
    host, parent = backup.bridge or home.host, ""
    base = driver.config.backup_base_path
    if base:
        parent = f"{absolute(base)}/{vm_id}"
    elif host != home.host:
        parent = home.path
    wanted = _wanted(backup, asked.disk_ids) if beginning else _left(backup, asked.disk_ids)
    shares = _shares(driver, backup, wanted)
    return Task(backup, home, host, f"{parent or home.path}/backup", parent, shares)


def _wanted(backup: Backup, disk_ids: Iterable[int]) -> Iterator[Disk]:
    vm = backup.vm
    for disk in map(vm.disk, disk_ids):
        keeper = vm.tm_mad_of(disk)
        if keeper != TM_MAD:
            raise StateError(
                f"disk {disk.disk_id} of VM {vm.id} is kept by {keeper or 'nobody'}, whose disks this"
                " driver cannot back up; leave it out of the backup (DISK_IDS)"
            )
        yield disk


def _left(backup: Backup, disk_ids: Iterable[int]) -> Iterator[Disk]:
    """What of that is there, and ours: a backup that could not begin has to be cleaned up as well."""
    vm, ids = backup.vm, set(disk_ids)
    return (disk for disk in vm.disks if disk.disk_id in ids and vm.tm_mad_of(disk) == TM_MAD)


def _shares(driver: Driver, backup: Backup, wanted: Iterable[Disk]) -> list[Share]:
    vm, datastore = backup.vm, driver.one.datastore
    subjects = [disks.of_disk(driver, vm, disk, datastore(disks.datastore_id(vm, disk))) for disk in wanted]
    return [_share(driver, backup, group) for group in disks.by_cluster(subjects)]


def _share(driver: Driver, backup: Backup, group: Sequence[Subject]) -> Share:
    first = group[0]
    pieces = [_piece(backup, each) for each in group]
    snapshots = driver.snapshots(first.datastore)
    return Share(first.volumes, snapshots, first.config, first.datastore, pieces)


def _piece(backup: Backup, disk: Subject) -> Piece:
    user = sharing.user_of_backups(disk)
    snapshot = names.backup_snapshot(disk.volume, backup.number, user)
    return Piece(disk.disk.disk_id, disk.volume, user, snapshot)
