"""Backups as oned knows them, and what people do with them, as the scripts that it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from storpool_addon.lab import backupserver, machine, objects
from storpool_addon.lab.command import Command, StepFailed, Steps, datastore_command
from storpool_addon.lab.hosts import Host
from storpool_addon.lab.images import Images
from storpool_addon.lab.machine import Vm
from storpool_addon.lab.objects import Datastore, Image, Increment, action_data, stat_request
from storpool_addon.lab.oned import Oned
from storpool_addon.lab.programs import CHECKOUT

RESTORE = 71
REMOTES = "/var/lib/one/remotes"
SCRIPTS = ("rsync/backup", "rsync/backup_cancel", "rsync/ls", "rsync/stat", "downloader.sh")
_STUB = "#!{} -IS\nimport sys\nsys.path.insert(0, {!r})\nfrom {} import main\nmain({!r})\n"


class Backups:
    """A backup datastore's scripts come with `add_datastore`; Lab.do runs the methods that are Steps."""

    def __init__(self, oned: Oned, frontend: Host, images: Images) -> None:
        self._oned = oned
        self._frontend = frontend
        self._images = images

    def add_datastore(self, datastore_id: int = 110, name: str = "backups", **attributes: str) -> Datastore:
        """A datastore of OpenNebula's rsync driver, which is played; its server is a directory."""
        own = {"DS_MAD": "rsync", "TM_MAD": "-", "RSYNC_HOST": "backup", "RSYNC_USER": "oneadmin"}
        made = Datastore(
            datastore_id, name, False, {**own, "TYPE": "BACKUP_DS", **attributes}, "rsync", "-", backup=True
        )
        self._oned.datastores[datastore_id] = made
        stub = _STUB.format(sys.executable, CHECKOUT, backupserver.__name__, self._store(made))
        self._frontend.write(f"{made.path}/.server", "")
        for script in SCRIPTS:
            self._frontend.write(f"{REMOTES}/datastore/{script}", stub, 0o755)
        return made

    # Backing up

    def command(self, datastore: Datastore, vm: Vm, disk_ids: Sequence[int], job: str = "-") -> Command:
        """The `backup` that follows the transfer manager's `prebackup`; it prints `id size_mb format`."""
        place, disks = f"{vm.here.host}:{vm.home}", ":".join(map(str, disk_ids))
        words = (place, disks, vm.deploy_id or "-", job, str(vm.id), str(vm.here.system.id))
        document = action_data(datastore, extra=vm.document(self._oned.version, whole_history=False))
        return Command(f"datastore/{datastore.ds_mad}/backup", words, document.encode())

    def cancel(self, datastore: Datastore, vm: Vm) -> Command:
        """`onevm backup-cancel`."""
        document = vm.document(self._oned.version, whole_history=False)
        words = (f"{vm.here.host}:{vm.home}", vm.deploy_id or "-")
        return Command(f"datastore/{datastore.ds_mad}/backup_cancel", words, document.encode())

    def record(
        self,
        datastore: Datastore,
        vm: Vm,
        backup_id: str,
        disk_ids: Sequence[int],
        *,
        size_mib: int = 1,
        increment_of: Image | None = None,
        incremental: bool = False,
    ) -> Image:
        """The BACKUP image that oned makes of a backup. incremental: the first of a chain.

        increment_of: the image that an increment extends.
        """
        if increment_of is not None:
            increment_of.increments.append(Increment(len(increment_of.increments), backup_id, size_mib))
            return increment_of
        image = self._images.allocate(datastore, "BACKUP", False, size_mib)
        image.source, image.format, image.state = backup_id, "raw", objects.READY
        image.vms, image.backed_up = {vm.id}, tuple(disk_ids)
        image.increments = [Increment(0, backup_id, size_mib)] if incremental else []
        return image

    def keep(self, datastore: Datastore, vm: Vm, backup_id: str, files: Mapping[str, bytes]) -> None:
        """Let the server have these files of a backup, as if `backup` had fetched them."""
        for name, content in files.items():
            self._frontend.write(f"{datastore.path}/{vm.id}/{backup_id}/{name}", content)

    # Getting back

    def restore(self, vm: Vm, image: Image, increment: int = -1, disk_id: int = -1) -> Steps[None]:
        """`onevm restore` of a VM that is off: into the disks that it has. -1: the newest, and all disks."""
        vm.state, vm.lcm_state = machine.ACTIVE, RESTORE
        system, place = vm.here.system, f"{vm.here.host}:{vm.home}"
        try:
            yield self._oned.transfer("RESTORE", system.tm_mad, place, vm.id, image.id, increment, disk_id)
        except StepFailed:
            vm.state, vm.lcm_state = machine.POWEROFF, 0
            raise
        vm.state, vm.lcm_state = machine.POWEROFF, 0

    def url(self, image: Image, disk_id: int, increment: int = -1) -> str:
        """The PATH of the image that `oneimage restore` makes of a disk."""
        parts = image.increments or [Increment(0, image.source, 0)]
        chain = [each for each in parts if increment in (-1, each.id) or each.id < increment]
        words = ",".join(f"{each.id}:{each.source}" for each in chain)
        last, vm_id = chain[-1], min(image.vms)
        path = f"{os.path.normpath(image.datastore.path)}/{vm_id}/{last.source}/disk.{disk_id}.{last.id}"
        return f"rsync://{image.datastore.id}//{words}{path}"

    def restore_image(
        self, backup: Image, disk_id: int, datastore: Datastore, increment: int = -1
    ) -> Steps[Image]:
        """The part of `oneimage restore` that makes one disk an image again: `stat` and `cp`."""
        path = self.url(backup, disk_id, increment)
        request = action_data(backup.datastore, stat_request(path, self._oned.version))
        answer = yield datastore_command(backup.datastore.ds_mad, "stat", 0, request)
        image = self._images.allocate(datastore, "OS", False, int(answer.stdout))
        image.path = path
        image.attributes["FROM_BACKUP_DS"] = str(backup.datastore.id)
        yield from self._images.fill(image)
        return image

    def _store(self, datastore: Datastore) -> str:
        return self._frontend.path(os.path.normpath(datastore.path))
