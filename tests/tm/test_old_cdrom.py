"""D-15: CDROMs of VMs that a bash addon before 19.03.2 deployed: the image itself, until the VM moves."""

from __future__ import annotations

import os

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from tests.sweep import scene
from tests.tm import cloud

IMAGE, COPY = "one-img-7", "one-img-7-42-0"


def old(lab: Lab, host: str = "node1") -> Vm:
    """A VM whose host has the image of its CDROM attached and linked, and no copy of it."""
    vm = lab.vms.create(lab.give_image(type="CDROM", content=b"a disc"))
    scene.settle(lab.vms.deploy(vm, host))
    scene.old_cdrom(lab, vm, host)
    return vm


def move(lab: Lab, vm: Vm, lcm: int) -> Command:
    vm.lcm_state = lcm
    return cloud.mv(vm, "frontend" if lcm == 31 else "node1", "frontend" if lcm == 10 else "node2")


@pytest.mark.parametrize("lcm", [43, 60, 10])
def test_a_move_gives_the_vm_its_copy(lab: Lab, lcm: int) -> None:
    vm = old(lab)
    if lcm == 60:
        lab.power_off("node1")
        lab.simulator.switches = lab.simulator.switches._replace(detach_down="force")
    cloud.succeeds(lab, move(lab, vm, lcm), times=2)
    assert cloud.attached(lab, IMAGE, COPY) == {IMAGE: {}, COPY: {} if lcm == 10 else {"node2": "rw"}}
    assert cloud.tags(lab, COPY) == {
        "virt": "one", "nloc": "one", "nvm": "42", "type": "CDROM", "diskid": "0",
    }  # fmt: skip
    assert cloud.parent(cloud.volume(lab, COPY)) == IMAGE and lab.read_volume(COPY, 6) == b"a disc"
    if lcm != 10:
        assert cloud.links(lab, "node2")["disk.0"] == COPY


def test_a_vm_that_rested_gets_its_copy(lab: Lab) -> None:
    vm = old(lab)
    cloud.attach(lab, IMAGE)
    cloud.succeeds(lab, move(lab, vm, 31), times=2)
    assert cloud.attached(lab, IMAGE, COPY) == {IMAGE: {}, COPY: {"node2": "rw"}}


def test_the_directory_does_not_bring_the_old_link_back(lab: Lab) -> None:
    vm = old(lab)
    cloud.succeeds(lab, move(lab, vm, 43))
    cloud.succeeds(lab, cloud.mv(vm, "node1", "node2", None), times=2)
    assert cloud.links(lab, "node2")["disk.0"] == COPY
    assert "deployment.0" in cloud.files(lab, "node2")


def test_an_image_that_another_vm_uses_stays_with_it(lab: Lab) -> None:
    """Two old VMs of one host have one attachment between them."""
    vm = old(lab)
    lab.vms.create(lab.oned.images[7])
    cloud.succeeds(lab, move(lab, vm, 43), times=2)
    assert cloud.attached(lab, IMAGE, COPY) == {IMAGE: {"node1": "rw"}, COPY: {"node2": "rw"}}
    assert "replaces" not in cloud.tags(lab, COPY)


def test_a_live_migration(lab: Lab) -> None:
    vm = old(lab)
    lab.simulator.mark_open(11, IMAGE)
    pre = scene.upto(lab.vms.live_migrate(vm, "node2"), "premigrate")
    cloud.succeeds(lab, pre, times=2)
    both = {"node1": "rw", "node2": "rw"}
    assert cloud.attached(lab, IMAGE, COPY) == {IMAGE: {"node1": "rw"}, COPY: both}
    assert (cloud.links(lab, "node1")["disk.0"], cloud.links(lab, "node2")["disk.0"]) == (IMAGE, COPY)
    lab.simulator.mark_open(11, IMAGE, False)
    cloud.succeeds(lab, pre._replace(script="tm/storpool/postmigrate"), times=2)
    assert cloud.attached(lab, IMAGE, COPY) == {IMAGE: {}, COPY: {"node2": "rw"}}
    assert "replaces" not in cloud.tags(lab, COPY)


def test_a_live_migration_that_failed(lab: Lab) -> None:
    vm = old(lab)
    pre = scene.upto(lab.vms.live_migrate(vm, "node2"), "premigrate")
    fail = pre._replace(script="tm/storpool/failmigrate")
    cloud.succeeds(lab, fail)
    assert COPY not in cloud.volumes(lab)
    cloud.succeeds(lab, pre)
    cloud.succeeds(lab, fail, times=2)
    assert cloud.attached(lab, IMAGE)[IMAGE] == {"node1": "rw"}
    assert "node2" not in cloud.attached(lab, COPY)[COPY]
    assert cloud.links(lab, "node1")["disk.0"] == IMAGE
    # The next one goes on from there.
    cloud.succeeds(lab, pre)
    cloud.succeeds(lab, pre._replace(script="tm/storpool/postmigrate"))
    assert cloud.attached(lab, IMAGE, COPY) == {IMAGE: {}, COPY: {"node2": "rw"}}


def test_a_premigrate_that_fails_takes_the_copy_back(lab: Lab) -> None:
    vm = old(lab)
    command = scene.upto(lab.vms.live_migrate(vm, "node2"), "premigrate")
    lab.hosts.nodes["node2"].power_off()
    assert "node2" in cloud.refused(lab, command)
    assert COPY not in cloud.volumes(lab)


@pytest.mark.parametrize("others", [False, True])
def test_delete(lab: Lab, others: bool) -> None:
    vm = old(lab)
    if others:
        lab.vms.create(lab.oned.images[7])
    command = scene.upto(lab.vms.terminate(vm), "delete")
    cloud.succeeds(lab, command, times=2)
    assert cloud.attached(lab, IMAGE) == {IMAGE: {"node1": "rw"} if others else {}}
    assert not os.path.lexists(lab.hosts.nodes["node1"].path(f"{vm.home}/disk.0"))
    assert COPY not in cloud.volumes(lab) and lab.read_volume(IMAGE, 6) == b"a disc"
