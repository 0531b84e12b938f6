"""The demo's chapter about keeping data: snapshots, disks saved as images, backups and their return."""

from __future__ import annotations

import random
from typing import Callable

from storpool_addon.lab.machine import Vm
from storpool_addon.lab.material import MARK, SIZE
from storpool_addon.lab.objects import Datastore, Image
from storpool_addon.lab.plain import PlainHosts
from storpool_addon.lab.stage import Stage

MISTAKE = b"oh no" * 1000
DATA = random.Random(7).randbytes(4 << 20)
Step = tuple[str, Callable[[], None]]


class Keeping:
    """Happens to the first disk of one VM, which runs before and is off afterwards."""

    def __init__(self, stage: Stage, vm: Callable[[], Vm]) -> None:
        self.stage = stage
        self.lab = stage.lab
        self.report = stage.report
        self._vm = vm
        self._backups: Datastore
        self._backup: Image
        self._sizes_mib: list[int] = []
        self._digests: list[str] = []

    def steps(self) -> list[Step]:
        """What can be shown with the programs that are there."""
        steps: list[Step] = [
            ("snapshot VM 1's disk while it runs, overwrite it, go back", self._revert),
            ("save VM 1's disk as a new image", self._save_as),
        ]
        if self.stage.material.format != "qcow2":
            return steps
        if isinstance(self.lab.hosts, PlainHosts):
            self.report.say("    hosts without views of their own are not backed up")
            return steps
        return [
            *steps,
            ("back VM 1 up in full, then only what changed", self._back_up),
            ("overwrite VM 1's disk, restore it from the increment", self._restore),
        ]

    # Steps

    def _revert(self) -> None:
        vm, before = self._vm(), self._digest()
        snapshot_id = self.stage.do(self.lab.disk_snapshots.create(vm, 0))
        self._overwrite()
        self.report.expect(self._digest() == before, False, "the overwritten disk is as before")
        self.lab.vms.poweroff(vm)
        self.stage.do(self.lab.disk_snapshots.revert(vm, 0, snapshot_id))
        self.report.expect(self._digest(), before, "the disk after going back")
        self.stage.do(self.lab.disk_snapshots.delete(vm, 0, snapshot_id))
        self.report.expect(self._digest(), before, "the disk without its snapshot")
        self.stage.world_of_vms()

    def _save_as(self) -> None:
        image = self.stage.do(self.lab.saving.disk_saveas(self._vm(), 0))
        self.stage.images.append(image)
        name, size = f"one-img-{image.id}", image.size_mib << 20
        self.report.expect(self.lab.volume_digest(name, size), self._digest(), "the new image")
        self.stage.world_of_vms()

    def _back_up(self) -> None:
        self._backups = self.lab.backups.add_datastore()
        self.lab.vm_backups.configure(self._vm(), MODE="INCREMENT")
        self._write(SIZE, DATA)
        self._take_backup()
        self._write(2 * SIZE - len(MARK), MARK)
        self._take_backup()
        self.report.expect(self._sizes_mib[1] < self._sizes_mib[0], True, "the increment is the smaller one")
        self.report.say(f"    full {self._sizes_mib[0]} MiB, increment {self._sizes_mib[1]} MiB")
        self.stage.world_of_vms()

    def _restore(self) -> None:
        self._overwrite()
        self.stage.do(self.lab.backups.restore(self._vm(), self._backup))
        self.report.expect(self._digest(), self._digests[1], "the disk as it was at the increment")
        self.stage.do(self.lab.backups.restore(self._vm(), self._backup, 0))
        self.report.expect(self._digest(), self._digests[0], "the disk as it was at the full backup")
        self.stage.do(self.lab.backups.restore(self._vm(), self._backup))
        self.stage.world_of_vms()

    # Parts

    def _take_backup(self) -> None:
        vm = self._vm()
        self._backup = self.stage.do(self.lab.vm_backups.backup(vm, self._backups, [0]))
        self._sizes_mib.append(self._backup.increments[-1].size_mib)
        self._digests.append(self._digest())

    def _overwrite(self) -> None:
        self._write(0, MISTAKE)

    def _write(self, offset: int, content: bytes) -> None:
        with open(self.stage.device(self._vm(), 0), "r+b") as device:
            device.seek(offset)
            device.write(content)

    def _digest(self) -> str:
        vm = self._vm()
        return self.stage.digest_on(vm.here.host, vm, 0)
