"""OpenNebula's own scripts for libvirt, as played on the lab's hosts: /var/tmp/one/vmm/kvm/<name>.

Arguments, input, output and what they do to domains are those of OpenNebula 7.4 (src/vmm_mad/remotes/kvm).
Run as a program under the name of the script.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from typing import Callable
from xml.sax.saxutils import quoteattr

NAMES = (
    "deploy", "cancel", "shutdown", "reboot", "reset", "save", "restore", "migrate", "attach_disk",
    "detach_disk", "resize_disk", "prereconfigure", "reconfigure",
)  # fmt: skip
KVMRC = """\
export LIBVIRT_URI=qemu:///system
export QEMU_PROTOCOL=qemu+ssh
export SHUTDOWN_TIMEOUT=20
export FORCE_DESTROY=no
export MIGRATE_OPTIONS=""
export SYNC_TIME=no
DEFAULT_ATTACH_CACHE=none
DEFAULT_ATTACH_DISCARD=unmap
OVMF_NVRAM="/usr/share/OVMF/OVMF_VARS_4M.fd"
"""
# The part of `vtpm_setup` that keeps a TPM's state; the one of OpenNebula needs root, where libvirt is real.
VTPM_SETUP = """\
#!/bin/bash
set -eu
action=$1 state=/var/lib/libvirt/swtpm/$2 kept=$3/tpm file=tpm2-00.permall
case $action in
backup) mkdir -p "$kept"; cp "$state/tpm2/$file" "$kept/$file"; chown -R oneadmin "$kept" ;;
recover)
    [ -d "$kept" ] || exit 0
    mkdir -p "$state/tpm2"
    chmod 711 "$state"
    chmod 700 "$state/tpm2"
    cp "$kept/$file" "$state/tpm2/$file"
    chmod 600 "$state/tpm2/$file"
    chown -R oneadmin "$state/tpm2"
    ;;
esac
"""


METADATA = "{http://opennebula.org/xmlns/libvirt/1.0}"


class Failed(Exception):
    """What a script says before it ends with an error."""


def main(argv: Sequence[str]) -> int:
    """Be the script that this was called as."""
    name = os.path.basename(argv[0])
    try:
        ACTIONS[name](argv[1:])
    except Failed as failure:
        print(f"ERROR: {name}: {failure}", file=sys.stderr)
        print(failure, file=sys.stderr)
        return 255
    return 0


def deploy(words: Sequence[str]) -> None:
    """FILE HOST VM HOST, the domain on standard input; prints its UUID."""
    file, home = words[0], os.path.dirname(words[0])
    os.makedirs(home, exist_ok=True)
    document = sys.stdin.read()
    with open(file, "w") as output:
        output.write(document)
    domain = ElementTree.fromstring(document)
    nvram, name = domain.findtext("os/nvram", "").strip(), domain.findtext("name", "")
    if nvram and not os.path.exists(nvram):
        _run(["cp", "-n", "--", kvmrc("OVMF_NVRAM"), nvram])
    uuid = domain.findtext("uuid", "")
    if domain.find("devices/tpm") is not None and os.path.isdir(f"{home}/tpm"):
        _run(["sudo", "-n", "/var/tmp/one/vtpm_setup", "recover", uuid, home])
    virsh("create", file, what=f"Could not create domain from {file}")
    print(virsh("domuuid", name))


def cancel(words: Sequence[str]) -> None:
    """DOMAIN: ends it at once; one that is not there is no error."""
    if is_there(words[0]):
        virsh("destroy", words[0], what=f"Could not destroy {words[0]}")


def shutdown(words: Sequence[str]) -> None:
    """DOMAIN: presses the power button, and pulls the plug if that does not help in time and is allowed."""
    domain = words[0]
    if not is_there(domain):
        return
    _keep_tpm(domain)
    try:
        virsh("shutdown", domain, what=f"Could not shutdown {domain}")
    except Failed:
        # A guest may be gone before libvirt has answered.
        if is_there(domain):
            raise
    deadline = time.monotonic() + float(kvmrc("SHUTDOWN_TIMEOUT") or 120)
    while is_there(domain):
        if time.monotonic() > deadline:
            if kvmrc("FORCE_DESTROY") != "yes":
                raise Failed(f"Timeout reached, VM {domain} is still alive")
            virsh("destroy", domain)
            return
        time.sleep(0.2)


def _keep_tpm(domain: str) -> None:
    """libvirt forgets the state of a domain's TPM with the domain."""
    document = ElementTree.fromstring(virsh("dumpxml", domain))
    home = document.findtext(f"metadata/{METADATA}vm/{METADATA}system_datastore")
    if home and document.find("devices/tpm") is not None:
        _run(["sudo", "-n", "/var/tmp/one/vtpm_setup", "backup", document.findtext("uuid", ""), home])


def reboot(words: Sequence[str]) -> None:
    """DOMAIN."""
    virsh("reboot", words[0], what=f"Could not reboot domain {words[0]}")


def reset(words: Sequence[str]) -> None:
    """DOMAIN."""
    virsh("reset", words[0], what=f"Could not reset domain {words[0]}")


def save(words: Sequence[str]) -> None:
    """DOMAIN FILE HOST VM HOST: a regular file is moved away first, a device is written in place."""
    domain, file = words[:2]
    if os.path.isfile(file):
        os.rename(file, f"{file}.{int(time.time())}")
    if not os.path.exists(file):
        os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o666))
    # What follows a link to a device is not the service user's, and the script goes on.
    with contextlib.suppress(PermissionError):
        os.chmod(file, 0o666)
    virsh("save", domain, file, what=f"Could not save {domain} to {file}")


def restore(words: Sequence[str]) -> None:
    """FILE HOST DOMAIN VM HOST: paths in it become those of the directory that it is in; then it goes."""
    file, vm_id = words[0], words[3]
    where, datastore = os.path.split(os.path.dirname(os.path.dirname(file)))
    document = virsh("save-image-dumpxml", file, what=f"Could not recalculate paths in {file}.xml")
    for location in {where, where.replace("//", "/")}:
        document = re.sub(
            rf"{re.escape(location)}/\d+/{vm_id}/", f"{location}/{datastore}/{vm_id}/", document
        )
    with open(f"{file}.xml", "w") as output:
        output.write(document)
    virsh("restore", file, "--xml", f"{file}.xml", what=f"Could not restore from {file}")
    os.unlink(file)
    os.unlink(f"{file}.xml")


def migrate(words: Sequence[str]) -> None:
    """DOMAIN HOST SOURCE VM SOURCE: what fails leaves no domain on the other host."""
    domain, host = words[:2]
    there = f"{kvmrc('QEMU_PROTOCOL')}://{host}/system"
    options = kvmrc("MIGRATE_OPTIONS").split()
    try:
        virsh("migrate", "--live", *options, domain, there, what=f"Error migrating VM {domain} to {host}")
    except Failed:
        for word in ("destroy", "undefine"):
            subprocess.run(["virsh", "--connect", there, word, domain], capture_output=True, check=False)
        raise


def attach_disk(words: Sequence[str]) -> None:
    """DOMAIN SOURCE TARGET INDEX DOCUMENT VM HOST: what the disk is like is in the document (base64)."""
    domain, source, target, _, document = words[:5]
    action = ElementTree.fromstring(base64.b64decode(document))
    disk = next(each for each in action.iter("DISK") if each.findtext("ATTACH") == "YES")
    device = disk_xml(disk, source, target)
    file = f"/var/tmp/one-attach.{os.getpid()}"
    with open(file, "w") as output:
        output.write(device)
    try:
        virsh("attach-device", domain, file, what=f"Could not attach {source} ({target}) to {domain}")
    finally:
        os.unlink(file)


def disk_xml(disk: ElementTree.Element, source: str, target: str) -> str:
    """What libvirt is told of a disk that is plugged in."""
    kind = disk.findtext("TYPE", "").upper()
    block = disk.findtext("DISK_TYPE", "").upper() == "BLOCK" or kind in ("BLOCK", "BLOCK_CDROM")
    is_cd = kind in ("CDROM", "BLOCK_CDROM")
    options = {
        "type": disk.findtext("DRIVER") or "raw",
        "cache": disk.findtext("CACHE") or kvmrc("DEFAULT_ATTACH_CACHE") or "default",
        "io": disk.findtext("IO") or kvmrc("DEFAULT_ATTACH_IO"),
        "discard": disk.findtext("DISCARD") or kvmrc("DEFAULT_ATTACH_DISCARD"),
    }
    driver = " ".join(f"{name}={quoteattr(text)}" for name, text in options.items() if text)
    lines = [
        f"<disk type='{'block' if block else 'file'}' device='{'cdrom' if is_cd else 'disk'}'>",
        f"<driver name='qemu' {driver}/>",
        f"<source {'dev' if block else 'file'}={quoteattr(source)}/>",
        f"<target dev={quoteattr(target)}/>",
    ]
    if disk.findtext("READONLY") == "YES":
        lines.append("<readonly/>")
    if disk.findtext("SHAREABLE") == "YES":
        lines.append("<shareable/>")
    if target.startswith("sd"):
        number = ord(target[2]) - ord("a")
        lines.append(f"<address type='drive' controller='0' bus='0' target='{number}' unit='0'/>")
    return "".join([*lines, "</disk>"])


def detach_disk(words: Sequence[str]) -> None:
    """DOMAIN SOURCE TARGET INDEX VM HOST: the guest has to let it go at once."""
    domain, target = words[0], words[2]
    complaint = f"Could not detach {target} from {domain}"
    virsh("detach-disk", "--domain", domain, "--target", target, what=complaint)
    found = ElementTree.fromstring(virsh("dumpxml", domain)).iterfind("devices/disk/target")
    if target in [each.get("dev") for each in found]:
        raise Failed(complaint)


def resize_disk(words: Sequence[str]) -> None:
    """DOMAIN DISK SIZE DOCUMENT HOST VM HOST."""
    domain, disk_id, size, document = words[:4]
    action = ElementTree.fromstring(base64.b64decode(document))
    disk = next(each for each in action.iter("DISK") if each.findtext("DISK_ID") == disk_id)
    complaint = f"Failed to resize disk {disk_id} on {domain}"
    virsh("blockresize", domain, disk.findtext("TARGET", ""), f"{size}M", what=complaint)


def prereconfigure(words: Sequence[str]) -> None:
    """DOMAIN TARGET VM HOST: takes the context's CD out."""
    domain, target = words[:2]
    rows = (line.split(None, 1) for line in virsh("domblklist", domain).splitlines())
    if [target, "-"] in [[word.strip() for word in row] for row in rows]:
        return
    complaint = f"Could not eject CDROM {target}"
    virsh("change-media", domain, target, "--eject", "--force", what=complaint)


def reconfigure(words: Sequence[str]) -> None:
    """DOMAIN TARGET ISO VM HOST: puts it in again."""
    domain, target, iso = words[:3]
    block = ["--block"] if not os.path.isfile(iso) else []
    complaint = f"Could not insert CDROM {iso} to {target}"
    virsh("change-media", domain, target, iso, "--insert", *block, what=complaint)


ACTIONS: dict[str, Callable[[Sequence[str]], None]] = {name: globals()[name] for name in NAMES}


def is_there(domain: str) -> bool:
    """Whether a domain runs."""
    done = subprocess.run(
        ["virsh", "--connect", kvmrc("LIBVIRT_URI"), "--readonly", "dominfo", domain],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def virsh(*words: str, what: str = "") -> str:
    """What virsh prints; Failed with its own words and `what` where it does not do as told."""
    return _run(["virsh", "--connect", kvmrc("LIBVIRT_URI"), *words], what)


def _run(argv: Sequence[str], what: str = "") -> str:
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        print(done.stderr.strip(), file=sys.stderr)
        raise Failed(what or f"{argv[0]} failed")
    return done.stdout.strip()


def kvmrc(name: str) -> str:
    """A setting of etc/vmm/kvm/kvmrc beside the scripts."""
    with open(os.path.join(os.path.dirname(sys.argv[0]), "../../etc/vmm/kvm/kvmrc")) as file:
        found = re.findall(rf'^(?:export )?{name}="?([^"\n]*)"?$', file.read(), re.MULTILINE)
    return found[-1] if found else ""
