"""A VM whose guest is a Linux, seen from inside and from outside."""

from __future__ import annotations

import os
import shutil
import subprocess

from storpool_addon.lab import console
from storpool_addon.lab.console import Console
from storpool_addon.lab.guest import Guest
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from storpool_addon.lab.objects import Image
from tests.programs import SYSTEM_PATH, require

OURS = {
    "deploy": "deploy-tweaks",
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


def data_disk(directory: str, size_mib: int = 16) -> str:
    """A file with an empty ext4."""
    require("mkfs.ext4")
    path = os.path.join(directory, "data")
    with open(path, "wb") as file:
        file.truncate(size_mib << 20)
    program = shutil.which("mkfs.ext4", path=SYSTEM_PATH) or ""
    subprocess.run([program, "-q", "-F", path], check=True)
    return path


def new_vm(lab: Lab, guest: Guest, directory: str) -> tuple[Vm, Image, Image]:
    """A VM that boots from a clone of the guest's disk and has data of its own; the two images."""
    boot, data = imported(lab, guest.disk), imported(lab, data_disk(directory), persistent=True)
    return lab.vms.create(boot, data), boot, data
