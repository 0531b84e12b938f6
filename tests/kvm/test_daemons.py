"""A libvirtd on each real host of the lab; needs root."""

from __future__ import annotations

import pytest

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.libvirtd import EMULATOR, URI, kind

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
