"""ln: a persistent image is lent to one host and taken from none that uses it; a CDROM image is copied."""

from __future__ import annotations

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from tests.sweep import scene
from tests.tm import cloud

IMAGE, COPY = "one-img-7", "one-img-7-42-0"
TAGS = {"virt": "one", "nloc": "one", "nvm": "42", "type": "PERS", "diskid": "0"}


def ready(lab: Lab, kind: str = "OS", **attributes: str) -> tuple[Vm, Command]:
    """A VM whose only disk is an image itself, and the command that lends it."""
    image = lab.give_image(persistent=kind != "CDROM", type=kind, content=b"hello")
    vm = lab.vms.create(image, **attributes)
    return vm, scene.upto(lab.vms.deploy(vm, "node1"), "ln")


def test_the_image_is_lent_and_stays_so(lab: Lab) -> None:
    _, command = ready(lab, VC_POLICY="daily")
    result = cloud.succeeds(lab, command, times=3)
    assert cloud.volumes(lab) == {IMAGE}
    assert cloud.tags(lab, IMAGE) == {**TAGS, "vc-policy": "daily"}
    assert cloud.attached(lab) == {IMAGE: {"node1": "rw"}}
    assert cloud.links(lab, "node1") == {"disk.0": IMAGE}
    assert not cloud.asks_for_lists(result)
    assert cloud.kinds(result)["ssh"] == 1


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"disk": "1;0:a", "image": "b", "system": "d", "datastore": "e"}, "a"),
        ({"disk": "c;1:a", "image": "b", "system": "d", "datastore": "e"}, "b"),
        ({"disk": "c", "system": "d", "datastore": "e"}, "c"),
        ({"system": "d", "datastore": "e"}, "d"),
        ({"datastore": "e"}, "e"),
        ({}, "base"),
    ],
)
def test_whose_quality_of_service_counts(lab: Lab, asked: dict[str, str], expected: str) -> None:
    lab.configure(DEFAULT_QOSCLASS="base")
    _, command = ready(lab)
    places = {
        "disk": lab.oned.vms[42].user_attributes,
        "image": lab.oned.images[7].attributes,
        "system": lab.oned.datastores[100].attributes,
        "datastore": lab.oned.datastores[101].attributes,
    }
    for where, text in asked.items():
        places[where]["SP_QOSCLASS"] = text
    cloud.succeeds(lab, command)
    assert cloud.tags(lab, IMAGE)["qc"] == expected


def test_an_image_in_use_elsewhere_is_not_taken_away(lab: Lab) -> None:
    """D-34."""
    _, command = ready(lab)
    cloud.attach(lab, IMAGE, "node2")
    lab.simulator.mark_open(12, IMAGE)
    line = cloud.refused(lab, command)
    assert IMAGE in line and "open at client 12" in line and "could not undo" not in line
    assert cloud.attached(lab) == {IMAGE: {"node2": "rw"}}


def test_an_image_that_lies_idle_elsewhere_is_moved(lab: Lab) -> None:
    _, command = ready(lab)
    cloud.attach(lab, IMAGE, "node2")
    cloud.succeeds(lab, command, times=2)
    assert cloud.attached(lab) == {IMAGE: {"node1": "rw"}}


@pytest.mark.parametrize(("mode", "expected"), [("rw", "rw"), ("ro", "ro")])
def test_a_read_only_image(lab: Lab, mode: str, expected: str) -> None:
    lab.configure(READONLY_MODE=mode)
    vm, command = ready(lab)
    vm.disks[0]["READONLY"] = "YES"
    cloud.succeeds(lab, command, times=2)
    assert cloud.attached(lab) == {IMAGE: {"node1": expected}}
    assert cloud.tags(lab, IMAGE)["type"] == "PERSRO"


def test_a_persistent_image_keeps_its_size(lab: Lab) -> None:
    vm, command = ready(lab)
    vm.disks[0]["SIZE"] = "8"
    cloud.succeeds(lab, command)
    assert cloud.volume(lab, IMAGE)["size"] == 4 * cloud.MIB


@pytest.mark.parametrize(("mode", "expected"), [("rw", "rw"), ("ro", "ro")])
def test_every_vm_has_its_own_copy_of_a_cdrom(lab: Lab, mode: str, expected: str) -> None:
    lab.configure(READONLY_MODE=mode)
    lab.oned.images.clear()
    _, first = ready(lab, "CDROM")
    second = scene.upto(lab.vms.deploy(lab.vms.create(lab.oned.images[7]), "node2"), "ln")
    for command in (first, second):
        cloud.succeeds(lab, command, times=2)
    assert cloud.attached(lab) == {COPY: {"node1": expected}, "one-img-7-43-0": {"node2": expected}}
    assert cloud.tags(lab, COPY) == {**TAGS, "type": "CDROM"}
    assert cloud.tags(lab, IMAGE) == {"virt": "one", "nloc": "one"}
    assert cloud.links(lab, "node1") == {"disk.0": COPY}
    assert lab.read_volume(COPY, 5) == b"hello"


@pytest.mark.parametrize("trouble", ["foreign", "missing", "dead host", "client down"])
def test_what_failed_leaves_the_image_as_it_was(lab: Lab, trouble: str) -> None:
    _, command = ready(lab)
    if trouble == "foreign":
        lab.storpool(f"VolumeUpdate/{IMAGE}", {"tags": {"nloc": "two"}})
    elif trouble == "missing":
        lab.storpool(f"VolumeDelete/{IMAGE}", {})
    elif trouble == "dead host":
        lab.hosts.nodes["node1"].power_off()
    else:
        lab.configure(ATTACH_TIMEOUT=1)
        lab.simulator.set_client(11, "down")
    line = cloud.refused(lab, command)
    assert (IMAGE if trouble != "dead host" else "node1") in line
