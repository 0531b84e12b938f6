"""A libvirtd on each real host of the lab; needs root."""

from __future__ import annotations

import pytest

from storpool_addon.lab.command import StepFailed
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.libvirtd import EMULATOR, URI, kind
from tests.kvm import guests

pytestmark = pytest.mark.xdist_group("libvirt")
GUEST = f"""\
<domain type="{kind()}"><name>small</name><memory unit="MiB">32</memory>
<os><type machine="pc">hvm</type></os>
<devices><emulator>{EMULATOR}</emulator></devices></domain>
"""


def test_guests_run_on_both_and_end_with_their_host(libvirt_lab: Lab) -> None:
    nodes = libvirt_lab.hosts.nodes
    for node in nodes.values():
        node.write("/var/lib/one/small.xml", GUEST)
        done = node.run(f"virsh -c {URI} create /var/lib/one/small.xml")
        assert done.returncode == 0, done.stderr
    there = nodes["node1"].run("virsh -c qemu+ssh://node2/system list --name").stdout.split()
    assert there == ["small"]
    assert nodes["node1"].run("pgrep -c qemu-system").stdout == "1\n"

    libvirt_lab.power_off("node2")
    assert nodes["node1"].run("virsh -c qemu+ssh://node2/system list").returncode != 0
    libvirt_lab.power_on("node2")
    assert nodes["node2"].run(f"virsh -c {URI} list --all --name; pgrep qemu").stdout.split() == []
    assert nodes["node1"].run(f"virsh -c {URI} destroy small").returncode == 0


def test_a_context_that_oned_knows_to_be_a_device_needs_no_script_of_ours(libvirt_lab: Lab) -> None:
    lab = libvirt_lab
    system = lab.oned.datastores[100]
    vm = guests.created(lab)
    with pytest.raises(StepFailed, match="to be a regular file"):
        lab.do(lab.vms.deploy(vm, "node1"))
    system.attributes["CONTEXT_DISK_TYPE"] = "BLOCK"
    lab.do(lab.vms.resume(vm))
    del system.attributes["CONTEXT_DISK_TYPE"]
    assert guests.disks(lab, vm) == {"vda", "vdb", "sda"}
    lab.do(lab.vms.terminate(vm, hard=True))
    assert lab.domains.where(vm) == {}
