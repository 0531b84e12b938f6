"""Whether KVM runs a Linux here: seen by booting one, once for each boot of the machine.

A /dev/kvm may be there and open, and QEMU still fails on what the processor refuses ("emulation failure").
"""

from __future__ import annotations

import os
import subprocess

from storpool_addon.lab.guest import NoGuest, guest
from storpool_addon.lab.libvirtd import cache, kind
from storpool_addon.lab.programs import program

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
# A kernel that finds no root file system has come far enough.
_SIGN = b"VFS: Unable to mount root fs"
_TIMEOUT_S = 20.0


def runs_linux() -> bool:
    """Whether guests can have KVM; no, where there is no kernel to try it with."""
    with open(_BOOT_ID) as file:
        known = os.path.join(cache(), f"kvm-{file.read().strip()}")
    if os.path.exists(known):
        with open(known) as file:
            return file.read() == "yes"
    try:
        answer = _boots(guest().kernel)
    except NoGuest:
        return False
    with open(f"{known}.{os.getpid()}", "w") as file:
        file.write("yes" if answer else "no")
    os.rename(file.name, known)
    return answer


def _boots(kernel: str) -> bool:
    if kind() != "kvm":
        return False
    argv = [program("qemu-system-x86_64"), "-accel", "kvm", "-cpu", "host", "-m", "128", "-nodefaults"]
    argv += ["-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", kernel]
    argv += ["-append", "console=ttyS0 panic=-1"]
    try:
        done = subprocess.run(
            argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return _SIGN in done.stdout
