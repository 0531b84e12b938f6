"""A guest on a host without libvirt: a program in the place of virsh that keeps its state in files.

It is about domains, not about disks: memory is one line of text, which a save writes to the device.
"""

from __future__ import annotations

import os

from storpool_addon.lab.hosts import Host
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm

PLACE = "/var/tmp/libvirt"
VIRSH = r"""#!/bin/bash
cd /var/tmp/libvirt || { echo "error: failed to connect to the hypervisor" >&2; exit 1; }
[ "$1" = --connect ] && shift 2
echo "$1 $(date +%s.%N)" >>calls
if [ -s "fail-$1" ]; then sed -i 1d "fail-$1"; echo "error: $1 was refused" >&2; exit 1; fi
gone() { [ -e running ] || { echo "error: failed to get domain '$1'" >&2; exit 1; }; }
case $1 in
    uri) echo qemu:///system;;
    domstate) gone "$2"; echo running;;
    domjobinfo) echo "Job type:         None";;
    dumpxml) gone "${@: -1}"; echo "<domain><name>$(cat running)</name></domain>";;
    destroy) gone "$2"; rm running memory;;
    create) [ ! -e running ] && grep -q '<domain>' "$2" || exit 1
        echo "$domain" >running; echo booted >memory;;
    save) gone "$2"; echo "LibvirtQemudSave $(cat memory)" | dd of="$3" conv=notrunc status=none; rm running;;
    save-image-dumpxml) head -c 16 "${@: -1}" | grep -q LibvirtQemudSave || exit 1
        echo "<domain><disk file='/x/99/42/disk.0'/></domain>";;
    restore) [ ! -e running ] || exit 1
        echo "$domain" >running
        head -n 1 "$2" | cut -d ' ' -f 2- >memory; [ "$3" != --xml ] || cp "$4" restored-xml;;
esac
"""


def start(lab: Lab, vm: Vm, host: str = "node1") -> Host:
    """The VM's guest runs on that host; its memory says so."""
    path = os.path.join(lab.directory, "hostbin", "virsh")
    with open(path, "w") as file:
        file.write(VIRSH.replace("$domain", vm.deploy_id))
    os.chmod(path, 0o755)
    node = lab.hosts.nodes[host]
    node.write(f"{PLACE}/running", f"{vm.deploy_id}\n")
    node.write(f"{PLACE}/memory", "first\n")
    return node


def memory(node: Host) -> str:
    """What is in the guest's memory; "" when it does not run."""
    return node.run(f"cd {PLACE} && [ -e running ] && cat memory").stdout.strip()


def refuse(node: Host, word: str, times: int = 1) -> None:
    """virsh fails that often when it is asked for this."""
    node.write(f"{PLACE}/fail-{word}", "x\n" * times)


def calls(node: Host, *left_out: str) -> list[tuple[str, float]]:
    """What virsh was asked for, and when."""
    lines = node.run(f"cat {PLACE}/calls 2>/dev/null").stdout.splitlines()
    found = [(line.split()[0], float(line.split()[1])) for line in lines]
    return [each for each in found if each[0] not in (left_out or ("uri", "domstate", "domjobinfo"))]


def words(node: Host) -> list[str]:
    """What virsh was asked to do, in order."""
    return [word for word, _ in calls(node)]
