"""What the demo's chapters stand on: the cloud, what they look at, and how they run things."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from storpool_addon.lab.command import Command, Result, Steps, T
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.lab.material import Material
from storpool_addon.lab.objects import Datastore, Image
from storpool_addon.lab.report import Report


class Stage:
    """images: those whose volumes have to be there, besides what living VMs have."""

    def __init__(self, lab: Lab, report: Report, scratch: str, material: Material | None = None) -> None:
        self.lab = lab
        self.report = report
        self.material = material or Material(report)
        self.scratch = scratch
        self.images: list[Image] = []
        self._gone: dict[tuple[int, int], dict[str, str]] = {}

    # What chapters look at

    def world_of_vms(self) -> None:
        """Just the volumes of the images and of living VMs, each attached and linked where its VM is."""
        volumes, attached = [f"one-img-{image.id}" for image in self.images], []
        for vm in self.lab.oned.vms.values():
            if vm.state == 6:
                continue
            for disk_id in self.disk_ids(vm):
                name = self.volume(vm, disk_id)
                volumes.append(name)
                attached.append(f"{name} on {vm.here.host}")
                link = self.lab.hosts.nodes[vm.here.host].link(f"{vm.home}/disk.{disk_id}")
                self.report.expect(
                    link, f"/dev/storpool/{name}", f"disk.{disk_id} of VM {vm.id} on {vm.here.host}"
                )
        self.world(set(volumes), attached)

    def world(self, volumes: Iterable[str], attached: Iterable[str]) -> None:
        """Just these volumes, and these attachments ("VOLUME on HOST")."""
        names = [each["name"] for each in self.lab.storpool("VolumesList")]
        self.report.expect(sorted(names), sorted(volumes), "volumes in StorPool")
        clients = {client.id: client.name for client in self.lab.simulator.cluster.clients().values()}
        found = [
            f"{each['volume']} on {clients[each['client']]}" for each in self.lab.storpool("AttachmentsList")
        ]
        self.report.expect(sorted(found), sorted(attached), "attachments")

    def disk_ids(self, vm: Vm) -> list[int]:
        """Those of the VM's disks and of its context image."""
        context = [] if vm.context is None else [int(vm.context["DISK_ID"])]
        return [*vm.disks, *context]

    def volume(self, vm: Vm, disk_id: int) -> str:
        """The name that the volume of a disk must have."""
        disk = vm.disks.get(disk_id) or self._gone.get((vm.id, disk_id), {})
        if vm.context is not None and vm.context["DISK_ID"] == str(disk_id):
            return f"one-sys-{vm.id}-{disk_id}-iso"
        self._gone[vm.id, disk_id] = disk
        if "IMAGE_ID" not in disk:
            return f"one-sys-{vm.id}-{disk_id}-{'swap' if disk['TYPE'] == 'swap' else 'raw'}"
        image = f"one-img-{disk['IMAGE_ID']}"
        return image if disk.get("PERSISTENT") else f"{image}-{vm.id}-{disk_id}"

    def device(self, vm: Vm, disk_id: int) -> str:
        """The device of a disk on the VM's host."""
        return self.lab.hosts.nodes[vm.here.host].device(self.volume(vm, disk_id))

    def bytes_of(self, vm: Vm, disk_id: int, offset: int, length: int) -> bytes:
        """What is on a disk, read on the VM's host."""
        with open(self.device(vm, disk_id), "rb") as device:
            device.seek(offset)
            return device.read(length)

    def digest_on(self, host: str, vm: Vm, disk_id: int) -> str:
        """The sha256 that the host itself computes, through the link in the VM's directory."""
        done = self.lab.hosts.nodes[host].run(f"sha256sum < {vm.home}/disk.{disk_id}")
        return done.stdout.split()[0] if done.returncode == 0 else done.stderr.strip()

    @property
    def datastore(self) -> Datastore:
        """The datastore of the images."""
        return self.lab.oned.datastores[101]

    # Running things

    def create(self, *disks: Image | Volatile) -> Vm:
        """A VM that is not deployed yet."""
        return self.lab.vms.create(*disks, context=self.material.has_context)

    def do(self, steps: Steps[T]) -> T:
        """Run all scripts of a verb."""
        return self.lab.do(steps, self._count)

    def _count(self, command: Command, result: Result) -> None:
        self.report.scripts += 1

    def command(self, *words: str) -> str:
        """The administrator's command, on the front-end."""
        program = os.path.join(self.lab.tree, "usr/bin/storpool-addon")
        done = self.lab.hosts.frontend.run(" ".join([program, *words]))
        self.report.expect((done.returncode, done.stderr), (0, ""), f"storpool-addon {' '.join(words)}")
        return done.stdout


def length(device: str) -> int:
    """Bytes of a device."""
    with open(device, "rb") as file:
        return file.seek(0, os.SEEK_END)


def write(path: str, content: bytes) -> None:
    """Make a file."""
    with open(path, "wb") as file:
        file.write(content)


def sha256(path: str) -> str:
    """The digest of a file or device."""
    content = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            content.update(block)
    return content.hexdigest()
