"""What makes a real host one that runs guests: a libvirtd of its own, set up as on OpenNebula's nodes.

The settings that differ from those: QEMU gets no private /dev, and libvirt sees no control groups, which all
hosts of the lab would share.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from typing import Any

from storpool_addon.lab.programs import CHECKOUT, program

# OpenNebula's node packages give the emulator this name, whatever the distribution calls it.
EMULATOR = "/usr/local/bin/qemu-kvm-one"
URI = "qemu:///system"
# What a daemon keeps, by the name of the directory among the host's files.
_OWN = {
    "etc_libvirt": "/etc/libvirt",
    "var_lib_libvirt": "/var/lib/libvirt",
    "var_log_libvirt": "/var/log/libvirt",
    "swtpm_localca": "/var/lib/swtpm-localca",
}
_DAEMON = """\
host_uuid = "{uuid}"
unix_sock_group = "{user}"
unix_sock_ro_perms = "0777"
unix_sock_rw_perms = "0770"
auth_unix_ro = "none"
auth_unix_rw = "none"
"""
_QEMU = """\
user = "{user}"
group = "{user}"
swtpm_user = "{user}"
swtpm_group = "{user}"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
stdio_handler = "file"
namespaces = []
migration_address = "{address}"
migration_host = "{address}"
"""
# A /dev/kvm may open, run a boot sector, and still stop a Linux kernel: then guests are of type kvm for
# libvirt, and QEMU emulates. What libvirt asks QEMU about (`-machine none,accel=kvm:tcg`) passes.
_EMULATED = """\
#!/bin/bash
words=()
for word; do
    case $word in
    kvm) word=tcg ;;
    host | host,*) word=max${word#host} ;;
    *,accel=kvm | *,accel=kvm,*) word=${word/accel=kvm/accel=tcg} ;;
    esac
    words+=("$word")
done
exec @QEMU@ "${words[@]}"
"""
# Whatever the service user may do as root on a node, it does here as itself.
_SUDO = """\
#!/bin/sh
[ "$1" = -n ] && shift
exec "$@"
"""


def prepare(directory: str, number: int, user: str, owner: int, *, accelerated: bool) -> dict[str, Any]:
    """Write what the daemon of host `number` reads; the part of the host's description that is about it.

    accelerated: whether KVM runs a Linux kernel here.
    """
    for need in ("virsh", "qemu-system-x86_64", "libvirtd"):
        program(need)
    for name in _OWN:
        os.makedirs(os.path.join(directory, name), exist_ok=True)
    # libvirt makes the one of a TPM in it as root, for the service user; vtpm_setup does the same.
    os.makedirs(os.path.join(directory, "var_lib_libvirt", "swtpm"), 0o711, exist_ok=True)
    for name in ("swtpm_localca", "var_lib_libvirt/swtpm"):
        os.chown(os.path.join(directory, name), owner, owner)
    values = {"uuid": uuid.uuid4(), "user": user, "address": f"127.0.0.{number}"}
    for name, text in (("libvirtd.conf", _DAEMON), ("qemu.conf", _QEMU)):
        with open(os.path.join(directory, "etc_libvirt", name), "w") as file:
            file.write(text.format(**values))
    binds = [(os.path.join(directory, name), path) for name, path in _OWN.items()]
    return {
        "argv": [program("libvirtd")],
        "log": os.path.join(directory, "libvirtd.log"),
        "kvm": kind() == "kvm",
        "binds": [*binds, *_shared(accelerated=accelerated)],
    }


def kind() -> str:
    """The type of domains here: "kvm" where /dev/kvm opens, whatever it is good for; libvirt asks no more."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return "qemu"
    return "kvm"


def _shared(*, accelerated: bool) -> list[tuple[str, str]]:
    """What all daemons of a checkout share: what QEMU can do takes seconds to ask, and is kept by the
    emulator's path and time of change.
    """
    qemu = program("qemu-system-x86_64")
    text = f'#!/bin/bash\nexec {qemu} "$@"\n' if accelerated else _EMULATED.replace("@QEMU@", qemu)
    directory = os.path.join(cache(), f"emulator-{hashlib.sha256(text.encode()).hexdigest()[:12]}")
    emulator, known, sudo = (os.path.join(directory, name) for name in ("emulator", "known", "sudo"))
    os.makedirs(known, exist_ok=True)
    for path, script in ((emulator, text), (sudo, _SUDO)):
        if not os.path.exists(path):
            _write_program(path, script)
    return [(emulator, EMULATOR), (known, "/var/cache/libvirt"), (sudo, "/usr/local/bin/sudo")]


def _write_program(path: str, text: str) -> None:
    own = f"{path}.{os.getpid()}"
    with open(own, "w") as file:
        file.write(text)
    os.chmod(own, 0o755)
    os.rename(own, path)


def cache() -> str:
    """Where this checkout keeps what is worth having twice."""
    own = os.path.join(CHECKOUT, ".venv")
    return os.path.join(own if os.path.isdir(own) else "/var/tmp", "lab")
