"""cpds: a disk becomes an image of its own, in every state that oned saves in; nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from storpool_addon.lab.objects import READY
from tests.tm import cloud

DISK, IMAGE = "one-img-7-42-0", "one-img-8"
TAGS = {"virt": "one", "nloc": "one"}


def running(lab: Lab, **kind: object) -> Vm:
    """A VM with one disk, into which its guest has written."""
    vm = lab.vms.create(lab.give_image(content=b"before", **kind), context=False)  # type: ignore[arg-type]
    lab.do(lab.vms.deploy(vm, "node1"))
    return vm


def write(lab: Lab, volume: str, content: bytes) -> None:
    with open(lab.hosts.nodes["node1"].device(volume), "r+b") as device:
        device.write(content)


def saving(lab: Lab, vm: Vm, snapshot_id: int = -1) -> Command:
    """The cpds of a disk-saveas, whose image is one-img-8."""
    return lab.until(lab.saving.disk_saveas(vm, 0, snapshot_id), "cpds")


def nothing(lab: Lab, vm: Vm) -> None:
    """It runs on."""


def suspend(lab: Lab, vm: Vm) -> None:
    lab.vms.suspend(vm)


def undeploy(lab: Lab, vm: Vm) -> None:
    lab.do(lab.vms.undeploy(vm))


@pytest.mark.parametrize("rest", [nothing, suspend, undeploy])
def test_whatever_the_vm_does(lab: Lab, rest: Callable[[Lab, Vm], None]) -> None:
    vm = running(lab)
    write(lab, DISK, b"after")
    rest(lab, vm)
    before = cloud.tags(lab, DISK), cloud.attached(lab), cloud.links(lab, "node1"), cloud.snapshots(lab)
    image = lab.do(lab.saving.disk_saveas(vm, 0))
    assert (image.source, image.format, image.state) == (f"one-ds-101/{IMAGE}", "raw", READY)
    assert lab.read_volume(IMAGE, 6) == b"aftere"
    assert before == (
        cloud.tags(lab, DISK),
        cloud.attached(lab),
        cloud.links(lab, "node1"),
        cloud.snapshots(lab),
    )
    assert cloud.volumes(lab) == {"one-img-7", DISK, IMAGE}


def test_a_new_image_like_any_other(lab: Lab) -> None:
    lab.configure(DEFAULT_QOSCLASS="base")
    lab.oned.datastores[101].attributes["SP_QOSCLASS"] = "gold"
    vm = running(lab)
    vm.user_attributes.update(VC_POLICY="daily", SP_QOSCLASS="silver")
    command = saving(lab, vm)
    assert command.args[:3] == ("node1:/var/lib/one//datastores/100/42/disk.0", f"one-ds-101/{IMAGE}", "-1")
    result = cloud.succeeds(lab, command, times=3)
    assert cloud.tags(lab, IMAGE) == {**TAGS, "qc": "gold"}
    assert cloud.parent(cloud.volume(lab, IMAGE)) == DISK
    assert cloud.attached(lab, IMAGE) == {IMAGE: {}}
    assert not cloud.asks_for_lists(result) and cloud.kinds(result) == {"rpc": 2, "api": 2}


@pytest.mark.parametrize(("keep", "expected"), [("1", "one-ds-101"), ("0", "one-ds-102")])
def test_into_another_datastore_of_the_cluster(lab: Lab, keep: str, expected: str) -> None:
    """oned takes that of the disk's image; its name has the last word."""
    lab.configure(NO_VOLUME_TEMPLATE=keep)
    lab.oned.add_image_datastore(102, "more")
    lab.storpool("VolumeTemplateCreate", {"name": "one-ds-102", "placeAll": "hdd", "replication": 3})
    vm = running(lab)
    command = saving(lab, vm)
    vm.disks[0].pop("HOTPLUG_SAVE_AS_SOURCE", None)
    target = command._replace(args=(command.args[0], f"one-ds-102/{IMAGE}", *command.args[2:]))
    cloud.succeeds(lab, target, times=2)
    assert cloud.volume(lab, IMAGE)["templateName"] == expected


def test_as_it_was_when_a_snapshot_was_taken(lab: Lab) -> None:
    vm = running(lab)
    lab.storpool(f"VolumeSnapshot/{DISK}", {"name": f"{DISK}-snap0", "tags": TAGS})
    write(lab, DISK, b"after")
    lab.do(lab.vms.resize_disk(vm, 0, 8))
    cloud.succeeds(lab, saving(lab, vm, 0), times=2)
    assert lab.read_volume(IMAGE, 6) == b"before"
    assert cloud.volume(lab, IMAGE)["size"] == 8 * cloud.MIB
    assert cloud.parent(cloud.volume(lab, IMAGE)) == f"{DISK}-snap0"


@pytest.mark.parametrize(("kind", "disk"), [({"persistent": True}, "one-img-7"), ({"type": "CDROM"}, DISK)])
def test_every_kind_of_disk(lab: Lab, kind: dict[str, object], disk: str) -> None:
    vm = running(lab, **kind)
    cloud.succeeds(lab, saving(lab, vm))
    assert cloud.parent(cloud.volume(lab, IMAGE)) == disk


WRONG = (
    ({1: ""}, 2, "is not the SOURCE of an image"),
    ({1: "two-ds-101/two-img-8"}, 2, "cannot be the SOURCE"),
    ({1: "one-ds-101/one-img-7"}, 2, "cannot be the SOURCE"),
    ({1: "one-ds-101/one-img-9"}, 1, f"is to be saved as one-ds-101/{IMAGE}, not as one-ds-101/one-img-9"),
    ({2: "3"}, 1, f"snapshot {DISK}-snap3 does not exist"),
)


def test_what_is_refused(lab: Lab) -> None:
    """D-2: no name, nobody else's name."""
    command = saving(lab, running(lab))
    before = cloud.picture(lab)
    for words, code, message in WRONG:
        args = tuple(words.get(index, word) for index, word in enumerate(command.args))
        assert message in cloud.fails(lab, command._replace(args=args), code=code)
    assert not cloud.differences(before, cloud.picture(lab))


def test_what_is_in_the_way_stays(lab: Lab) -> None:
    """D-2: nothing is deleted for it."""
    command = saving(lab, running(lab))
    cloud.foreign(lab, IMAGE, TAGS)
    assert "exists and is a clone of nothing" in cloud.refused(lab, command)
    lab.storpool(f"VolumeUpdate/{IMAGE}", {"tags": {"nloc": "two"}})
    assert "is not ours" in cloud.refused(lab, command)


# Holding the guest still

VIRSH = """#!/bin/bash
echo "$3 $4" >>/var/tmp/virsh
"""


@pytest.mark.parametrize(("wanted", "runs"), [("1", True), ("1", False), ("0", True)])
def test_the_guest_is_held_still_where_one_runs(lab: Lab, wanted: str, runs: bool) -> None:
    lab.configure(DISK_SAVEAS_FSFREEZE=wanted)
    program = Path(lab.directory, "hostbin", "virsh")
    program.write_text(VIRSH)
    program.chmod(0o755)
    vm = running(lab)
    if not runs:
        lab.vms.poweroff(vm)
    cloud.succeeds(lab, saving(lab, vm))
    said = lab.hosts.nodes["node1"].run("cat /var/tmp/virsh 2>/dev/null").stdout.splitlines()
    held = wanted == "1" and runs
    assert said == ([f"domfsfreeze {vm.deploy_id}", f"domfsthaw {vm.deploy_id}"] if held else [])
