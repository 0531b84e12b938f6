"""Snapshots of images that no VM uses: delete, revert and flatten, by exact names, nothing lost."""

from __future__ import annotations

import base64
import time

import pytest

from storpool_addon.lab.chain import LINEAR, NO, YES, Chain
from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.objects import Image
from storpool_addon.simulator.faults import Fault, Verdict
from storpool_addon.simulator.switches import Switches
from tests.sweep import scene
from tests.tm import cloud

OURS, THEIRS = {"virt": "one", "nloc": "one"}, {"virt": "one", "nloc": "two"}
NAME = "one-img-7"
NEIGHBOURS = {f"{NAME}-snap11": OURS, f"dev-{NAME}-snap0": THEIRS, f"{NAME}-snap0-backup": OURS}


def image(lab: Lab, *contents: bytes, orphans: str = YES) -> Image:
    """A persistent image with a snapshot of each content, as the bash addon made them; then "ZZZZZ"."""
    made = lab.give_image(persistent=True)
    made.chain = Chain(orphans)
    for each in contents:
        lab.write_volume(NAME, each)
        made.chain.activate(made.chain.create("", 4), revert=False)
        lab.storpool(f"VolumeSnapshot/{NAME}", {"name": f"{NAME}-snap{made.chain.active}"})
    lab.write_volume(NAME, b"ZZZZZ")
    for name, tags in NEIGHBOURS.items():
        lab.storpool(f"VolumeSnapshot/{NAME}", {"name": name, "tags": tags})
    return made


def snapshots(lab: Lab) -> set[str]:
    """The numbers of the image's snapshots; the neighbours are there, always."""
    found = {name for name in cloud.snapshots(lab) if "-deleted-" not in name}
    assert found >= set(NEIGHBOURS), "a neighbour has gone"
    return {name.removeprefix(f"{NAME}-snap") for name in found - set(NEIGHBOURS)}


def kept(lab: Lab) -> list[str]:
    return [name for name in cloud.snapshots(lab) if "-deleted-" in name]


def command(lab: Lab, made: Image, action: str, snapshot_id: int) -> Command:
    return next(getattr(lab.image_snapshots, action)(made, snapshot_id))


def test_one_snapshot_goes(lab: Lab) -> None:
    """D-2."""
    made = image(lab, b"AAAAA", b"BBBBB")
    cloud.succeeds(lab, command(lab, made, "delete", 1), times=2)
    assert snapshots(lab) == {"0"} and lab.read_volume(NAME, 5) == b"ZZZZZ"


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "loses"])
def test_an_image_becomes_what_it_was(lab: Lab, keeps: bool) -> None:
    """D-7, D-18."""
    switches = {"revert_keeps_tags": keeps, "revert_keeps_limits": keeps, "revert_size": keeps}
    lab.simulator.cluster.switches = Switches().set(switches)
    made = image(lab, b"AAAAA", b"BBBBB")
    made.attributes["SP_QOSCLASS"] = "gold"
    lab.storpool(f"VolumeUpdate/{NAME}", {"size": 8 << 20, "tags": {"own": "word"}})
    before = cloud.volume(lab, NAME)
    result = cloud.succeeds(lab, command(lab, made, "revert", 0), times=3)
    after = cloud.volume(lab, NAME)
    same = ("globalId", "size", "templateName")
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    mark = {"type": after["tags"]["type"]}
    assert after["tags"] == {**OURS, "qc": "gold", "own": "word", **mark}
    assert lab.read_volume(NAME, 5) == b"AAAAA" and snapshots(lab) == {"0", "1"}
    assert len(kept(lab)) == 1 and not cloud.asks_for_lists(result)


def test_each_revert_keeps_what_it_throws_away(lab: Lab) -> None:
    """Also when the image is reverted again to the snapshot that it stood on already."""
    made = image(lab, b"AAAAA")
    lab.do(lab.image_snapshots.revert(made, 0))
    vm = lab.vms.create(made, context=False)
    lab.do(lab.vms.deploy(vm, "node1"))
    with open(lab.hosts.nodes["node1"].device(NAME), "r+b") as device:
        device.write(b"CCCCC")
    lab.do(lab.vms.terminate(vm))
    time.sleep(1 - time.time() % 1)
    lab.do(lab.image_snapshots.revert(made, 0))
    for number, name in enumerate(kept(lab)):
        lab.storpool("VolumeCreate", {"name": f"look-{number}", "parent": name})
    assert {lab.read_volume(f"look-{number}", 5) for number in range(len(kept(lab)))} == {b"ZZZZZ", b"CCCCC"}


@pytest.mark.parametrize(("orphans", "left"), [(NO, {"0", "1", "2"}), (LINEAR, {"0", "1"})])
def test_what_oned_forgets_after_a_revert_goes(lab: Lab, orphans: str, left: set[str]) -> None:
    made = image(lab, b"AAAAA", b"BBBBB", b"CCCCC", orphans=orphans)
    lab.do(lab.image_snapshots.revert(made, 1))
    assert snapshots(lab) == left and lab.read_volume(NAME, 5) == b"BBBBB"


@pytest.mark.parametrize("target", [0, 2])
def test_a_flat_image_has_no_snapshots(lab: Lab, target: int) -> None:
    """D-2. The last snapshot too is reverted to: the image may have been written to since."""
    made = image(lab, b"AAAAA", b"BBBBB", b"CCCCC")
    cloud.succeeds(lab, command(lab, made, "flatten", target), times=3)
    assert snapshots(lab) == set()
    assert lab.read_volume(NAME, 5) == {0: b"AAAAA", 2: b"CCCCC"}[target]
    assert len(kept(lab)) == 1


def test_a_flatten_that_stopped_half_way_goes_on(lab: Lab) -> None:
    made = image(lab, b"AAAAA", b"BBBBB")
    flatten = command(lab, made, "flatten", 0)
    lab.simulator.faults.set([Fault(Verdict.error("busy"), "SnapshotDelete", times=0)])
    assert f"{NAME}-snap1" in cloud.fails(lab, flatten)
    lab.simulator.faults.set([])
    cloud.succeeds(lab, flatten)
    assert snapshots(lab) == set() and len(kept(lab)) == 1


@pytest.mark.parametrize("action", ["revert", "flatten"])
def test_without_the_snapshot_nothing_is_touched(lab: Lab, action: str) -> None:
    lab.simulator.cluster.switches = Switches(deletion_delay_s=60.0)
    made = image(lab, b"AAAAA", b"BBBBB")
    lab.storpool(f"SnapshotDelete/{NAME}-snap1", {})
    line = cloud.refused(lab, command(lab, made, action, 1))
    assert f"snapshot {NAME}-snap1 does not exist in StorPool" in line


@pytest.mark.parametrize(
    ("trouble", "code", "message"),
    [
        ("open", 1, "is open at client 12"),
        ("foreign", 1, f"volume {NAME} is not ours"),
        ("foreign snapshot", 1, f"snapshot {NAME}-snap0 is not ours"),
    ],
)
def test_what_is_refused(lab: Lab, trouble: str, code: int, message: str) -> None:
    made = image(lab, b"AAAAA")
    wanted = command(lab, made, "revert", 0)
    if trouble == "open":
        scene.attach(lab, [NAME], "node2")
        lab.simulator.mark_open(12, NAME)
    elif trouble == "foreign":
        lab.storpool(f"VolumeUpdate/{NAME}", {"tags": {"nloc": "two"}})
    else:
        lab.storpool(f"SnapshotUpdate/{NAME}-snap0", {"tags": THEIRS})
    assert message in cloud.refused(lab, wanted, code=code)


def test_documents_that_name_something_else(lab: Lab) -> None:
    wanted = command(lab, image(lab, b"AAAAA"), "revert", 0)
    document = base64.b64decode(wanted.stdin)

    def otherwise(old: bytes, new: bytes) -> Command:
        return wanted._replace(stdin=base64.b64encode(document.replace(old, new)))

    source = otherwise(b"one-ds-101/one-img-7", b"one-ds-101/one-img-70")
    assert "the volume of another" in cloud.refused(lab, source)
    no_target = otherwise(b"<TARGET_SNAPSHOT>0", b"<TARGET_SNAPSHOT>-1")
    assert "names no TARGET_SNAPSHOT" in cloud.refused(lab, no_target, code=2)
    another = wanted._replace(args=("8",))
    assert "standard input is about image 7" in cloud.refused(lab, another, code=2)
