"""`onevm backup`, as the scripts that oned and its VM driver run for it (one_vmm_exec.rb), in their order."""

from __future__ import annotations

from collections.abc import Sequence

from storpool_addon.lab import machine
from storpool_addon.lab.backups import Backups
from storpool_addon.lab.command import Command, Result, StepFailed, Steps, tolerated
from storpool_addon.lab.machine import Vm
from storpool_addon.lab.objects import Datastore, Image
from storpool_addon.lab.oned import Oned

BACKUP, BACKUP_POWEROFF = 69, 70
# What oned keeps of a VM's backups when nothing was asked for yet (Backups.cc).
CONFIG = {
    "BACKUP_VOLATILE": "NO", "FS_FREEZE": "NONE", "INCREMENTAL_BACKUP_ID": "-1", "INCREMENT_MODE": "CBT",
    "LAST_INCREMENT_ID": "-1", "MODE": "FULL",
}  # fmt: skip


class VmBackups:
    """A full backup, or the next increment, of a VM that runs or is off."""

    def __init__(self, oned: Oned, backups: Backups) -> None:
        self._oned = oned
        self._backups = backups

    def configure(self, vm: Vm, **values: str) -> None:
        """`onevm backup` with options, or the VM's BACKUP_CONFIG. A change of MODE begins a new chain."""
        before = {**CONFIG, **vm.backup}
        after = {**before, **values}
        if after["MODE"] != before["MODE"]:
            after.update(INCREMENTAL_BACKUP_ID="-1", LAST_INCREMENT_ID="-1")
        vm.backup = {**after, **values}

    def backup(self, vm: Vm, datastore: Datastore, disk_ids: Sequence[int] = ()) -> Steps[Image]:
        """`onevm backup DATASTORE`: the image that now holds it."""
        before, live = vm.state, vm.state == machine.ACTIVE
        self.configure(vm, LAST_DATASTORE_ID=str(datastore.id))
        vm.state, vm.lcm_state = machine.ACTIVE, BACKUP if live else BACKUP_POWEROFF
        chosen = disk_ids or self._chosen(vm)
        try:
            yield self.pre(vm, chosen)
            answer = yield self._backups.command(datastore, vm, chosen)
        except StepFailed:
            yield from tolerated(self.post(vm, chosen))
            vm.rest(before)
            raise
        yield self.post(vm, chosen)
        image = self._record(vm, datastore, chosen, answer)
        self.succeeded(vm, image.id)
        vm.rest(before)
        return image

    def pre(self, vm: Vm, disk_ids: Sequence[int] = ()) -> Command:
        """`prebackup` or `prebackup_live`."""
        return self._command("PREBACKUP", vm, disk_ids)

    def post(self, vm: Vm, disk_ids: Sequence[int] = ()) -> Command:
        """`postbackup` or `postbackup_live`."""
        return self._command("POSTBACKUP", vm, disk_ids)

    def succeeded(self, vm: Vm, image_id: int) -> None:
        """What oned notes then."""
        if vm.backup["MODE"] == "INCREMENT":
            number = int(str(vm.backup["LAST_INCREMENT_ID"])) + 1
            vm.backup["LAST_INCREMENT_ID"] = str(number)
            vm.backup["INCREMENTAL_BACKUP_ID"] = str(image_id)
        if image_id not in vm.backup_ids:
            vm.backup_ids.append(image_id)

    def _record(self, vm: Vm, datastore: Datastore, disk_ids: Sequence[int], answer: Result) -> Image:
        backup_id, size_mib = answer.stdout.split()[:2]
        chain = int(str(vm.backup["INCREMENTAL_BACKUP_ID"]))
        return self._backups.record(
            datastore,
            vm,
            backup_id,
            disk_ids,
            size_mib=int(size_mib),
            increment_of=self._oned.images.get(chain),
            incremental=vm.backup["MODE"] == "INCREMENT",
        )

    def _command(self, verb: str, vm: Vm, disk_ids: Sequence[int]) -> Command:
        live = "_LIVE" if vm.lcm_state == BACKUP else ""
        system, disks = vm.here.system, disk_ids or self._chosen(vm)
        words = (f"{vm.here.host}:{vm.home}", ":".join(map(str, disks)), vm.deploy_id, "-", vm.id, system.id)
        document = vm.document(self._oned.version, whole_history=False)
        return self._oned.transfer(verb + live, system.tm_mad, *words, stdin=document, plain=True)

    def _chosen(self, vm: Vm) -> list[int]:
        """As VirtualMachineDisks::backup_disk_ids has it."""
        volatile = vm.backup["BACKUP_VOLATILE"] == "YES"
        left_out = ("swap", "cdrom") if volatile else ("swap", "cdrom", "fs")
        return [disk_id for disk_id, disk in vm.disks.items() if disk["TYPE"].lower() not in left_out]
