"""The sweep's own parts: its furnished worlds are those that the scripts make, and its watch sees."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from storpool_addon.lab.machine import Volatile
from tests.programs import needs
from tests.sweep import leftovers, picture, scene, shared_rows
from tests.sweep.engine import Place
from tests.sweep.ground import Ground
from tests.sweep.row import Row
from tests.sweep.transfer_rows import CONTENT, context
from tests.sweep.watch import Watch

EMPTY = Row("nothing", context)


@needs("xorriso")
def test_a_furnished_vm_is_like_one_that_was_deployed(place: Place) -> None:
    """Size and content of the context image are the builder's own."""
    with place.world(EMPTY) as there:
        pictures = []
        for furnish in (_deployed, lambda lab, disks: scene.machine(lab, *disks)):
            there.lab.clear()
            furnish(there.lab, _disks(there.lab))
            pictures.append(_comparable(there.lab))
        assert not picture.difference(*pictures)


def _disks(lab: Ground) -> list[object]:
    images = [
        lab.give_image(content=CONTENT, **kind) for kind in ({}, {"persistent": True}, {"type": "CDROM"})
    ]
    return [*images, Volatile(4), Volatile(4, kind="swap")]


def _deployed(lab: Ground, disks: list[object]) -> None:
    lab.configure()
    lab.do(lab.vms.deploy(lab.vms.create(*disks), "node1"))


def _comparable(lab: Ground) -> picture.Picture:
    found = {name: text for name, text in picture.take(lab).items() if "deployment.0" not in name}
    return {
        name: text.partition("[")[2].partition("]")[0] if "-iso " in name or "-swap " in name else text
        for name, text in found.items()
    }


def untagged(lab: Ground) -> None:
    lab.storpool("VolumeCreate", {"name": "one-img-9", "size": 1 << 20, "template": "one-ds-101"})


def two_writers(lab: Ground) -> None:
    scene.attach(lab, ["one-img-70"], "node1", "node2")


def taken_from_another_vm(lab: Ground) -> None:
    scene.attach(lab, ["one-img-7"], "node2")


def gone_for_a_moment(lab: Ground) -> None:
    lab.storpool("VolumeUpdate/one-img-70", {"rename": "one-img-71"})
    lab.storpool("VolumeUpdate/one-img-71", {"rename": "one-img-70"})


@pytest.mark.parametrize(
    ("act", "rule"),
    [(untagged, "I2"), (two_writers, "I4"), (taken_from_another_vm, "I4"), (gone_for_a_moment, "I11")],
    ids=["I2", "I4", "I4-shared", "I11"],
)
def test_what_breaks_a_rule_for_a_moment_is_seen(
    place: Place, act: Callable[[Ground], None], rule: str
) -> None:
    with place.world(Row("shared", shared_rows.with_another(shared_rows.terminate, "mvds"))) as there:
        assert there.broken_rules() == []
        act(there.lab)
        scene.attach(there.lab, ["one-img-70"], "node3")
        assert [line.partition(":")[0] for line in there.broken_rules()] == [rule]


def test_a_migration_may_have_two_writers(place: Place) -> None:
    with place.world(EMPTY) as there:
        watch = Watch(there.lab.simulator.cluster, migration=True)
        two_writers(there.lab)
        assert watch.broken_rules() == []
        watch.close()


def test_a_picture_shows_every_part(place: Place) -> None:
    with place.world(EMPTY) as there:
        lab = there.lab
        for change in (
            lambda: scene.attach(lab, ["one-img-70"]),
            lambda: lab.storpool("VolumeUpdate/one-img-70", {"tags": {"qc": "gold"}}),
            lambda: lab.storpool("VolumeUpdate/one-img-70", {"size": 2 << 20}),
            lambda: lab.write_volume("one-img-70", b"x", 1 << 20),
            lambda: lab.storpool("SnapshotDelete/two-img-7-42-0-snap0", {}),
            lambda: lab.hosts.nodes["node2"].write("/var/lib/one/datastores/100/42/disk.0", "x"),
        ):
            before = picture.take(lab)
            change()
            assert picture.difference(before, picture.take(lab))


def test_a_process_on_a_host_is_seen(place: Place) -> None:
    with place.world(EMPTY) as there:
        assert leftovers.processes(there.lab, patience_s=0) == []
        become = 'while [ "$(cat /proc/$!/comm)" = bash ]; do :; done'
        there.lab.hosts.nodes["node2"].run(f"sleep 1 >/dev/null 2>&1 & {become}")
        assert leftovers.processes(there.lab, patience_s=0) == ["sleep 1 "]
        assert leftovers.processes(there.lab, patience_s=5) == []
