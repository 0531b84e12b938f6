"""delete and mvds: exactly the disk that is meant goes, can be had back, and its neighbours stay."""

from __future__ import annotations

import os
import time

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.simulator.faults import Fault, Verdict
from tests.sweep import scene
from tests.tm import cloud

OURS, THEIRS = {"virt": "one", "nloc": "one"}, {"virt": "one", "nloc": "two"}
COPY = "one-img-7-42-0"


def machine(lab: Lab, kind: str = "OS", **attributes: str) -> Vm:
    """A running VM with one disk: an image of that type, "persistent", "raw" or "swap"."""
    if kind in ("raw", "swap"):
        return scene.machine(lab, Volatile(4, "swap" if kind == "swap" else "fs"))
    image = lab.give_image(
        persistent=kind == "persistent", type="CDROM" if kind == "CDROM" else "OS", content=b"hello"
    )
    return scene.machine(lab, image)


def delete(vm: Vm, disk_id: int | None = 0, datastore: int = 101) -> Command:
    """`delete` of a disk, or of the directory, as oned writes it."""
    path = f"{vm.here.host}:{vm.home}" + ("" if disk_id is None else f"/disk.{disk_id}")
    return Command("tm/storpool/delete", (path, str(vm.id), str(100 if disk_id is None else datastore)))


@pytest.mark.parametrize(
    ("kind", "volume", "datastore", "kept"),
    [
        ("OS", COPY, 101, True),
        ("CDROM", COPY, 101, False),
        ("raw", "one-sys-42-0-raw", 100, True),
        ("swap", "one-sys-42-0-swap", 100, True),
    ],
)
def test_a_disk_goes_and_may_be_had_back(
    lab: Lab, kind: str, volume: str, datastore: int, kept: bool
) -> None:
    vm = machine(lab, kind)
    if kind == "OS":
        lab.simulator.mark_open(11, volume)
    gid = cloud.volume(lab, volume)["globalId"]
    others = cloud.volumes(lab) - {volume}
    result = cloud.succeeds(lab, delete(vm, datastore=datastore), times=3)
    assert cloud.volumes(lab) == others
    assert "disk.0" not in cloud.links(lab, "node1") and "disk.1" in cloud.links(lab, "node1")
    assert cloud.attached(lab) == {"one-sys-42-1-iso": {"node1": "rw"}}
    assert not cloud.asks_for_lists(result) and cloud.kinds(result)["ssh"] == 1
    found = cloud.snapshots(lab)
    assert set(found) == ({f"{volume}-deleted-{gid}"} if kept else set())
    for each in found.values():
        assert each["tags"]["deleted"] == volume and each["tags"]["nvm"] == "42"
        assert abs(each["targetDeleteDate"] - time.time() - 48 * 3600) < 60


@pytest.mark.parametrize(("delay", "hours"), [("", 0), ("2h", 2), ("3d", 72)])
def test_how_long_a_deleted_disk_is_kept(lab: Lab, delay: str, hours: int) -> None:
    lab.configure(DELAY_DELETE=delay)
    cloud.succeeds(lab, delete(machine(lab)))
    found = list(cloud.snapshots(lab).values())
    assert [round((each["targetDeleteDate"] - time.time()) / 3600) for each in found] == [hours] * bool(hours)


def test_a_persistent_image_stays_and_is_nobodys(lab: Lab) -> None:
    lab.configure(DEFAULT_QOSCLASS="base")
    vm = machine(lab, "persistent")
    lab.storpool("VolumeUpdate/one-img-7", {"tags": {"vc-policy": "daily", "own": "word"}})
    cloud.succeeds(lab, delete(vm), times=3)
    assert cloud.tags(lab, "one-img-7") == {**OURS, "qc": "base", "own": "word"}
    assert cloud.attached(lab, "one-img-7") == {"one-img-7": {}}
    assert "disk.0" not in cloud.links(lab, "node1")
    assert cloud.snapshots(lab) == {} and lab.read_volume("one-img-7", 5) == b"hello"


@pytest.mark.parametrize("user", ["77", ""])
def test_an_image_that_another_runs_from_is_not_taken_away(lab: Lab, user: str) -> None:
    """The VM was refused its disk because it is open elsewhere; its clean-up must not detach it there."""
    vm = machine(lab, "persistent")
    lab.storpool("VolumeUpdate/one-img-7", {"tags": {"nvm": user}})
    lab.storpool("VolumesReassignWait", {"reassign": [{"volume": "one-img-7", "rw": [12], "detach": "all"}]})
    lab.simulator.mark_open(12, "one-img-7")
    result = lab.run(delete(vm))
    assert result.exit_code == (0 if user else 1), result
    assert ("is open at client 12" in result.stderr) == (not user)
    assert cloud.attached(lab)["one-img-7"] == {"node2": "rw"}
    assert cloud.volume(lab, "one-img-7")["tags"].get("nvm", "") == user


@pytest.mark.parametrize(("image", "expected"), [({"SP_QOSCLASS": "gold"}, "gold"), ({}, "of-the-datastore")])
def test_mvds_gives_an_image_back(lab: Lab, image: dict[str, str], expected: str) -> None:
    lab.oned.datastores[101].attributes["SP_QOSCLASS"] = "of-the-datastore"
    vm = machine(lab, "persistent")
    lab.oned.images[7].attributes.update(image)
    command = scene.upto(lab.vms.terminate(vm), "mvds")
    result = cloud.succeeds(lab, command, times=3)
    assert cloud.tags(lab, "one-img-7") == {**OURS, "qc": expected}
    assert cloud.attached(lab, "one-img-7") == {"one-img-7": {}}
    assert "disk.0" not in cloud.links(lab, "node1")
    assert not cloud.asks_for_lists(result)


def test_mvds_of_a_saved_copy_makes_it_the_image(lab: Lab) -> None:
    """A deferred save-as: the VM's own volume becomes a new image's."""
    vm = machine(lab)
    target = ("one-ds-101/one-img-9", "42", "101")
    command = Command("tm/storpool/mvds", (f"node1:{vm.home}/disk.0", *target))
    cloud.succeeds(lab, command, times=2)
    assert cloud.volumes(lab) == {"one-img-7", "one-img-9", "one-sys-42-1-iso"}
    assert cloud.tags(lab, "one-img-9") == OURS


NEIGHBOURS = (
    # D-1: disk 1 and disks 1x, VM 42 and VM 42x.
    *((f"one-img-7-42-{number}", OURS, f"one-img-7-42-{number}-snap0") for number in (10, 11, 19)),
    ("one-img-7-421-1", OURS, "one-img-7-421-1-snap0"),
    ("one-sys-42-10-raw", OURS, "one-sys-42-10-raw-snap0"),
    # D-2: names that contain ours, and another instance's.
    ("a-one-img-7-42-1", THEIRS, "a-one-img-7-42-1-snap0"),
    ("one-img-7-42-1-b", THEIRS, "one-img-7-42-1-snap00"),
    ("one-sys-42-1-rawb", THEIRS, "one-img-7-42-1-ONESNAP-0-17690000001"),
)


@pytest.mark.parametrize("kind", ["OS", "raw"])
def test_neighbours_stay(lab: Lab, kind: str) -> None:
    """D-1, D-2."""
    disk = Volatile(4) if kind == "raw" else lab.give_image()
    vm = scene.machine(lab, lab.give_image(), disk)
    vm.disks[1] = {**vm.disks[1], "DISK_ID": "1"}
    for name, tags, snapshot in NEIGHBOURS:
        cloud.foreign(lab, name, tags, snapshot)
    own = "one-sys-42-1-raw" if kind == "raw" else f"one-img-{vm.disks[1]['IMAGE_ID']}-42-1"
    before, snapshots = cloud.volumes(lab), set(cloud.snapshots(lab))
    cloud.succeeds(lab, delete(vm, 1, 100 if kind == "raw" else 101), times=2)
    assert cloud.volumes(lab) == before - {own}
    assert {name for name in cloud.snapshots(lab) if "-deleted-" not in name} == snapshots


def with_snapshots(lab: Lab) -> Vm:
    """A VM with disk snapshots 0 and 3 and VM snapshot 5, and others of which oned knows nothing."""
    vm = machine(lab)
    vm.attributes["SNAPSHOT"] = [
        {"SNAPSHOT_ID": "5", "HYPERVISOR_ID": "ONESNAP-5-1769", "NAME": "x", "ACTIVE": "YES"}
    ]
    for suffix in ("snap0", "snap3", "snap30", "ONESNAP-5-1769", "ONESNAP-5-17690"):
        # The bash addon's disk snapshots have no tags.
        tags = {} if suffix == "snap0" else OURS
        lab.storpool(f"VolumeSnapshot/{COPY}", {"name": f"{COPY}-{suffix}", "tags": tags})
    return vm


@pytest.mark.parametrize(("lcm", "goes"), [(11, True), (15, False), (23, True)])
def test_snapshots_go_with_their_disk_by_their_exact_names(lab: Lab, lcm: int, goes: bool) -> None:
    vm = with_snapshots(lab)
    vm.lcm_state = lcm
    with_document(vm, "<SNAPSHOTS><DISK_ID><![CDATA[0]]></DISK_ID>" + "".join(snapshot(n) for n in (0, 3)))
    cloud.succeeds(lab, delete(vm), times=2)
    left = {name for name in cloud.snapshots(lab) if "-deleted-" not in name}
    expected = {f"{COPY}-snap30", f"{COPY}-ONESNAP-5-17690"}
    assert left == (expected if goes else expected | {f"{COPY}-ONESNAP-5-1769"})


def snapshot(number: int) -> str:
    return f"<SNAPSHOT><ID><![CDATA[{number}]]></ID><SIZE>4</SIZE></SNAPSHOT>"


def with_document(vm: Vm, opening: str) -> None:
    """Let oned's document of the VM have one more element, which the lab's records do not know."""
    plain = type(vm).document

    def document(version: str, *, whole_history: bool = True) -> str:
        text = plain(vm, version, whole_history=whole_history)
        return text.replace("<HISTORY_RECORDS>", f"{opening}</SNAPSHOTS><HISTORY_RECORDS>")

    vm.document = document  # type: ignore[method-assign]


def test_anothers_snapshot_is_not_deleted(lab: Lab) -> None:
    vm = machine(lab)
    with_document(vm, "<SNAPSHOTS><DISK_ID><![CDATA[0]]></DISK_ID>" + snapshot(0))
    lab.storpool(f"VolumeSnapshot/{COPY}", {"name": f"{COPY}-snap0", "tags": THEIRS})
    assert f"snapshot {COPY}-snap0 is not ours" in cloud.fails(lab, delete(vm))
    assert f"{COPY}-snap0" in cloud.snapshots(lab)


@pytest.mark.parametrize("kind", ["OS", "persistent"])
def test_anothers_volume_is_not_touched(lab: Lab, kind: str) -> None:
    vm = machine(lab, kind)
    name = "one-img-7" if kind == "persistent" else COPY
    lab.storpool(f"VolumeUpdate/{name}", {"tags": {"nloc": "two"}})
    line = cloud.refused(lab, delete(vm))
    assert f"volume {name} is not ours (tag nloc is 'two', not 'one')" in line


@pytest.mark.parametrize("kind", ["OS", "raw", "persistent"])
def test_a_dead_host_is_no_obstacle(lab: Lab, kind: str) -> None:
    """I10."""
    vm = machine(lab, kind)
    lab.simulator.mark_open(11, lab.storpool("AttachmentsList")[0]["volume"])
    lab.power_off("node1")
    cloud.succeeds(lab, delete(vm, datastore=100 if kind == "raw" else 101), times=2)
    assert set(cloud.attached(lab)) == {"one-sys-42-1-iso"}
    cloud.succeeds(lab, delete(vm, None), times=2)
    assert cloud.attached(lab) == {}
    assert cloud.volumes(lab) == (set() if kind == "raw" else {"one-img-7"})
    assert cloud.files(lab, "node1") == {"deployment.0": b"<domain/>\n"}


@pytest.mark.parametrize("disk_id", [0, None])
def test_nothing_is_removed_when_storpool_cannot_be_asked(lab: Lab, disk_id: int | None) -> None:
    """D-3."""
    lab.configure(SP_API_DEADLINE=1)
    vm = machine(lab)
    lab.simulator.faults.set([Fault(Verdict("refuse"), times=0)])
    line = cloud.fails(lab, delete(vm, disk_id))
    lab.simulator.faults.set([])
    assert "StorPool did not answer" in line
    assert {COPY, "one-sys-42-1-iso"} < cloud.volumes(lab)
    assert set(cloud.links(lab, "node1")) == {"disk.0", "disk.1"}


@pytest.mark.parametrize("refusal", ["serverError", "busy"])
def test_a_refusal_is_not_taken_for_absence(lab: Lab, refusal: str) -> None:
    """I6."""
    vm = machine(lab)
    lab.simulator.faults.set([Fault(Verdict.error(refusal), "VolumeDelete", times=0)])
    assert COPY in cloud.fails(lab, delete(vm))
    assert COPY in cloud.volumes(lab) and "disk.0" in cloud.links(lab, "node1")


def test_the_directory_goes_with_what_belongs_to_the_vm(lab: Lab) -> None:
    vm = machine(lab)
    vm.user_attributes["T_OS_NVRAM"] = "storpool:template=OVMF_VARS.fd"
    cloud.foreign(lab, "one-sys-42-NVRAM", OURS)
    cloud.foreign(lab, "one-sys-421-1-iso", OURS)
    lab.hosts.nodes["node1"].write(f"{vm.home}/x/y", "more\n")
    cloud.succeeds(lab, delete(vm, None), times=3)
    assert cloud.volumes(lab) == {"one-img-7", COPY, "one-sys-421-1-iso"}
    assert not os.path.exists(lab.hosts.nodes["node1"].path(vm.home))
    assert [name.partition("-deleted-")[0] for name in cloud.snapshots(lab)] == ["one-sys-42-NVRAM"]


def test_a_plain_file_in_the_place_of_a_link_is_kept_with_its_directory_only(lab: Lab) -> None:
    vm = machine(lab)
    path = f"{vm.home}/disk.0"
    os.unlink(lab.hosts.nodes["node1"].path(path))
    lab.hosts.nodes["node1"].write(path, "somebody's\n")
    cloud.succeeds(lab, delete(vm))
    assert cloud.files(lab, "node1")["disk.0"] == b"somebody's\n"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/etc",
        "/var/lib/one",
        "/var/lib/one/datastores",
        "/var/lib/one/datastores/100",
        "/100/../42",
        "/100/43",
    ],
)
def test_only_the_directory_of_a_vm_is_ever_removed(lab: Lab, path: str) -> None:
    vm = machine(lab)
    command = Command("tm/storpool/delete", (f"node1:{path}", str(vm.id), "100"))
    line = cloud.refused(lab, command, code=2)
    assert repr(path) in line
