"""VMs on real libvirt and QEMU, with the stock scripts played on the hosts; needs root."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from tests.tm import cloud

pytestmark = pytest.mark.xdist_group("libvirt")
# A boot sector that counts timer ticks at 0x50000: mov ax,5000; mov ds,ax; sti; l: hlt; inc word [0]; jmp l.
SECTOR = bytes.fromhex("b800508ed8fbf4ff060000ebf9").ljust(510, b"\0") + b"\x55\xaa"


@pytest.fixture
def vm(libvirt_lab: Lab) -> Iterator[Vm]:
    """A VM that runs on node1 from its disk."""
    lab = libvirt_lab
    image = lab.give_image(size_mib=16, content=SECTOR)
    machine = lab.vms.create(image, Volatile(16), context=False)
    machine.attributes["MEMORY"] = "32"
    lab.do(lab.vms.deploy(machine, "node1"))
    yield machine
    lab.do(lab.vms.terminate(machine, hard=True))


def holders(lab: Lab, vm: Vm) -> set[str]:
    """The hosts that hold each of the VM's disks, and may write to it."""
    found = [where for name, where in cloud.attached(lab).items() if f"-{vm.id}-" in name]
    assert all(where == found[0] for where in found) and set(found[0].values()) == {"rw"}
    return set(found[0])


def ticks(lab: Lab, vm: Vm) -> int:
    """How far the guest has counted: it begins anew when it boots, and goes on when its memory is kept."""
    words = ("qemu-monitor-command", f"one-{vm.id}", "--hmp", "xp /1hd 0x50000")
    return int(lab.domains.virsh(vm.here.host, *words).split()[-1])


def counts_on(lab: Lab, vm: Vm, since: int) -> int:
    """Wait until the guest has counted further than it had."""
    deadline = time.monotonic() + 30
    while (now := ticks(lab, vm)) <= since:
        assert time.monotonic() < deadline, f"the guest of VM {vm.id} stands still at {now}"
        time.sleep(0.1)
    return now


def test_a_life(libvirt_lab: Lab, vm: Vm) -> None:
    lab = libvirt_lab
    counted = counts_on(lab, vm, 20)
    image = lab.give_image(size_mib=8)
    image.attributes["DEV_PREFIX"] = "sd"
    number = lab.do(lab.vms.attach_disk(vm, image))
    lab.do(lab.vms.resize_disk(vm, number, 12))
    info = lab.domains.virsh("node1", "domblkinfo", f"one-{vm.id}", "sdc").split()
    assert info[:2] == ["Capacity:", str(12 << 20)]
    lab.do(lab.vms.detach_disk(vm, number))
    assert "sdc" not in lab.domains.virsh("node1", "domblklist", f"one-{vm.id}")

    lab.do(lab.vms.live_migrate(vm, "node2"))
    assert lab.domains.where(vm) == {"node2": "running"} and holders(lab, vm) == {"node2"}
    counted = counts_on(lab, vm, counted)
    lab.do(lab.domains.suspend(vm))
    assert lab.domains.where(vm) == {}
    lab.do(lab.vms.migrate(vm, "node1"))
    lab.do(lab.vms.resume(vm))
    assert lab.domains.where(vm) == {"node1": "running"} and holders(lab, vm) == {"node1"}
    counts_on(lab, vm, counted)
