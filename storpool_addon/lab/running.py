"""The demo's chapter about guests that run: a Linux on libvirt and QEMU, and what it sees of its disks."""

from __future__ import annotations

import os

from storpool_addon.lab.guest import Guest, NoGuest, guest
from storpool_addon.lab.hosts import NoHosts
from storpool_addon.lab.inside import OURS, Inside, imported
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.objects import Image
from storpool_addon.lab.report import Report
from storpool_addon.lab.stage import Stage

NOTE = "written by a guest"


class Running:
    """A cloud of its own, whose nodes have libvirt: one VM from its start to its end."""

    def __init__(self, report: Report, directory: str, tree: str) -> None:
        self.report = report
        self._directory = directory
        self._tree = tree
        self.stage: Stage
        self.linux: Inside
        self.image: Image

    def tell(self) -> None:
        """All of it, or the line that says why guests cannot run here."""
        try:
            small = guest()
            lab = self._lab()
        except (NoGuest, NoHosts) as reason:
            self.report.say(f"    no guest runs: {reason}")
            return
        with lab:
            self._tell(lab, small)

    def _lab(self) -> Lab:
        with self.report.step("start a cloud whose nodes have libvirt"):
            lab = Lab(os.path.join(self._directory, "running"), self._tree, real=True, libvirt=True)
        lab.hypervisor.local.update(OURS)
        lab.configure(DEPLOY_TWEAKS="volatile2dev disk-cache-io")
        return lab

    def _tell(self, lab: Lab, small: Guest) -> None:
        self.stage = Stage(lab, self.report, self._directory)
        with self.report.step("import a small Linux"):
            self.image = imported(lab, small.disk)
            self.stage.images.append(self.image)
        for title, step in (
            ("start it on node1: clone, context, tweaks, libvirt, QEMU, its first command", self._start),
            ("show what the tweaks changed in its domain", self._show),
            ("the guest writes, and the volume has it", self._write),
            ("live-migrate it to node2, while it writes and verifies", self._migrate),
            ("press its power button", self._end),
        ):
            if not self.report.is_well:
                return
            with self.report.step(title):
                step()

    def _start(self) -> None:
        self.linux = Inside(self.stage.lab, self.stage.create(self.image))
        self.linux.start("node1")
        self.report.expect("vda" in self.linux.disks(), True, "the guest has its disk")
        self.stage.world_of_vms()

    def _show(self) -> None:
        vm, frontend = self.linux.vm, self.stage.lab.hosts.frontend
        frontend.write("/var/tmp/vm.xml", vm.document(self.stage.lab.oned.version))
        domain = f"/var/lib/one/vms/{vm.id}/deployment.0"
        lines = self.stage.command("tweaks", "apply", "/var/tmp/vm.xml", domain).splitlines()
        changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
        for line in changed:
            self.report.say(f"    {line.rstrip()}")
        self.report.expect(
            any("type='block'" in line or 'type="block"' in line for line in changed), True, ""
        )

    def _write(self) -> None:
        self.linux.run(f"attach vda boot; store /boot/note '{NOTE}'")
        content = self.stage.lab.read_volume(self.stage.volume(self.linux.vm, 0))
        self.report.expect(NOTE.encode() in content, True, "what the guest wrote is on the volume")

    def _migrate(self) -> None:
        self.linux.run("count /boot/count; await test -e /run/count")
        self.stage.do(self.stage.lab.vms.live_migrate(self.linux.vm, "node2"))
        self.linux.follow()
        self.report.expect(self.linux.run("goes_on >/run/last; wrong"), "", "what went wrong in the guest")
        self.report.say(f"    it has written and verified {self.linux.run('end_count')} times")
        self.stage.world_of_vms()

    def _end(self) -> None:
        self.stage.do(self.stage.lab.vms.terminate(self.linux.vm))
        self.linux.console.close()
        self.report.expect(self.stage.lab.domains.where(self.linux.vm), {}, "its domain")
        self.stage.world_of_vms()
