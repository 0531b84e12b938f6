"""QEMU itself takes what all tweaks together make of a domain; needs root.

What libvirt defines QEMU may still refuse, as it knows its devices better. No guest runs: QEMU has made
all their devices when it waits for the first step. What this machine does not have is taken out before.
"""

from __future__ import annotations

import os

import pytest
from lxml import etree

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.libvirtd import EMULATOR, URI
from tests.domain import golden, real

DIRECTORY = "/var/lib/one/started"
# As oned writes them; what virsh dumps differs by addresses.
BASES = ("linux-pc", "numa-pc", "windows-q35")
VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"
# Bridges, ceph and passed-through devices, huge pages, control groups (CPU time).
ABSENT = "devices/interface|devices/hostdev|devices/tpm|devices/graphics|devices/disk[@type='network']"
ABSENT += "|memoryBacking|cputune|cpu/feature"


def startable(text: str) -> tuple[str, str]:
    """Name and document of the domain with small memory, and files for its disks."""
    root = etree.fromstring(text)
    for element in root.xpath(ABSENT):
        element.getparent().remove(element)
    for number, disk in enumerate(root.iterfind("devices/disk")):
        source = disk.find("source")
        disk.set("type", "file")
        if source is not None:
            source.attrib.clear()
            source.set("file", f"{DIRECTORY}/{number}.img")
            disk.find("driver").set("type", "raw")
    for element in (*root.iterfind("memory"), *root.iterfind("currentMemory")):
        element.text = str(int(element.text) // 64)
    for cell in root.iterfind("cpu/numa/cell"):
        cell.set("memory", str(int(cell.get("memory")) // 64))
        cell.attrib.pop("memAccess", None)
    for old in root.findall("os/nvram"):
        old.clear()
        old.set("template", VARIABLES)
        old.text = f"{DIRECTORY}/variables.fd"
    root.find("devices/emulator").text = EMULATOR
    return root.findtext("name"), etree.tostring(root).decode()


@pytest.mark.xdist_group("libvirt")
@pytest.mark.skipif(not os.path.exists(VARIABLES), reason="OVMF is not installed")
def test_qemu_takes_what_all_tweaks_make(libvirt_lab: Lab) -> None:
    real.require_kvm()
    node, script = libvirt_lab.hosts.nodes["node1"], [f"cd {DIRECTORY}", "truncate -s 1M {0..9}.img"]
    for base in BASES:
        name, document = startable(golden.all_together(base))
        node.write(f"{DIRECTORY}/{base}.xml", document)
        script.append(f"virsh -q -c {URI} create --paused {base}.xml && echo {base}")
        script.append(f"virsh -q -c {URI} destroy {name}; rm -f variables.fd")
    done = node.run("\n".join([*script, f"rm -r {DIRECTORY}"]))
    assert tuple(done.stdout.split()) == BASES, done.stderr
