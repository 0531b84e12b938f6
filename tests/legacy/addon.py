"""The bash addon as oned sees it: plays its scripts, so that a VM can live half of its life with it."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Callable

from storpool_addon.lab.command import Command, Result, Steps, T
from storpool_addon.lab.hosts import Host
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, is_volatile
from tests.legacy.storpool import OWNED, RELEASED, BashStorPool

# LCM state: (whom a disk is taken from, whether the target gets it, whether it is linked there anew).
MOVES = {
    8: ("source", True, False), 9: ("", True, True), 10: ("source", False, False),
    30: ("all", False, False), 31: ("", True, True), 43: ("source", True, True), 60: ("all", True, True),
}  # fmt: skip


class BashAddon:
    """Runs a command as its script of that name does."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.storpool = BashStorPool(lab)

    def do(self, steps: Steps[T]) -> T:
        """All scripts of a verb."""
        try:
            command = next(steps)
            while True:
                command = steps.send(self.run(command))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def run(self, command: Command) -> Result:
        part = "ds" if command.script.startswith("datastore/") else "tm"
        script: Callable[..., str | None] = getattr(self, f"{part}_{command.name}")
        return Result(0, script(*command.args) or "", "", [], 0.0)

    # Datastore

    def ds_mkfs(self, image_id: str) -> str:
        image = self.lab.oned.images[int(image_id)]
        name, template = f"one-img-{image_id}", f"one-ds-{image.datastore.id}"
        self.storpool.create(name, size=image.size_mib << 20, template=template)
        self.storpool.tag(name, **OWNED, qc="")
        return f"{template}/{name}\n"

    def ds_rm(self, image_id: str) -> None:
        self.storpool.delete(f"one-img-{image_id}")
        self.storpool.delete_snapshots(f"one-img-{image_id}-ONESNAP-")

    # Giving disks

    def tm_clone(self, source: str, target: str, vm_id: str, _datastore: str) -> None:
        vm, disk_id, host, path = self._of(target, vm_id)
        disk, name = vm.disks[disk_id], self.volume(vm, disk_id)
        self.storpool.create(name, baseOn=source.rpartition("/")[2])
        if int(disk["SIZE"]) > int(disk["ORIGINAL_SIZE"]):
            self.storpool.update(name, size=int(disk["SIZE"]) << 20)
        self._present(vm, disk_id, name, host, path, "NPERS")

    def tm_ln(self, source: str, target: str, vm_id: str, _datastore: str) -> None:
        vm, disk_id, host, path = self._of(target, vm_id)
        name, cdrom = self.volume(vm, disk_id), vm.disks[disk_id]["TYPE"] == "CDROM"
        if cdrom and not self.storpool.exists(name):
            self.storpool.create(name, baseOn=source.rpartition("/")[2])
        self.storpool.detach(name)
        self._present(vm, disk_id, name, host, path, "CDROM" if cdrom else "PERS")

    def tm_mkimage(self, _size: str, _format: str, target: str, vm_id: str, datastore: str) -> None:
        vm, disk_id, host, path = self._of(target, vm_id)
        name = self.volume(vm, disk_id)
        size = int(vm.disks[disk_id]["SIZE"]) << 20
        self.storpool.create(name, size=size, template=f"one-ds-{datastore}")
        self._present(vm, disk_id, name, host, path, "VOL")

    def tm_mkswap(self, size: str, target: str, vm_id: str, datastore: str) -> None:
        self.tm_mkimage(size, "swap", target, vm_id, datastore)

    def tm_context(self, *words: str) -> None:
        *_, target, vm_id, datastore = words
        vm, disk_id, host, path = self._of(target, vm_id)
        name = self.volume(vm, disk_id)
        if self.storpool.exists(name):
            self.storpool.update(name, size=372736, shrinkOk=True)
        else:
            self.storpool.create(name, size=372736, template=f"one-ds-{datastore}")
        self._present(vm, disk_id, name, host, path, "CNTXT")
        for each in self._all(vm):
            for other in set(self.lab.hosts.nodes) - {host}:
                self.storpool.detach(each, other)

    def _present(self, vm: Vm, disk_id: int, name: str, host: str, path: str, kind: str) -> None:
        """Attached, tagged, linked."""
        self.storpool.attach(name, host)
        qc = {"qc": ""}
        self.storpool.tag(name, **OWNED, nvm=str(vm.id), **qc, type=kind, diskid=str(disk_id))
        self._link(host, path, name)

    # Moving them

    def tm_mv(self, source: str, target: str, vm_id: str, _datastore: str) -> None:
        vm = self.lab.oned.vms[int(vm_id)]
        (here, old), (there, new) = source.split(":"), target.split(":")
        take, give, link = MOVES[vm.lcm_state]
        if new.rpartition("/")[2].startswith("disk."):
            disk_id = int(new.rpartition(".")[2])
            name = self.volume(vm, disk_id)
            self._shift(name, here, there, take, give)
            own = {} if is_volatile(vm.disks[disk_id]) else {**OWNED, "diskid": str(disk_id)}
            self.storpool.tag(name, **own, nvm=vm_id)
            if link:
                self._link(there, new, name)
            return
        if vm.context is not None and vm.lcm_state != 31:
            self._shift(self.volume(vm, int(vm.context["DISK_ID"])), here, there, take, give)
        if vm.lcm_state != 60 and (here, old) != (there, new):
            _copy(self._path(here, old), self._path(there, new))
            shutil.rmtree(self._path(here, old))

    def _shift(self, name: str, here: str, there: str, take: str, give: bool) -> None:
        if take:
            self.storpool.detach(name, "all" if take == "all" else here)
        if give:
            self.storpool.attach(name, there)

    def tm_premigrate(self, source: str, target: str, path: str, vm_id: str, *_: str) -> None:
        _copy(self._path(source, path), self._path(target, path))
        self.storpool.group(self._all(self.lab.oned.vms[int(vm_id)]), target, "rw")

    def tm_postmigrate(self, source: str, _target: str, path: str, vm_id: str, *_: str) -> None:
        self.storpool.group(self._all(self.lab.oned.vms[int(vm_id)]), source, "detach")
        shutil.rmtree(self._path(source, path))

    # Changing and taking them

    def tm_resize(self, target: str, size_mib: str, vm_id: str, _datastore: str) -> None:
        vm, disk_id, *_ = self._of(target, vm_id)
        self.storpool.update(self.volume(vm, disk_id), size=int(size_mib) << 20)

    def tm_snap_create(self, target: str, snapshot_id: str, vm_id: str, _datastore: str) -> None:
        name = self.volume(*self._of(target, vm_id)[:2])
        self.storpool.snapshot(name, f"{name}-snap{snapshot_id}")

    tm_snap_create_live = tm_snap_create

    def tm_snap_delete(self, target: str, snapshot_id: str, vm_id: str, _datastore: str) -> None:
        name = self.volume(*self._of(target, vm_id)[:2])
        self.lab.storpool(f"SnapshotDelete/{name}-snap{snapshot_id}", {})

    def tm_snap_revert(self, target: str, snapshot_id: str, vm_id: str, _datastore: str) -> None:
        vm, disk_id, host, path = self._of(target, vm_id)
        name, kinds = self.volume(vm, disk_id), {"YES": "NPERS", "NO": "PERS"}
        self.storpool.detach(name)
        self.storpool.revert(name, f"{name}-snap{snapshot_id}")
        self._present(vm, disk_id, name, host, path, kinds[vm.disks[disk_id]["CLONE"]])

    def tm_mvds(self, source: str, target: str, vm_id: str, _datastore: str) -> None:
        vm, disk_id, host, path = self._of(source, vm_id)
        name = self.volume(vm, disk_id)
        self.storpool.detach(name)
        self.storpool.tag(name, **RELEASED, qc="")
        self._unlink(host, path)

    def tm_delete(self, target: str, vm_id: str, _datastore: str) -> None:
        vm, disk_id, host, path = self._of(target, vm_id)
        if disk_id < 0:
            self._delete_home(vm, host, path)
            return
        disk, name = vm.disks[disk_id], self.volume(vm, disk_id)
        if is_volatile(disk) or disk["CLONE"] == "YES":
            self.storpool.delete(name)
        elif disk["TYPE"] == "CDROM":
            self.storpool.delete(name, delay=False)
        else:
            self.storpool.detach(name)
            self.storpool.tag(name, **RELEASED, qc="")
        self.storpool.delete_snapshots(f"{name}-ONESNAP-")
        self._unlink(host, path)

    def _delete_home(self, vm: Vm, host: str, path: str) -> None:
        if vm.context is not None:
            self.storpool.delete(self.volume(vm, int(vm.context["DISK_ID"])), delay=False)
        shutil.rmtree(self._path(host, path), ignore_errors=True)

    # Names, links and paths

    def volume(self, vm: Vm, disk_id: int) -> str:
        """The volume of a disk, or of the context image."""
        disk = vm.disks.get(disk_id)
        if disk is None:
            return f"one-sys-{vm.id}-{disk_id}-iso"
        if is_volatile(disk):
            return f"one-sys-{vm.id}-{disk_id}-{'swap' if disk['TYPE'] == 'swap' else 'raw'}"
        own = disk["CLONE"] == "YES" or disk["TYPE"] == "CDROM"
        return f"one-img-{disk['IMAGE_ID']}" + (f"-{vm.id}-{disk_id}" if own else "")

    def _all(self, vm: Vm) -> list[str]:
        ids = [*vm.disks, *([int(vm.context["DISK_ID"])] if vm.context else [])]
        return [self.volume(vm, each) for each in ids]

    def _of(self, target: str, vm_id: str) -> tuple[Vm, int, str, str]:
        """VM, disk (-1 for the directory), host and path."""
        host, path = target.split(":")
        last = path.rpartition("/")[2]
        disk_id = int(last[len("disk.") :]) if last.startswith("disk.") else -1
        return self.lab.oned.vms[int(vm_id)], disk_id, host, path

    def _host(self, name: str) -> Host:
        return self.lab.hosts.nodes.get(name, self.lab.hosts.frontend)

    def _path(self, host: str, path: str) -> str:
        return self._host(host).path(path)

    def _link(self, host: str, path: str, volume: str) -> None:
        """With the mark beside it that says whose it is."""
        place = self._path(host, path)
        self._host(host).write(f"{path}.monitor", "storpool\n")
        if os.path.lexists(place):
            os.unlink(place)
        os.symlink(f"/dev/storpool/{volume}", place)

    def _unlink(self, host: str, path: str) -> None:
        for place in (self._path(host, path), self._path(host, f"{path}.monitor")):
            if os.path.lexists(place):
                os.unlink(place)


def _copy(source: str, target: str) -> None:
    """Over what is there, as tar does it."""
    os.makedirs(target, exist_ok=True)
    subprocess.run(["cp", "-a", "--remove-destination", f"{source}/.", target], check=True)
