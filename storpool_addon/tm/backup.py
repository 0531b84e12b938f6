"""Backups: prebackup makes the files that OpenNebula's backup drivers collect, postbackup cleans up."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from storpool_addon.hosts import backupdir, freeze, vmdir
from storpool_addon.opennebula.backup import Backup
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.protocol import Many, number, protocol, text
from storpool_addon.opennebula.states import LcmState
from storpool_addon.tm import backup_task
from storpool_addon.tm.backup_task import Asked, Piece, Share, Task
from storpool_addon.undo import Undo, uninterrupted

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

# backup_cancel of OpenNebula's rsync and restic drivers looks for what it has to end with `ps -C ruby`.
_COMM = "ruby"
_DISK_IDS = re.compile(r"[0-9]{1,9}(:[0-9]{1,9})*", re.ASCII)
# A second run that meets the first one in the middle of it has nothing to wait for.
_LOCK_S = 5.0


def disk_list(word: str) -> tuple[int, ...]:
    """`0:1:3`, the disks of a backup."""
    if not _DISK_IDS.fullmatch(word):
        raise ValueError("is not a list of disks such as 0:1")
    return tuple(dict.fromkeys(map(int, word.split(":"))))


_declared = protocol(
    home=Location.parse,
    disk_ids=disk_list,
    words=Many(text),
    vm_id=number,
    datastore_id=number,
    stdin=("vm", Backup.parse),
    into=Asked,
)


@_declared
def prebackup(driver: Driver, asked: Asked) -> None:
    """The files of a backup of a VM that is off."""
    _prepare(driver, backup_task.task(driver, asked, beginning=True), "")


@_declared
def prebackup_live(driver: Driver, asked: Asked) -> None:
    """The files of a backup of a VM that runs; FS_FREEZE says how it is held for the snapshots."""
    _prepare(driver, backup_task.task(driver, asked, beginning=True), asked.vm.freeze)


@_declared
def postbackup(driver: Driver, asked: Asked) -> None:
    """Away with the files, whether the backup succeeded or not, and with snapshots of no more use."""
    task = backup_task.task(driver, asked, beginning=False)
    for share in task.shares:
        share.leave(asked.vm)
    with driver.dead_host_is_no_obstacle(f"{task.directory} stays there"):
        backupdir.remove(driver.hosts.on(task.host), task.directory, task.parent)


postbackup_live = postbackup


def _prepare(driver: Driver, task: Task, freeze_mode: str) -> None:
    """Snapshots of all disks at one moment, lent to the host for as long as it writes the files."""
    _answer_to_cancel()
    vm, shell = task.backup.vm, driver.hosts.on(task.host)
    clients = [driver.client_id(task.host, vm, share.datastore) for share in task.shares]
    home = driver.hosts.on(task.home.host)
    # What was asked for and cannot be had is an error.
    held = freeze.frozen(driver.processes, home, vm.deploy_id, freeze_mode, required=True, log=driver.log)
    with driver.exclusive(f"backup-of-vm-{vm.id}", timeout_s=_LOCK_S), Undo(driver.log) as undo:
        files = _files(driver, task)
        task = task._replace(shares=[share.with_bases(task.backup) for share in task.shares])
        for share in task.shares:
            share.make_room(task.backup)
            undo.add(f"delete the snapshots of VM {vm.id}", share.delete)
        with held, uninterrupted():
            for share in task.shares:
                share.take(task.backup)
        for share in task.shares:
            share.expire(task.backup)
        for share, client in zip(task.shares, clients):
            undo.add(f"detach the snapshots of VM {vm.id}", share.snapshots.detach, share.attached)
            with uninterrupted():
                share.snapshots.attach(share.attached, client)
        undo.add(f"remove {task.directory}", backupdir.remove, shell, task.directory, task.parent)
        _write(driver, task, files)
        for share in task.shares:
            share.snapshots.detach(share.attached)


def _answer_to_cancel() -> None:
    """Be found by those who want to end this."""
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as comm:
        comm.write(_COMM)


def _files(driver: Driver, task: Task) -> dict[str, bytes]:
    """What is not a disk, as OpenNebula's own drivers leave it for those who restore."""
    from base64 import encodebytes

    vm, home = task.backup.vm, task.home
    files = {"vm.xml": encodebytes(task.backup.document)}
    if vm.has_tpm:
        # It is on the VM's own host, whoever writes the files.
        shell, remotes = driver.hosts.on(home.host), driver.config.scripts_remote_dir
        runs = vm.deploy_id if vm.lcm_state == LcmState.BACKUP else ""
        files["disk.tpm.0"] = backupdir.tpm_state(shell, home.path, runs, remotes)
    return {name: content for name, content in files.items() if content}


def _write(driver: Driver, task: Task, files: dict[str, bytes]) -> None:
    wanted = [_disk(task.backup, share, piece) for share in task.shares for piece in share.pieces]
    place = backupdir.Place(driver.hosts.on(task.host), task.directory, *_restraint(driver, task.backup))
    what = f"preparing the backup of VM {task.backup.vm.id}"
    backupdir.fill(driver.processes, place, files, wanted, what, driver.log)


def _disk(backup: Backup, share: Share, piece: Piece) -> backupdir.Disk:
    def device(snapshot: str) -> str:
        return vmdir.device(share.volumes.api.reference(snapshot, snapshot=True))

    base = device(piece.base) if piece.base else ""
    kind = "increment" if backup.number else "full"
    target = f"disk.{piece.disk_id}.{backup.number or 0}"
    return backupdir.Disk(target, device(piece.snapshot), base, kind)


def _restraint(driver: Driver, backup: Backup) -> tuple[str, str]:
    """RSYNC_NICE and RSYNC_IONICE of the backup datastore, or what its driver is called."""
    if backup.datastore_id < 0:
        return "", ""
    datastore = driver.one.datastore(backup.datastore_id)
    nice, ionice = (datastore.attribute(f"{datastore.ds_mad.upper()}_{word}") for word in ("NICE", "IONICE"))
    return nice if nice.isdigit() else "", ionice if ionice.isdigit() else ""
