"""What the small Linux of the tests boots from, and the data it has."""

from __future__ import annotations

import os
import shutil
import subprocess

from storpool_addon.lab.guest import Guest
from storpool_addon.lab.inside import imported
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from storpool_addon.lab.objects import Image
from tests.programs import SYSTEM_PATH, require


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
