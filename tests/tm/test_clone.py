"""clone: a private copy of an image, with the size, the tags and the place that the VM's disk asks for."""

from __future__ import annotations

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.simulator.faults import Fault, Verdict
from tests.sweep import scene
from tests.tm import cloud

NAME = "one-img-7-42-0"
TAGS = {"virt": "one", "nloc": "one", "nvm": "42", "type": "NPERS", "diskid": "0"}


def ready(lab: Lab, *, size_mib: int = 0, image_mib: int = 4, **attributes: str) -> tuple[Vm, Command]:
    """A VM whose only disk is a copy of an image, and the command that makes it."""
    vm = lab.vms.create(lab.give_image(size_mib=image_mib, content=b"hello"), **attributes)
    if size_mib:
        vm.disks[0]["SIZE"] = str(size_mib)
    return vm, scene.upto(lab.vms.deploy(vm, "node1"), "clone")


def test_the_disk_is_whole_and_stays_so(lab: Lab) -> None:
    _, command = ready(lab)
    result = cloud.succeeds(lab, command, times=3)
    found = cloud.volume(lab, NAME)
    assert (found["size"], cloud.parent(found)) == (4 * cloud.MIB, "one-img-7")
    assert cloud.tags(lab, NAME) == TAGS
    assert cloud.attached(lab) == {NAME: {"node1": "rw"}}
    assert cloud.links(lab, "node1") == {"disk.0": NAME}
    assert lab.read_volume(NAME, 5) == b"hello"
    assert cloud.kinds(result) == {"rpc": 3, "api": 2, "ssh": 1}
    assert not cloud.asks_for_lists(result)


def test_the_image_is_not_written_through_the_copy(lab: Lab) -> None:
    _, command = ready(lab)
    cloud.succeeds(lab, command)
    with open(lab.hosts.nodes["node1"].device(NAME), "r+b") as device:
        device.write(b"other")
    assert lab.read_volume("one-img-7", 5) == b"hello"


@pytest.mark.parametrize(("size_mib", "expected"), [(8, 8), (4, 4), (2, 4), (0, 4)])
def test_a_disk_may_be_larger_than_its_image_and_never_smaller(
    lab: Lab, size_mib: int, expected: int
) -> None:
    _, command = ready(lab, size_mib=size_mib)
    cloud.succeeds(lab, command, times=2)
    assert cloud.volume(lab, NAME)["size"] == expected * cloud.MIB


def test_a_template_is_given_only_where_the_site_wants_it(lab: Lab) -> None:
    lab.storpool("VolumeTemplateCreate", {"name": "of-the-image", "replication": 3})
    _, command = ready(lab)
    lab.storpool("VolumeUpdate/one-img-7", {"template": "of-the-image"})
    cloud.succeeds(lab, command)
    assert cloud.volume(lab, NAME)["templateName"] == "of-the-image"
    lab.storpool("VolumesReassignWait", {"reassign": [{"volume": NAME, "detach": "all"}]})
    lab.storpool(f"VolumeDelete/{NAME}", {})
    lab.configure(NO_VOLUME_TEMPLATE=0)
    cloud.succeeds(lab, command)
    assert cloud.volume(lab, NAME)["templateName"] == "one-ds-101"


@pytest.mark.parametrize(
    ("there", "wanted", "message"),
    [
        ({"nvm": "41"}, {}, "nvm is '41', not '42'"),
        ({"diskid": "1"}, {}, "diskid is '1', not '0'"),
        ({"nloc": "two"}, {}, "is not ours"),
        ({}, {"parent": ""}, "clone of nothing, not of one-img-7"),
    ],
)
def test_another_volume_of_that_name_is_left_alone(
    lab: Lab, there: dict[str, str], wanted: dict[str, str], message: str
) -> None:
    _, command = ready(lab)
    origin: dict[str, object] = {"size": 4 * cloud.MIB, "template": "one-ds-101"}
    body = {"baseOn": "one-img-7"} if "parent" not in wanted else origin
    lab.storpool("VolumeCreate", {"name": NAME, "tags": {**TAGS, **there}, **body})
    line = cloud.refused(lab, command)
    assert NAME in line and message in line


def test_a_snapshot_of_that_name_is_in_the_way(lab: Lab) -> None:
    _, command = ready(lab)
    lab.storpool("VolumeSnapshot/one-img-7", {"name": NAME, "tags": TAGS})
    assert "StorPool has a snapshot of that name" in cloud.refused(lab, command)


def test_disk_ids_may_have_holes_and_go_beyond_the_alphabet(lab: Lab) -> None:
    image = lab.give_image()
    vm = lab.vms.create(*[Volatile(1)] * 27, image, context=False)
    for disk_id in range(3, 20):
        del vm.disks[disk_id]
    command = scene.upto(lab.vms.deploy(vm, "node1"), "clone")
    cloud.succeeds(lab, command)
    assert cloud.links(lab, "node1") == {"disk.27": "one-img-7-42-27"}
    assert cloud.tags(lab, "one-img-7-42-27")["diskid"] == "27"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"SP_QOSCLASS": "gold"}, {"qc": "gold"}),
        ({"SP_QOSCLASS": "gold;1:iron;0:silver"}, {"qc": "silver"}),
        ({"SP_QOSCLASS": "1:iron"}, {"qc": "system"}),
        ({}, {"qc": "system"}),
        ({"VC_POLICY": "daily"}, {"qc": "system", "vc-policy": "daily"}),
    ],
)
def test_policies_of_the_vm(lab: Lab, attributes: dict[str, str], expected: dict[str, str]) -> None:
    lab.oned.datastores[100].attributes["SP_QOSCLASS"] = "system"
    lab.oned.datastores[101].attributes["SP_QOSCLASS"] = "never"
    _, command = ready(lab, **attributes)
    cloud.succeeds(lab, command)
    assert cloud.tags(lab, NAME) == {**TAGS, **expected}


def test_the_sites_own_names_and_tags(lab: Lab) -> None:
    lab.configure(VM_TAG="vm", LOC_TAG="where", LOC_TAG_VAL="here", DEFAULT_QOSCLASS="base")
    _, command = ready(lab)
    cloud.succeeds(lab, command, times=2)
    assert cloud.tags(lab, NAME) == {
        "virt": "one", "where": "here", "vm": "42", "type": "NPERS", "diskid": "0", "qc": "base"
    }  # fmt: skip


@pytest.mark.parametrize(("mode", "expected"), [("rw", "rw"), ("ro", "ro")])
def test_a_read_only_disk(lab: Lab, mode: str, expected: str) -> None:
    lab.configure(READONLY_MODE=mode)
    vm, command = ready(lab)
    vm.disks[0]["READONLY"] = "YES"
    cloud.succeeds(lab, command, times=2)
    assert cloud.attached(lab) == {NAME: {"node1": expected}}
    assert cloud.tags(lab, NAME)["type"] == "NPERSRO"


def test_called_with_the_suffix_of_another_system_datastore(lab: Lab) -> None:
    vm, _ = ready(lab)
    vm.disks[0]["TM_MAD_SYSTEM"] = "storpool"
    command = scene.upto(lab.vms.deploy(vm, "node1"), "clone")
    assert command.script == "tm/storpool/clone"
    cloud.succeeds(lab, command)


@pytest.mark.parametrize(
    ("what", "message"),
    [("image", "one-img-7"), ("client", f"{NAME}: Timed out waiting for client 11"), ("host", "node1")],
)
def test_what_failed_leaves_nothing(lab: Lab, what: str, message: str) -> None:
    _, command = ready(lab)
    if what == "image":
        lab.storpool("VolumeDelete/one-img-7", {})
    elif what == "client":
        lab.configure(ATTACH_TIMEOUT=1)
        lab.simulator.set_client(11, "down")
    else:
        lab.hosts.nodes["node1"].power_off()
    assert message in cloud.refused(lab, command)


def test_what_cannot_be_undone_is_said(lab: Lab) -> None:
    _, command = ready(lab)
    lab.hosts.nodes["node1"].power_off()
    lab.simulator.faults.set([Fault(Verdict.error("busy"), "VolumeDelete", times=0)])
    line = cloud.fails(lab, command)
    assert f"could not undo this: delete volume {NAME}" in line
