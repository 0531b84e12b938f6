"""Snapshots of whole VMs on real libvirt and QEMU: the guest itself says what it remembers; needs root."""

from __future__ import annotations

import os

import pytest

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from tests.kvm.test_lives import counts_on, holders, ticks, vm
from tests.tm import cloud

__all__ = ["vm"]
pytestmark = pytest.mark.xdist_group("libvirt")


def written(lab: Lab, vm: Vm, content: bytes) -> None:
    """The second disk's beginning, on its host."""
    with open(lab.hosts.nodes["node1"].device(f"one-sys-{vm.id}-1-raw"), "r+b") as device:
        device.write(content)
        device.flush()
        os.fsync(device.fileno())


def held(lab: Lab, vm: Vm) -> bytes:
    """The same."""
    assert holders(lab, vm) == {"node1"} and lab.domains.where(vm) == {"node1": "running"}
    return lab.read_volume(f"one-sys-{vm.id}-1-raw", 5)


def test_a_vm_is_what_it_was(libvirt_lab: Lab, vm: Vm) -> None:
    """Without its memory it boots anew; with it, it goes on where it was, also while it was snapshotted."""
    lab = libvirt_lab
    lab.configure(VMSNAPSHOT_FSFREEZE=1, LOG_TO_FILE=1)
    written(lab, vm, b"first")
    counts_on(lab, vm, 10)
    plain = lab.do(lab.vm_snapshots.create(vm))
    vm.user_attributes["VMSNAPSHOT_WITH_CHECKPOINT"] = "YES"
    before = counts_on(lab, vm, ticks(lab, vm) + 40)
    whole = lab.do(lab.vm_snapshots.create(vm))
    written(lab, vm, b"later")
    later = counts_on(lab, vm, before + 60)
    lab.do(lab.vm_snapshots.revert(vm, whole))
    assert before <= ticks(lab, vm) and held(lab, vm) == b"first"
    written(lab, vm, b"later")
    counts_on(lab, vm, later)
    lab.do(lab.vm_snapshots.revert(vm, plain))
    assert ticks(lab, vm) < before and held(lab, vm) == b"first"
    counts_on(lab, vm, ticks(lab, vm))
    for number in (whole, plain):
        lab.do(lab.vm_snapshots.delete(vm, number))
    assert not [name for name in cloud.snapshots(lab) if "ONESNAP" in name]
