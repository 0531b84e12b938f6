"""A VM whose guest is a Linux, seen from inside and from outside."""

from __future__ import annotations

import os
import shutil

from storpool_addon.lab import console
from storpool_addon.lab.console import Console
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from storpool_addon.lab.objects import Image

# The scripts of this driver that a site switches on after `-l`.
OURS = {
    "deploy": "deploy-tweaks",
    "migrate": "migrate-tweaks",
    "attach_disk": "attach_disk.storpool",
    "detach_disk": "detach_disk.storpool",
    "save": "tmsave",
    "restore": "tmrestore",
}


class Inside:
    """vm: deployed by `start`. console: its guest's, as soon as that runs."""

    console: Console

    def __init__(self, lab: Lab, vm: Vm) -> None:
        self.lab = lab
        self.vm = vm
        vm.attributes["MEMORY"] = "128"
        vm.attributes["CPU_MODEL"] = {"MODEL": "kvm64"}
        vm.attributes["FEATURES"] = {"GUEST_AGENT": "YES"}
        vm.attributes["RAW"] = console.raw(vm.id)

    def start(self, host: str) -> None:
        """Deploy the VM, and wait until its guest is up."""
        self.lab.do(self.lab.vms.deploy(self.vm, host))
        self.console = Console(self._line)
        self.console.wait_ready()

    def follow(self) -> None:
        """The VM is on another host, or runs again."""
        self.console.move(self._line)

    def run(self, command: str) -> str:
        """What a command in the guest prints."""
        return self.console.run(command)

    def disks(self) -> dict[str, int]:
        """The disks that the guest can read, and their bytes."""
        lines = (line.split() for line in self.run("disks").splitlines())
        return {words[0]: int(words[1]) for words in lines}

    @property
    def _line(self) -> str:
        return self.lab.hosts.nodes[self.vm.here.host].path(console.line(self.vm.id))


def imported(lab: Lab, source: str, *, persistent: bool = False) -> Image:
    """An image of a file, as a person makes one."""
    path = f"/var/tmp/{os.path.basename(source)}.raw"
    there = lab.hosts.frontend.path(path)
    shutil.copyfile(source, there)
    os.chmod(there, 0o644)
    datastore = lab.oned.datastores[101]
    image = lab.do(lab.images.create(datastore, path=path, persistent=persistent))
    os.unlink(there)
    return image
