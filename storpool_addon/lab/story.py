"""The demo's story: two VMs from their image to their deletion, every byte and attachment looked at."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from storpool_addon.lab.keeping import Keeping
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.lab.material import HELLO, MARK, SIZE, Material
from storpool_addon.lab.objects import Image
from storpool_addon.lab.report import Report
from storpool_addon.lab.stage import Stage, length, sha256, write

GROWN_MIB = 64
SOURCE = "/var/tmp/demo.image"
# Where ISO 9660 has its volume descriptor, and Linux its swap signature (of a page of 4 KiB).
ISO_OFFSET, ISO_WORD = 32769, b"CD001"
SWAP_OFFSET, SWAP_WORD = 4086, b"SWAPSPACE2"


class Story:
    """The steps, in the order that `tell` tells them."""

    def __init__(self, lab: Lab, report: Report, scratch: str, material: Material | None = None) -> None:
        self.stage = Stage(lab, report, scratch, material)
        self.lab = lab
        self.report = report
        self.material = self.stage.material
        self.scratch = scratch
        self.digest = ""
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
            *Keeping(self.stage, lambda: self.first).steps(),
            ("terminate VM 1", self._terminate_first),
            ("terminate VM 2", self._terminate_second),
            ("list what delayed delete kept", self._list_kept),
            ("undelete VM 1's disk: the data is there", self._undelete),
            ("measure the datastores", self._monitor),
        ]
        if self.lab.hosts.frontend_has_devices:
            # Where all that the front-end writes is its own.
            steps.append(("collect what there is, and show it as Prometheus sees it", self._metrics))
        for title, step in steps:
            with self.report.step(title):
                step()
            if not self.report.is_well:
                return

    # Steps

    def _make_source(self) -> None:
        raw = self.material.make(self.scratch)
        self.material.convert(raw, self.lab.hosts.frontend.path(SOURCE))
        self.digest = sha256(raw)
        self.report.expect(self.material.read(raw, "hello"), HELLO, "the file in the raw image")

    def _import(self) -> None:
        self.image = self.stage.do(self.lab.images.create(self.stage.datastore, path=SOURCE))
        self.stage.images.append(self.image)
        name = f"one-img-{self.image.id}"
        self.report.expect(self.image.source, f"one-ds-101/{name}", "what cp answered")
        self.report.expect(self.lab.volume_digest(name, SIZE), self.digest, "sha256 of the volume")
        self.stage.world([name], [])

    def _create_data(self) -> None:
        create = self.lab.images.create(
            self.stage.datastore, size_mib=32, type="DATABLOCK", persistent=True, fs=self.material.fs
        )
        self.data = self.stage.do(create)
        self.stage.images.append(self.data)
        name = f"one-img-{self.data.id}"
        self.report.expect(self.lab.read_volume(name, 1082)[1080:], self._magic, "ext4 on the new image")
        self.stage.world([f"one-img-{self.image.id}", name], [])

    def _deploy_first(self) -> None:
        self.first = self.stage.create(self.image, Volatile(16, "fs", self.material.fs), Volatile(16, "swap"))
        self.stage.do(self.lab.vms.deploy(self.first, "node1"))
        self.report.expect(
            self.stage.digest_on("node1", self.first, 0), self.digest, "sha256 of disk.0, read on node1"
        )
        self.report.expect(
            self.stage.bytes_of(self.first, 1, 1080, 2), self._magic, "ext4 on the volatile disk"
        )
        self.report.expect(self.stage.bytes_of(self.first, 2, SWAP_OFFSET, 10), SWAP_WORD, "swap signature")
        if self.material.has_context:
            self.report.expect(self.stage.bytes_of(self.first, 3, ISO_OFFSET, 5), ISO_WORD, "context image")
        self.stage.world_of_vms()

    def _deploy_second(self) -> None:
        self.second = self.stage.create(self.image, self.data)
        self.stage.do(self.lab.vms.deploy(self.second, "node2"))
        self.report.expect(
            self.stage.digest_on("node2", self.second, 0), self.digest, "sha256 of disk.0, read on node2"
        )
        self.stage.world_of_vms()

    def _write(self) -> None:
        mark, device = os.path.join(self.scratch, "mark"), self.stage.device(self.first, 0)
        write(mark, MARK)
        self.material.write(device, "mark", mark)
        self.report.expect(self.material.read(device, "mark"), MARK, "the new file on VM 1's disk")
        self.report.expect(self.stage.digest_on("node2", self.second, 0), self.digest, "VM 2's disk")
        name = f"one-img-{self.image.id}"
        self.report.expect(self.lab.volume_digest(name, SIZE), self.digest, "the image")

    def _grow(self) -> None:
        self.stage.do(self.lab.vms.resize_disk(self.first, 0, GROWN_MIB))
        self.report.expect(
            length(self.stage.device(self.first, 0)), GROWN_MIB << 20, "bytes of the device on node1"
        )
        mark = self.material.read(self.stage.device(self.first, 0), "mark")
        self.report.expect(mark, MARK, "the file on the grown disk")
        self.stage.world_of_vms()

    def _plug(self) -> None:
        disk_id = self.stage.do(self.lab.vms.attach_disk(self.second, Volatile(16)))
        self.report.expect(length(self.stage.device(self.second, disk_id)), 16 << 20, "bytes of the new disk")
        self.stage.world_of_vms()
        self.stage.do(self.lab.vms.detach_disk(self.second, disk_id))
        self.stage.world_of_vms()

    def _migrate(self) -> None:
        before = self.stage.digest_on("node1", self.first, 0)
        self.stage.do(self.lab.vms.live_migrate(self.first, "node2"))
        self.report.expect(
            self.stage.digest_on("node2", self.first, 0), before, "sha256 of disk.0, read on node2"
        )
        self.stage.world_of_vms()

    def _terminate_first(self) -> None:
        home = self.first.home
        self.stage.do(self.lab.vms.terminate(self.first))
        self.report.expect(
            self.lab.hosts.nodes["node2"].run(f"ls {home}").returncode, 2, "ls of VM 1's directory"
        )
        self.stage.world_of_vms()

    def _terminate_second(self) -> None:
        self.stage.do(self.lab.vms.terminate(self.second))
        self.stage.world_of_vms()
        fields = self.lab.storpool(f"Volume/one-img-{self.data.id}")[0]["tags"]
        self.report.expect(fields.get("nvm", ""), "", "VM in the tags of the persistent image")

    def _list_kept(self) -> None:
        listed = self.stage.command("deleted")
        for line in listed.splitlines():
            self.report.say(f"    {line}")
        for disk_id in range(3):
            name = self.stage.volume(self.first, disk_id)
            self.report.expect(bool(re.search(rf"^{name} ", listed, re.MULTILINE)), True, f"{name} is listed")

    def _undelete(self) -> None:
        name = self.stage.volume(self.first, 0)
        self.report.expect(self.stage.command("undelete", name).strip(), name, "what undelete answered")
        copy = os.path.join(self.scratch, "undeleted")
        write(copy, self.lab.read_volume(name))
        self.report.expect(self.material.read(copy, "mark"), MARK, "the file that VM 1 wrote")

    def _monitor(self) -> None:
        for datastore in filter(lambda each: not each.backup, self.lab.oned.datastores.values()):
            self.stage.do(self.lab.images.monitor(datastore))
            self.report.expect(datastore.total_mb > 0, True, f"datastore {datastore.id} has a capacity")

    def _metrics(self) -> None:
        self.stage.command("collect")
        shown = self.stage.command("exporter", "--once")
        there = len(self.lab.storpool("VolumesList"))
        counts = re.findall(r"^(storpool_datastore_volumes{.*}) ([0-9]+)\.0$", shown, re.MULTILINE)
        for name, count in counts:
            self.report.say(f"    {name} {count}")
        self.report.expect(sum(int(count) for _, count in counts), there, "volumes in the metrics")

    @property
    def _magic(self) -> bytes:
        """What a new disk has where ext4 has its magic number."""
        return b"\x53\xef" if self.material.fs else b"\0\0"
