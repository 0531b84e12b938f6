"""VM snapshots with memory on real libvirt and QEMU: the guest itself says where it goes on; needs root."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from tests.kvm import guests
from tests.tm import cloud

pytestmark = pytest.mark.xdist_group("libvirt")


@pytest.fixture
def vm(libvirt_lab: Lab) -> Iterator[Vm]:
    """A VM that runs on node1; its user wants its memory in its snapshots."""
    lab = libvirt_lab
    made = lab.vms.create(lab.give_image(size_mib=16, content=guests.SECTOR), Volatile(16), context=False)
    made.attributes["MEMORY"] = "32"
    made.user_attributes["VMSNAPSHOT_WITH_CHECKPOINT"] = "YES"
    lab.do(lab.vms.deploy(made, "node1"))
    yield made
    guests.end(lab, made)


def written(lab: Lab, vm: Vm, content: bytes) -> None:
    """The second disk's beginning, on its host."""
    with open(lab.hosts.nodes["node1"].device(f"one-sys-{vm.id}-1-raw"), "r+b") as device:
        device.write(content)
        device.flush()
        os.fsync(device.fileno())


def test_a_guest_goes_on_where_it_was(libvirt_lab: Lab, vm: Vm) -> None:
    """While it is snapshotted, and after a revert."""
    lab = libvirt_lab
    written(lab, vm, b"first")
    before = guests.counts_on(lab, vm, 20)
    number = lab.do(lab.vm_snapshots.create(vm))
    written(lab, vm, b"later")
    later = guests.counts_on(lab, vm, before + 60)
    lab.do(lab.vm_snapshots.revert(vm, number))
    assert guests.ticks(lab, vm) >= before and guests.holders(lab, vm) == {"node1"}
    assert lab.read_volume(f"one-sys-{vm.id}-1-raw", 5) == b"first"
    assert lab.domains.where(vm) == {"node1": "running"}
    guests.counts_on(lab, vm, later)
    lab.do(lab.vm_snapshots.delete(vm, number))
    assert not [name for name in cloud.snapshots(lab) if "ONESNAP" in name]
