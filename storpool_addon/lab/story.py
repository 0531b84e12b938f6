"""The demo's story: two VMs from their image to their deletion, every byte and attachment looked at."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable

from storpool_addon.lab.command import Command, Result, Steps, T
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.lab.material import HELLO, MARK, SIZE, Material
from storpool_addon.lab.objects import Datastore, Image
from storpool_addon.lab.report import Report

GROWN_MIB = 64
SOURCE = "/var/tmp/demo.image"
# Where ISO 9660 has its volume descriptor, and Linux its swap signature (of a page of 4 KiB).
ISO_OFFSET, ISO_WORD = 32769, b"CD001"
SWAP_OFFSET, SWAP_WORD = 4086, b"SWAPSPACE2"


class Story:
    """The steps, in the order that `tell` tells them."""

    def __init__(self, lab: Lab, report: Report, scratch: str, material: Material | None = None) -> None:
        self.lab = lab
        self.report = report
        self.material = material or Material(report)
        self.scratch = scratch
        self.digest = ""
        self._gone: dict[tuple[int, int], dict[str, str]] = {}
        self.image: Image
        self.data: Image
        self.first: Vm
        self.second: Vm

    def tell(self) -> None:
        """All of it, up to the first step that fails: what follows would stand on nothing."""
        for line in self.material.lacking:
            self.report.say(f"    {line}")
        context = ", context" if self.material.has_context else ""
        with_fs = " with a file system" if self.material.fs else ""
        steps: list[tuple[str, Callable[[], None]]] = [
            (f"make a {self.material.format} image{with_fs} and a known file", self._make_source),
            ("import the image", self._import),
            (f"create a persistent image{with_fs}", self._create_data),
            (f"deploy VM 1 on node1: clone, volatile, swap{context}", self._deploy_first),
            (f"deploy VM 2 on node2: clone, persistent image{context}", self._deploy_second),
            ("VM 1 writes; the image and VM 2 must not see it", self._write),
            ("grow VM 1's disk while it runs", self._grow),
            ("hot-plug a disk into VM 2 and take it out again", self._plug),
            ("live-migrate VM 1 to node2", self._migrate),
            ("terminate VM 1", self._terminate_first),
            ("terminate VM 2", self._terminate_second),
            ("list what delayed delete kept", self._list_kept),
            ("undelete VM 1's disk: the data is there", self._undelete),
            ("measure the datastores", self._monitor),
        ]
        for title, step in steps:
            with self.report.step(title):
                step()
            if not self.report.is_well:
                return

    # Steps

    def _make_source(self) -> None:
        raw = self.material.make(self.scratch)
        self.material.convert(raw, self.lab.hosts.frontend.path(SOURCE))
        self.digest = _sha256(raw)
        self.report.expect(self.material.read(raw, "hello"), HELLO, "the file in the raw image")

    def _import(self) -> None:
        self.image = self._do(self.lab.images.create(self._datastore, path=SOURCE))
        name = f"one-img-{self.image.id}"
        self.report.expect(self.image.source, f"one-ds-101/{name}", "what cp answered")
        self.report.expect(self.lab.volume_digest(name, SIZE), self.digest, "sha256 of the volume")
        self._world([name], [])

    def _create_data(self) -> None:
        create = self.lab.images.create(
            self._datastore, size_mib=32, type="DATABLOCK", persistent=True, fs=self.material.fs
        )
        self.data = self._do(create)
        name = f"one-img-{self.data.id}"
        self.report.expect(self.lab.read_volume(name, 1082)[1080:], self._magic, "ext4 on the new image")
        self._world([f"one-img-{self.image.id}", name], [])

    def _deploy_first(self) -> None:
        self.first = self._create(self.image, Volatile(16, "fs", self.material.fs), Volatile(16, "swap"))
        self._do(self.lab.vms.deploy(self.first, "node1"))
        self.report.expect(
            self._digest_on("node1", self.first, 0), self.digest, "sha256 of disk.0, read on node1"
        )
        self.report.expect(self._bytes(self.first, 1, 1080, 2), self._magic, "ext4 on the volatile disk")
        self.report.expect(self._bytes(self.first, 2, SWAP_OFFSET, 10), SWAP_WORD, "swap signature")
        if self.material.has_context:
            self.report.expect(self._bytes(self.first, 3, ISO_OFFSET, 5), ISO_WORD, "context image")
        self._world_of_vms()

    def _deploy_second(self) -> None:
        self.second = self._create(self.image, self.data)
        self._do(self.lab.vms.deploy(self.second, "node2"))
        self.report.expect(
            self._digest_on("node2", self.second, 0), self.digest, "sha256 of disk.0, read on node2"
        )
        self._world_of_vms()

    def _write(self) -> None:
        mark, device = os.path.join(self.scratch, "mark"), self._device(self.first, 0)
        _write(mark, MARK)
        self.material.write(device, "mark", mark)
        self.report.expect(self.material.read(device, "mark"), MARK, "the new file on VM 1's disk")
        self.report.expect(self._digest_on("node2", self.second, 0), self.digest, "VM 2's disk")
        name = f"one-img-{self.image.id}"
        self.report.expect(self.lab.volume_digest(name, SIZE), self.digest, "the image")

    def _grow(self) -> None:
        self._do(self.lab.vms.resize_disk(self.first, 0, GROWN_MIB))
        self.report.expect(
            _length(self._device(self.first, 0)), GROWN_MIB << 20, "bytes of the device on node1"
        )
        mark = self.material.read(self._device(self.first, 0), "mark")
        self.report.expect(mark, MARK, "the file on the grown disk")
        self._world_of_vms()

    def _plug(self) -> None:
        disk_id = self._do(self.lab.vms.attach_disk(self.second, Volatile(16)))
        self.report.expect(_length(self._device(self.second, disk_id)), 16 << 20, "bytes of the new disk")
        self._world_of_vms()
        self._do(self.lab.vms.detach_disk(self.second, disk_id))
        self._world_of_vms()

    def _migrate(self) -> None:
        before = self._digest_on("node1", self.first, 0)
        self._do(self.lab.vms.live_migrate(self.first, "node2"))
        self.report.expect(self._digest_on("node2", self.first, 0), before, "sha256 of disk.0, read on node2")
        self._world_of_vms()

    def _terminate_first(self) -> None:
        home = self.first.home
        self._do(self.lab.vms.terminate(self.first))
        self.report.expect(
            self.lab.hosts.nodes["node2"].run(f"ls {home}").returncode, 2, "ls of VM 1's directory"
        )
        self._world_of_vms()

    def _terminate_second(self) -> None:
        self._do(self.lab.vms.terminate(self.second))
        self._world_of_vms()
        fields = self.lab.storpool(f"Volume/one-img-{self.data.id}")[0]["tags"]
        self.report.expect(fields.get("nvm", ""), "", "VM in the tags of the persistent image")

    def _list_kept(self) -> None:
        listed = self._command("deleted")
        for line in listed.splitlines():
            self.report.say(f"    {line}")
        for disk_id in range(3):
            name = self._volume(self.first, disk_id)
            self.report.expect(bool(re.search(rf"^{name} ", listed, re.MULTILINE)), True, f"{name} is listed")

    def _undelete(self) -> None:
        name = self._volume(self.first, 0)
        self.report.expect(self._command("undelete", name).strip(), name, "what undelete answered")
        copy = os.path.join(self.scratch, "undeleted")
        _write(copy, self.lab.read_volume(name))
        self.report.expect(self.material.read(copy, "mark"), MARK, "the file that VM 1 wrote")

    def _monitor(self) -> None:
        for datastore in self.lab.oned.datastores.values():
            self._do(self.lab.images.monitor(datastore))
            self.report.expect(datastore.total_mb > 0, True, f"datastore {datastore.id} has a capacity")

    # What the steps look at

    def _world_of_vms(self) -> None:
        """Just the volumes of the images and of living VMs, each attached and linked where its VM is."""
        volumes, attached = [f"one-img-{self.image.id}", f"one-img-{self.data.id}"], []
        for vm in self.lab.oned.vms.values():
            if vm.state == 6:
                continue
            for disk_id in self._disk_ids(vm):
                name = self._volume(vm, disk_id)
                volumes.append(name)
                attached.append(f"{name} on {vm.here.host}")
                link = self.lab.hosts.nodes[vm.here.host].link(f"{vm.home}/disk.{disk_id}")
                self.report.expect(
                    link, f"/dev/storpool/{name}", f"disk.{disk_id} of VM {vm.id} on {vm.here.host}"
                )
        self._world(set(volumes), attached)

    def _world(self, volumes: Iterable[str], attached: Iterable[str]) -> None:
        names = [each["name"] for each in self.lab.storpool("VolumesList")]
        self.report.expect(sorted(names), sorted(volumes), "volumes in StorPool")
        clients = {client.id: client.name for client in self.lab.simulator.cluster.clients().values()}
        found = [
            f"{each['volume']} on {clients[each['client']]}" for each in self.lab.storpool("AttachmentsList")
        ]
        self.report.expect(sorted(found), sorted(attached), "attachments")

    def _disk_ids(self, vm: Vm) -> list[int]:
        context = [] if vm.context is None else [int(vm.context["DISK_ID"])]
        return [*vm.disks, *context]

    def _volume(self, vm: Vm, disk_id: int) -> str:
        """The name that the volume of a disk must have."""
        disk = vm.disks.get(disk_id) or self._gone.get((vm.id, disk_id), {})
        if vm.context is not None and vm.context["DISK_ID"] == str(disk_id):
            return f"one-sys-{vm.id}-{disk_id}-iso"
        self._gone[vm.id, disk_id] = disk
        if "IMAGE_ID" not in disk:
            return f"one-sys-{vm.id}-{disk_id}-{'swap' if disk['TYPE'] == 'swap' else 'raw'}"
        image = f"one-img-{disk['IMAGE_ID']}"
        return image if disk.get("PERSISTENT") else f"{image}-{vm.id}-{disk_id}"

    def _device(self, vm: Vm, disk_id: int) -> str:
        return self.lab.hosts.nodes[vm.here.host].device(self._volume(vm, disk_id))

    def _bytes(self, vm: Vm, disk_id: int, offset: int, length: int) -> bytes:
        with open(self._device(vm, disk_id), "rb") as device:
            device.seek(offset)
            return device.read(length)

    def _digest_on(self, host: str, vm: Vm, disk_id: int) -> str:
        """The sha256 that the host itself computes, through the link in the VM's directory."""
        done = self.lab.hosts.nodes[host].run(f"sha256sum < {vm.home}/disk.{disk_id}")
        return done.stdout.split()[0] if done.returncode == 0 else done.stderr.strip()

    @property
    def _magic(self) -> bytes:
        """What a new disk has where ext4 has its magic number."""
        return b"\x53\xef" if self.material.fs else b"\0\0"

    @property
    def _datastore(self) -> Datastore:
        return self.lab.oned.datastores[101]

    # Running things

    def _create(self, *disks: Image | Volatile) -> Vm:
        return self.lab.vms.create(*disks, context=self.material.has_context)

    def _do(self, steps: Steps[T]) -> T:
        return self.lab.do(steps, self._count)

    def _count(self, command: Command, result: Result) -> None:
        self.report.scripts += 1

    def _command(self, *words: str) -> str:
        """The administrator's command, on the front-end."""
        program = os.path.join(self.lab.tree, "usr/bin/storpool-addon")
        done = self.lab.hosts.frontend.run(" ".join([program, *words]))
        self.report.expect((done.returncode, done.stderr), (0, ""), f"storpool-addon {' '.join(words)}")
        return done.stdout


def _length(device: str) -> int:
    with open(device, "rb") as file:
        return file.seek(0, os.SEEK_END)


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def _sha256(path: str) -> str:
    content = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            content.update(block)
    return content.hexdigest()
