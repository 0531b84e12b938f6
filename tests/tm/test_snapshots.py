"""Snapshots of disks: exactly the one that is meant, with real bytes, and nothing that cannot be had back."""

from __future__ import annotations

import os

import pytest

from storpool_addon.lab.chain import LINEAR, MIXED, Chain
from storpool_addon.lab.command import Command, StepFailed, Steps
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.simulator.faults import Fault, Verdict
from storpool_addon.simulator.switches import Switches
from tests.cli import test_deleted
from tests.sweep import scene
from tests.tm import cloud

OURS, THEIRS = {"virt": "one", "nloc": "one"}, {"virt": "one", "nloc": "two"}
COPY, IMAGE = "one-img-7-42-0", "one-img-7"


def machine(lab: Lab, kind: str = "OS", state: str = "off") -> Vm:
    """A VM with one disk, an image of that type or "persistent"; "off", "suspended" or "running"."""
    image = lab.give_image(
        persistent=kind == "persistent", type="CDROM" if kind == "CDROM" else "OS", content=b"first"
    )
    vm = scene.machine(lab, image)
    if state == "off":
        lab.vms.poweroff(vm)
    elif state == "suspended":
        lab.vms.suspend(vm)
    return vm


def write(lab: Lab, volume: str, content: bytes) -> None:
    """As the guest would."""
    path = lab.hosts.nodes["node1"].device(volume)
    with open(path, "r+b") as device:
        device.write(content)


def content(lab: Lab, volume: str) -> bytes:
    with open(lab.hosts.nodes["node1"].device(volume), "rb") as device:
        return device.read(5)


def taken(lab: Lab, vm: Vm, *contents: bytes, volume: str = COPY) -> None:
    """A snapshot of each content, one after the other."""
    for each in contents:
        write(lab, volume, each)
        lab.do(lab.disk_snapshots.create(vm, 0))


def kept(lab: Lab) -> dict[str, dict[str, object]]:
    """What is kept of data that were thrown away."""
    return {name: each for name, each in cloud.snapshots(lab).items() if "-deleted-" in name}


def named(lab: Lab) -> set[str]:
    return {name for name in cloud.snapshots(lab) if "-deleted-" not in name}


def step(steps: Steps[object], name: str) -> Command:
    return scene.upto(steps, name)


# Taking


@pytest.mark.parametrize(
    ("state", "kind", "volume"),
    [("off", "OS", COPY), ("suspended", "persistent", IMAGE), ("running", "OS", COPY)],
)
def test_a_snapshot_is_taken_once_and_says_whose_it_is(lab: Lab, state: str, kind: str, volume: str) -> None:
    vm = machine(lab, kind, state)
    script = "snap_create_live" if state == "running" else "snap_create"
    result = cloud.succeeds(lab, step(lab.disk_snapshots.create(vm, 0), script), times=3)
    snapshot = cloud.snapshots(lab)[f"{volume}-snap0"]
    date = str(vm.chains[0].entries[0].values(active=False)["DATE"])
    assert snapshot["tags"] == {**OURS, "nvm": "42", "snapdate": date} and not snapshot["targetDeleteDate"]
    assert cloud.kinds(result) == {"rpc": 3, "api": 2} and not cloud.asks_for_lists(result)
    assert cloud.attached(lab, volume) == {volume: {"node1": "rw"}}


@pytest.mark.parametrize("has_tags", [True, False])
def test_a_snapshot_that_stayed_is_not_taken_for_the_next_of_its_name(lab: Lab, has_tags: bool) -> None:
    """OpenNebula counts from 0 again when the last snapshot of a disk is gone."""
    vm = machine(lab)
    taken(lab, vm, b"AAAAA")
    if not has_tags:
        lab.storpool(f"SnapshotUpdate/{COPY}-snap0", {"tags": {"snapdate": ""}})
    vm.chains[0] = Chain()
    line = cloud.refused(lab, step(lab.disk_snapshots.create(vm, 0), "snap_create"))
    assert f"snapshot {COPY}-snap0 exists and is not this one" in line


def test_a_snapshot_that_opennebula_does_not_know(lab: Lab) -> None:
    command = step(lab.disk_snapshots.create(machine(lab), 0), "snap_create")
    command = command._replace(args=(command.args[0], "5", *command.args[2:]))
    assert "OpenNebula knows no snapshot 5 of disk 0 of VM 42" in cloud.refused(lab, command)


def test_a_snapshot_holds_what_the_disk_held(lab: Lab) -> None:
    vm = machine(lab, state="running")
    taken(lab, vm, b"AAAAA", b"BBBBB")
    assert vm.chains[0].entries.keys() == {0, 1} and vm.chains[0].active == 1
    lab.storpool("VolumeCreate", {"name": "look", "parent": f"{COPY}-snap0"})
    assert lab.read_volume("look", 5) == b"AAAAA" and content(lab, COPY) == b"BBBBB"


@pytest.mark.parametrize(("kind", "word"), [("CDROM", "CDROM"), ("raw", "volatile")])
def test_disks_that_have_no_snapshots(lab: Lab, kind: str, word: str) -> None:
    vm = scene.machine(lab, Volatile(4)) if kind == "raw" else machine(lab, kind)
    command = Command("tm/storpool/snap_create", (f"node1:{vm.home}/disk.0", "0", "42", "101"))
    if kind == "raw":
        command = command._replace(args=(*command.args[:3], "100"))
    assert word in cloud.refused(lab, command)


LIMITS = [
    # configuration, system datastore, image datastore, VM: how many there may be, and who says so
    (("1", "", "", ""), 1, "addon-storpoolrc:1"),
    (("1", "2", "", ""), 2, "datastore 100"),
    (("1", "2", "1", ""), 1, "datastore 101"),
    (("1", "2", "1", "2"), 2, "VM 42"),
    (("9", "", "", "0"), 0, "VM 42"),
    (("", "0", "", ""), 0, "datastore 100"),
]


def test_limits(lab: Lab) -> None:
    vm = machine(lab)
    carriers = (lab.oned.datastores[100].attributes, lab.oned.datastores[101].attributes, vm.user_attributes)
    for limits, most, whose in LIMITS:
        lab.configure(**({"DISKSNAPSHOT_LIMIT": limits[0]} if limits[0] else {}))
        for carrier, text in zip(carriers, limits[1:]):
            carrier["DISKSNAPSHOT_LIMIT"] = text
        vm.chains[0] = chain = Chain()
        for _ in range(most):
            chain.create("", 4)
        line = cloud.refused(lab, step(lab.disk_snapshots.create(vm, 0), "snap_create"))
        words = "no snapshots" if most == 0 else f"at most {most} snapshots"
        assert f"disk 0 of VM 42 may have {words} (DISKSNAPSHOT_LIMIT of " in line and whose in line


def test_up_to_the_limit_and_without_one(lab: Lab) -> None:
    vm = machine(lab)
    vm.user_attributes["DISKSNAPSHOT_LIMIT"] = "1"
    lab.do(lab.disk_snapshots.create(vm, 0))
    vm.user_attributes["DISKSNAPSHOT_LIMIT"] = ""
    lab.do(lab.disk_snapshots.create(vm, 0))
    assert named(lab) == {f"{COPY}-snap0", f"{COPY}-snap1"}


def test_a_limit_that_is_no_number(lab: Lab) -> None:
    vm = machine(lab)
    vm.user_attributes["DISKSNAPSHOT_LIMIT"] = "many"
    line = cloud.refused(lab, step(lab.disk_snapshots.create(vm, 0), "snap_create"))
    assert "VM 42: DISKSNAPSHOT_LIMIT is 'many'" in line


# Holding the guest still

VIRSH = """#!/bin/bash
echo "$3 $4" >>/var/tmp/virsh
[ "$3" != "$(cat /var/tmp/refuses 2>/dev/null)" ] || { echo "error: agent is not connected" >&2; exit 1; }
"""


def with_virsh(lab: Lab) -> None:
    path = os.path.join(lab.directory, "hostbin", "virsh")
    with open(path, "w") as file:
        file.write(VIRSH)
    os.chmod(path, 0o755)


def said(lab: Lab) -> list[str]:
    return lab.hosts.nodes["node1"].run("cat /var/tmp/virsh 2>/dev/null").stdout.splitlines()


@pytest.mark.parametrize("wanted", ["1", "0"])
def test_the_guest_is_held_still_for_a_live_snapshot(lab: Lab, wanted: str) -> None:
    lab.configure(DISK_SNAPSHOT_FSFREEZE=wanted)
    with_virsh(lab)
    vm = machine(lab, state="running")
    cloud.succeeds(lab, step(lab.disk_snapshots.create(vm, 0), "snap_create_live"))
    words = [f"domfsfreeze {vm.deploy_id}", f"domfsthaw {vm.deploy_id}"]
    assert said(lab) == (words if wanted == "1" else [])
    assert named(lab) == {f"{COPY}-snap0"}


def test_a_guest_that_cannot_be_held_is_snapshotted_all_the_same(lab: Lab) -> None:
    lab.configure(DISK_SNAPSHOT_FSFREEZE=1)
    with_virsh(lab)
    lab.hosts.nodes["node1"].write("/var/tmp/refuses", "domfsfreeze")
    vm = machine(lab, state="running")
    cloud.succeeds(lab, step(lab.disk_snapshots.create(vm, 0), "snap_create_live"))
    assert said(lab)[-1] == f"domfsthaw {vm.deploy_id}" and named(lab) == {f"{COPY}-snap0"}


# Deleting


@pytest.mark.parametrize("state", ["off", "running"])
def test_a_snapshot_goes_and_its_neighbours_stay(lab: Lab, state: str) -> None:
    """D-2: snapshot 1 is not snapshot 11, and not that of another instance."""
    vm = machine(lab, state=state)
    taken(lab, vm, b"AAAAA", b"BBBBB")
    for name in (f"{COPY}-snap11", f"a-{COPY}-snap1", f"{COPY}-snap1-b"):
        lab.storpool(f"VolumeSnapshot/{COPY}", {"name": name, "tags": OURS})
    before = named(lab)
    result = cloud.succeeds(lab, step(lab.disk_snapshots.delete(vm, 0, 1), "snap_delete"), times=3)
    assert named(lab) == before - {f"{COPY}-snap1"} and content(lab, COPY) == b"BBBBB"
    assert not cloud.asks_for_lists(result)


def test_a_snapshot_with_children_goes(lab: Lab) -> None:
    """StorPool removes it by and by, under a name with a star before it."""
    lab.simulator.cluster.switches = Switches(deletion_delay_s=30.0)
    vm = machine(lab)
    taken(lab, vm, b"AAAAA")
    for name in ("child-1", "child-2"):
        lab.storpool("VolumeCreate", {"name": name, "parent": f"{COPY}-snap0", "tags": OURS})
    lab.do(lab.disk_snapshots.delete(vm, 0, 0))
    assert f"*{COPY}-snap0" in {each["name"] for each in lab.storpool("SnapshotsList")}
    taken(lab, vm, b"BBBBB")
    cloud.succeeds(lab, step(lab.vms.terminate(vm), "delete"), times=2)
    assert named(lab) == set() and lab.read_volume("child-1", 5) == b"AAAAA"


def test_a_snapshot_of_another_instance_stays(lab: Lab) -> None:
    vm = machine(lab)
    lab.storpool(f"VolumeSnapshot/{COPY}", {"name": f"{COPY}-snap0", "tags": THEIRS})
    vm.chains[0] = lab.disk_snapshots.chain(vm, 0)
    vm.chains[0].create("", 4)
    line = cloud.refused(lab, step(lab.disk_snapshots.delete(vm, 0, 0), "snap_delete"))
    assert f"snapshot {COPY}-snap0 is not ours" in line


# Reverting


@pytest.mark.parametrize(
    ("keeps", "kind", "volume"), [(True, "OS", COPY), (False, "OS", COPY), (False, "persistent", IMAGE)]
)
def test_a_disk_becomes_what_it_was(lab: Lab, keeps: bool, kind: str, volume: str) -> None:
    """D-7, D-18: name, global id, tags, class, template and limits stay, whatever StorPool does with them."""
    switches = {"revert_keeps_tags": keeps, "revert_keeps_limits": keeps, "revert_size": keeps}
    lab.simulator.cluster.switches = Switches().set(switches)
    vm = machine(lab, kind)
    taken(lab, vm, b"AAAAA", b"BBBBB", volume=volume)
    write(lab, volume, b"CCCCC")
    lab.storpool(f"VolumeUpdate/{volume}", {"tags": {"qc": "gold", "own": "word"}, "iops": 500, "bw": 7})
    before = cloud.volume(lab, volume)
    result = cloud.succeeds(lab, step(lab.disk_snapshots.revert(vm, 0, 0), "snap_revert"), times=3)
    after = cloud.volume(lab, volume)
    same = ("globalId", "size", "tags", "templateName", "iops", "bw")
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    assert content(lab, volume) == b"AAAAA" and named(lab) == {f"{volume}-snap0", f"{volume}-snap1"}
    assert cloud.attached(lab, volume) == {volume: {"node1": "rw"}}
    assert cloud.links(lab, "node1")["disk.0"] == volume
    assert not cloud.asks_for_lists(result)


def test_what_a_revert_throws_away_can_be_had_back(lab: Lab) -> None:
    """Each revert keeps its own; a repeat of one keeps nothing more."""
    vm = machine(lab)
    taken(lab, vm, b"AAAAA")
    for text in (b"CCCCC", b"DDDDD"):
        write(lab, COPY, text)
        command = step(lab.disk_snapshots.revert(vm, 0, 0), "snap_revert")
        cloud.succeeds(lab, command, times=2)
        lab.vms.poweroff(vm)
    found = kept(lab)
    assert len(found) == 2
    for each in found.values():
        assert each["tags"]["deleted"] == COPY and each["tags"]["nvm"] == "42" and each["targetDeleteDate"]
    for number, name in enumerate(found):
        assert test_deleted.run(lab, "undelete", name, "--as", f"look-{number}") == (
            0,
            f"look-{number}\n",
            "",
        )
    assert {lab.read_volume(f"look-{number}", 5) for number in range(2)} == {b"CCCCC", b"DDDDD"}


def test_nothing_is_kept_where_deletion_is_not_delayed(lab: Lab) -> None:
    lab.configure(DELAY_DELETE="")
    vm = machine(lab)
    taken(lab, vm, b"AAAAA")
    write(lab, COPY, b"CCCCC")
    cloud.succeeds(lab, step(lab.disk_snapshots.revert(vm, 0, 0), "snap_revert"), times=2)
    assert kept(lab) == {} and content(lab, COPY) == b"AAAAA"


@pytest.mark.parametrize("knows", [True, False])
def test_a_disk_that_was_grown_keeps_its_size(lab: Lab, knows: bool) -> None:
    """D-19: oned has no call that makes a disk smaller, and its database is not ours to write."""
    lab.simulator.cluster.switches = Switches(revert_size=knows)
    vm = machine(lab)
    taken(lab, vm, b"AAAAA")
    lab.do(lab.vms.resize_disk(vm, 0, 8))
    write(lab, COPY, b"CCCCC")
    lab.do(lab.disk_snapshots.revert(vm, 0, 0))
    assert cloud.volume(lab, COPY)["size"] == int(vm.disks[0]["SIZE"]) << 20 == 8 << 20
    assert content(lab, COPY) == b"AAAAA"
    lab.do(lab.vms.terminate(vm))
    assert named(lab) == set()


@pytest.mark.parametrize(("orphans", "left"), [(MIXED, {0, 1, 2}), (LINEAR, {0})])
def test_what_oned_forgets_after_a_revert_goes(lab: Lab, orphans: str, left: set[int]) -> None:
    vm = machine(lab)
    vm.disks[0]["ALLOW_ORPHANS"] = orphans
    taken(lab, vm, b"AAAAA", b"BBBBB", b"CCCCC")
    lab.storpool(f"VolumeSnapshot/{COPY}", {"name": f"{COPY}-snap20", "tags": OURS})
    command = step(lab.disk_snapshots.revert(vm, 0, 0), "snap_revert")
    cloud.succeeds(lab, command, times=2)
    assert named(lab) == {f"{COPY}-snap{each}" for each in left | {20}}
    vm.chains[0].activate(0, revert=True)
    assert set(vm.chains[0].entries) == left


def test_without_the_snapshot_nothing_is_touched(lab: Lab) -> None:
    lab.simulator.cluster.switches = Switches(deletion_delay_s=60.0)
    vm = machine(lab)
    taken(lab, vm, b"AAAAA")
    lab.storpool(f"SnapshotDelete/{COPY}-snap0", {})
    command = step(lab.disk_snapshots.revert(vm, 0, 0), "snap_revert")
    assert f"snapshot {COPY}-snap0 does not exist in StorPool" in cloud.refused(lab, command)


@pytest.mark.parametrize(("host", "attached_is"), [("node1", "allow"), ("node2", "busy")])
def test_a_guest_that_runs_keeps_its_disk(lab: Lab, host: str, attached_is: str) -> None:
    lab.simulator.cluster.switches = Switches(revert_attached=attached_is)
    vm = machine(lab)
    taken(lab, vm, b"AAAAA")
    write(lab, COPY, b"CCCCC")
    cloud.attach(lab, COPY, host)
    lab.simulator.mark_open({"node1": 11, "node2": 12}[host], COPY)
    command = step(lab.disk_snapshots.revert(vm, 0, 0), "snap_revert")
    assert "is open at client" in cloud.refused(lab, command)
    assert cloud.attached(lab, COPY) == {COPY: {host: "rw"}}


def test_a_revert_that_fails_gives_the_disk_back(lab: Lab) -> None:
    vm = machine(lab)
    taken(lab, vm, b"AAAAA")
    write(lab, COPY, b"CCCCC")
    lab.simulator.faults.set([Fault(Verdict.error("insufficientResources"), "VolumeRevert", times=0)])
    with pytest.raises(StepFailed, match="VolumeRevert"):
        lab.do(lab.disk_snapshots.revert(vm, 0, 0))
    assert cloud.attached(lab, COPY) == {COPY: {"node1": "rw"}} and content(lab, COPY) == b"CCCCC"


def test_what_may_be_refused_is_refused_before_the_revert(lab: Lab) -> None:
    """The tags that an interrupted revert has let get lost cannot be written anew."""
    lab.simulator.cluster.switches = Switches(revert_keeps_tags=False, revert_attached="allow")
    vm = machine(lab)
    taken(lab, vm, b"AAAAA")
    lab.storpool(f"VolumeRevert/{COPY}", {"toSnapshot": f"{COPY}-snap0"})
    write(lab, COPY, b"CCCCC")
    vm.user_attributes["VC_POLICY"] = "a/b"
    command = step(lab.disk_snapshots.revert(vm, 0, 0), "snap_revert")
    assert "tag vc-policy cannot be 'a/b'" in cloud.refused(lab, command)
    assert content(lab, COPY) == b"CCCCC"


# Where they stay when the disk goes


def test_the_snapshots_of_a_persistent_image_stay_with_it(lab: Lab) -> None:
    vm = machine(lab, "persistent")
    taken(lab, vm, b"AAAAA", volume=IMAGE)
    lab.do(lab.vms.terminate(vm))
    assert named(lab) == {f"{IMAGE}-snap0"} and set(lab.oned.images[7].chain.entries) == {0}
    another = lab.vms.create(lab.oned.images[7])
    lab.do(lab.vms.deploy(another, "node2"))
    lab.vms.poweroff(another)
    lab.do(lab.disk_snapshots.revert(another, 0, 0))
    assert cloud.attached(lab, IMAGE) == {IMAGE: {"node2": "rw"}}
    assert cloud.tags(lab, IMAGE)["nvm"] == str(another.id)


def test_snapshots_that_oned_does_not_give_to_the_image_go(lab: Lab) -> None:
    """PERSISTENT_SNAPSHOTS=NO: oned would give the next VM's snapshot the same number."""
    image = lab.give_image(persistent=True, content=b"first")
    first = scene.machine(lab, image)
    lab.vms.poweroff(first)
    taken(lab, first, b"AAAAA", volume=IMAGE)
    lab.do(lab.vms.terminate(first))
    second = lab.vms.create(image)
    second.disks[0]["PERSISTENT_SNAPSHOTS"] = "NO"
    lab.do(lab.vms.deploy(second, "node1"))
    taken(lab, second, b"BBBBB", volume=IMAGE)
    assert named(lab) == {f"{IMAGE}-snap0", f"{IMAGE}-snap1"}
    lab.do(lab.vms.terminate(second))
    assert named(lab) == {f"{IMAGE}-snap0"} and lab.read_volume(IMAGE, 5) == b"BBBBB"
