"""REMOTE_BACKUP_DELETE: no disk and no image goes before another location has its last state, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.conductor import AFTER, KILL, Fault
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.simulator.records import Volume
from tests.second import Second
from tests.sweep import scene
from tests.tm import cloud

LAST = b"the last state"


@pytest.fixture
def second(lab: Lab, tmp_path: Path) -> Iterator[Second]:
    """Another cluster, which is the location `there` of the first."""
    with Second(lab, tmp_path) as running:
        lab.simulator.connect(running.simulator, location="there", known_as="main")
        for datastore in (100, 101):
            lab.oned.datastores[datastore].attributes["REMOTE_BACKUP_DELETE"] = "there:tag del=y who=bash"
        yield running


def copies(lab: Lab, second: Second) -> dict[str, tuple[dict[str, Any], bytes]]:
    """What the location keeps, by the name of the volume: tags, and the first bytes."""
    found = {}
    for each in lab.storpool("SnapshotsRemoteList")["snapshots"]:
        cluster = second.simulator.cluster
        record = cluster.table(Volume)[each["remoteId"]]
        data = Path(cluster.data.path(record.data)).read_bytes()[: len(LAST)] if record.data else b""
        assert each["tags"]["deleted"] not in found, "two backups of one volume"
        found[each["tags"]["deleted"]] = (each["tags"], data)
    return found


def machine(lab: Lab) -> Vm:
    """A VM with one disk of each kind, in each its last state."""
    images = [lab.give_image(), lab.give_image(persistent=True), lab.give_image(type="CDROM")]
    vm = scene.machine(lab, *images, Volatile(4))
    for name in scene.volumes(lab, vm):
        scene.attach(lab, [name])
        lab.write_volume(name, LAST)
        scene.attach(lab, [name], "node1")
    return vm


def test_own_disks_of_a_vm_are_backed_up_and_no_others(lab: Lab, second: Second) -> None:
    vm = machine(lab)
    lab.simulator.mark_open(11, "one-img-7-42-0")
    gid = cloud.volume(lab, "one-img-7-42-0")["globalId"]
    lab.do(lab.vms.terminate(vm))
    found = copies(lab, second)
    assert set(found) == {"one-img-7-42-0", "one-sys-42-3-raw"}
    assert all(data == LAST for _, data in found.values())
    tags = {"virt": "one", "nloc": "one", "del": "y", "who": "bash", "deleted": "one-img-7-42-0"}
    assert found["one-img-7-42-0"][0] == {**tags, "deleted-id": gid}
    assert cloud.volumes(lab) == {"one-img-7", "one-img-8", "one-img-9"}


def test_image_is_backed_up_and_its_backup_needs_no_list(lab: Lab, second: Second) -> None:
    image = lab.give_image(content=LAST)
    command = next(lab.images.delete(image))
    result = lab.run(command)
    assert (result.exit_code, result.stderr) == (0, "")
    assert not cloud.asks_for_lists(result) and "RemoteList" not in str(result.calls)
    assert lab.run(command).exit_code == 0
    assert copies(lab, second)["one-img-7"][1] == LAST


def test_killed_run_is_followed_by_no_second_backup(lab: Lab, second: Second) -> None:
    """It is recognised at its location by the global id of the volume, whatever else is kept there."""
    lab.give_image(content=LAST)
    other, image = lab.give_image(), lab.give_image(content=LAST)
    lab.do(lab.images.delete(other))
    command = next(lab.images.delete(image))
    calls = [call.what.split()[0] for call in lab.run(next(lab.images.delete(lab.give_image()))).calls]
    killed = lab.run(command, Fault(calls.index("VolumeBackup") + 1, AFTER, KILL))
    assert killed.exit_code == -9 and cloud.volume(lab, "one-img-9")
    assert lab.run(command).exit_code == 0
    assert set(copies(lab, second)) == {"one-img-8", "one-img-9", "one-img-10"}


def test_volume_stays_when_its_backup_fails(lab: Lab, second: Second) -> None:
    vm, image = scene.machine(lab, lab.give_image()), lab.give_image()
    lab.oned.datastores[101].attributes["REMOTE_BACKUP_DELETE"] = "nowhere:del=y"
    delete = Command("tm/storpool/delete", (f"node1:{vm.home}/disk.0", str(vm.id), "101"))
    for command, name in ((delete, "one-img-7-42-0"), (next(lab.images.delete(image)), "one-img-8")):
        line = cloud.fails(lab, command)
        assert f"volume {name} was not backed up to location nowhere and stays: " in line
        assert cloud.volume(lab, name)
    lab.oned.datastores[101].attributes["REMOTE_BACKUP_DELETE"] = "there"
    cloud.succeeds(lab, delete, times=2)
    assert set(copies(lab, second)) == {"one-img-7-42-0"} and cloud.snapshots(lab)


@pytest.mark.parametrize(
    ("text", "error"),
    [("there:del", "'del' is not of the form tag=value"), ("there:a=b/c", "tag a cannot be 'b/c'")],
)
def test_value_that_means_nothing_deletes_nothing(lab: Lab, second: Second, text: str, error: str) -> None:
    lab.oned.datastores[101].attributes["REMOTE_BACKUP_DELETE"] = text
    image = lab.give_image()
    assert error in cloud.fails(lab, next(lab.images.delete(image)))
    assert cloud.volume(lab, "one-img-7") and not copies(lab, second)
