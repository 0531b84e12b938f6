"""restore where it cannot be done, or is cut off: the disks stay as they are, or the VM cannot be started."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from storpool_addon.lab.conductor import AFTER, KILL, Fault
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Volatile
from storpool_addon.simulator.faults import Fault as Refuse
from storpool_addon.simulator.faults import Verdict
from tests.tm import cloud
from tests.tm.restores import COPY, MIB, NOW, SCRATCH, backup, command, holds, leftovers, noise, off

pytestmark = pytest.mark.needs("qemu-img")


def listing(lab: Lab, answer: str) -> None:
    """A backup datastore that lists this."""
    script = f"#!/bin/sh\ncat >/dev/null\nprintf '%s' '{answer}'\n"
    lab.hosts.frontend.write("/var/lib/one/remotes/datastore/rsync/ls", script, 0o755)


def downloads(lab: Lab, script: str) -> None:
    """A downloader that does this."""
    lab.hosts.frontend.write("/var/lib/one/remotes/datastore/downloader.sh", f"#!/bin/sh\n{script}\n", 0o755)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 0", "nothing came"),
        ("echo no such backup >&2; exit 255", "no such backup"),
        ("echo this is no image", "is not a qcow2 image"),
        ("printf 'QFI\\373\\000\\000\\000\\003'; head -c 4096 /dev/zero", "restoring disk 0 of VM 42"),
    ],
)
def test_a_download_that_is_not_a_disk(lab: Lab, tmp_path: Path, script: str, message: str) -> None:
    vm = off(lab)
    image = backup(lab, vm, tmp_path, {0: [noise(1)], 1: [noise(2)]})
    run = command(lab, vm, image)
    downloads(lab, script)
    assert message in cloud.refused(lab, run)
    assert holds(lab, COPY, NOW)


def test_one_of_two_disks_that_cannot_be_had(lab: Lab, tmp_path: Path) -> None:
    vm = off(lab)
    image = backup(lab, vm, tmp_path, {0: [noise(1)], 1: [noise(2)]})
    store = Path(lab.hosts.frontend.path(image.datastore.path))
    (store / "42" / "abc0" / "disk.1.0").write_bytes(b"")
    assert "nothing came" in cloud.refused(lab, command(lab, vm, image))
    assert holds(lab, COPY, NOW) and not leftovers(lab)


@pytest.mark.parametrize(
    ("answer", "disk_id", "message"),
    [
        ("no JSON", -1, "something else than JSON"),
        ("[]", -1, "something else than JSON"),
        ("{}", -1, "in it are: none"),
        ('{"1":"rsync://110//0:abc0/x/42/abc0/disk.1.0"}', 0, "does not hold disk 0"),
        ('{"9":"rsync://110//0:abc0/x/42/abc0/disk.9.0"}', -1, "no disk 9"),
        ('{"0":"/etc/shadow"}', -1, "is not the URL of a backup"),
        ('{"0":"--help"}', -1, "is not the URL of a backup"),
    ],
)
def test_listings_that_make_no_sense(
    lab: Lab, tmp_path: Path, answer: str, disk_id: int, message: str
) -> None:
    vm = off(lab)
    image = backup(lab, vm, tmp_path, {0: [noise(1)]})
    listing(lab, answer)
    assert message in cloud.refused(lab, command(lab, vm, image, -1, disk_id))


def test_a_backup_datastore_that_does_not_answer(lab: Lab, tmp_path: Path) -> None:
    vm = off(lab)
    image = backup(lab, vm, tmp_path, {0: [noise(1)]})
    shutil.rmtree(lab.hosts.frontend.path(f"{image.datastore.path}/42"))
    assert "listing backup" in cloud.refused(lab, command(lab, vm, image))


@pytest.mark.parametrize("kind", ["ceph", "cdrom", "shareable"])
def test_disks_that_are_not_ours_to_restore(lab: Lab, tmp_path: Path, kind: str) -> None:
    vm = off(lab, lab.give_image(content=NOW, type="CDROM" if kind == "cdrom" else "OS"), Volatile(4))
    image = backup(lab, vm, tmp_path, {0: [noise(1)], 1: [noise(2)]})
    if kind == "ceph":
        vm.disks[0]["TM_MAD"] = "ceph"
    if kind == "shareable":
        vm.disks[0].update(CLONE="NO", SHAREABLE="YES", SAVE="YES")
    line = cloud.refused(lab, command(lab, vm, image))
    assert "disk 0 of VM 42" in line and ("transfer manager ceph" in line) == (kind == "ceph")


def test_a_disk_that_somebody_has_open(lab: Lab, tmp_path: Path) -> None:
    vm = off(lab)
    image = backup(lab, vm, tmp_path, {0: [noise(1)], 1: [noise(2)]})
    lab.simulator.cluster.opened.add((11, cloud.volume(lab, COPY)["globalId"]))
    assert "is open at" in cloud.refused(lab, command(lab, vm, image))
    assert holds(lab, COPY, NOW) and not leftovers(lab)


@pytest.mark.parametrize("where", ["StorPool", "the host"])
def test_no_space(lab: Lab, tmp_path: Path, where: str) -> None:
    vm = off(lab)
    image = backup(lab, vm, tmp_path, {0: [noise(1, 64 * MIB)]})
    if where == "StorPool":
        lab.simulator.switches = lab.simulator.switches.set({"max_volume_size": 32 * MIB})
        assert "Not enough space" in cloud.refused(lab, command(lab, vm, image))
    else:
        lab.configure(STAGING_DIR="/dev/full")
        assert "/dev/full" in cloud.refused(lab, command(lab, vm, image))


def test_a_killed_restore_cannot_be_started(lab: Lab, tmp_path: Path) -> None:
    """Whether disks are reverted or written: before the last is done, none of them is at the host."""
    vm = off(lab)
    image = backup(lab, vm, tmp_path, {0: [noise(1)], 1: [noise(2)]})
    run = command(lab, vm, image)
    whole = [call.what for call in cloud.succeeds(lab, run).calls]
    reverts = [number for number, what in enumerate(whole, 1) if "VolumeRevert" in what]
    assert len(reverts) == 2
    vm.here.stopped = 1769009300
    assert lab.run(run, Fault(reverts[0], AFTER, KILL)).exit_code == -9
    assert cloud.attached(lab, COPY, SCRATCH) == {COPY: {}, SCRATCH: {}}
    cloud.succeeds(lab, run)
    assert holds(lab, COPY, noise(1)) and holds(lab, SCRATCH, noise(2))
    assert cloud.attached(lab, COPY)[COPY] == {"node1": "rw"} and not leftovers(lab)


def test_a_way_back_that_fails_cannot_be_started(lab: Lab, tmp_path: Path) -> None:
    """One disk restored, the other not: neither is at the host until the restore was repeated."""
    vm = off(lab)
    run = command(lab, vm, backup(lab, vm, tmp_path, {0: [noise(1)], 1: [noise(2)]}))
    full = Verdict.error("insufficientResources", "not now")
    lab.simulator.faults.add([Refuse(full, query="VolumeRevert", object=SCRATCH)])
    lab.simulator.faults.add([Refuse(full, query="VolumeRevert", object=COPY, skip=1)])
    assert "all disks stay detached; repeat the restore" in cloud.fails(lab, run)
    assert cloud.attached(lab, COPY, SCRATCH) == {COPY: {}, SCRATCH: {}}
    assert not {"disk.0", "disk.1"} & set(cloud.links(lab, "node1"))
    cloud.succeeds(lab, run)
    assert holds(lab, COPY, noise(1)) and holds(lab, SCRATCH, noise(2)) and not leftovers(lab)
    assert cloud.attached(lab, COPY)[COPY] == {"node1": "rw"}
    assert cloud.links(lab, "node1")["disk.1"] == SCRATCH
    (kept,) = [name for name in cloud.snapshots(lab) if name.startswith(f"{COPY}-deleted-")]
    lab.storpool("VolumeCreate", {"name": "back", "parent": kept, "tags": {"virt": "one"}})
    assert lab.read_volume("back", len(NOW)) == NOW


def test_a_killed_write_cannot_be_started(lab: Lab, tmp_path: Path) -> None:
    lab.simulator.switches = lab.simulator.switches.set({"revert_foreign": "refuse"})
    vm = off(lab)
    run = command(lab, vm, backup(lab, vm, tmp_path, {0: [noise(1)]}))
    calls = cloud.succeeds(lab, run).calls
    reverted = next(number for number, call in enumerate(calls) if "VolumeRevert" in call.what)
    _unlinked, copying, _linked = (
        number for number, call in enumerate(calls, 1) if call.kind == "ssh" and number > reverted
    )
    vm.here.stopped = 1769009300
    assert lab.run(run, Fault(copying, AFTER, KILL)).exit_code == -9
    assert "disk.0" not in cloud.links(lab, "node1")
    cloud.succeeds(lab, run)
    assert holds(lab, COPY, noise(1)) and cloud.links(lab, "node1")["disk.0"] == COPY


def test_the_keys_of_the_backup_server_are_in_no_argument(lab: Lab, tmp_path: Path) -> None:
    vm = off(lab)
    image = backup(lab, vm, tmp_path, {0: [noise(1)]})
    image.datastore.attributes["RESTIC_PASSWORD"] = "not for everybody"
    result = cloud.succeeds(lab, command(lab, vm, image))
    assert not [call.what for call in result.calls if "everybody" in call.what]
    assert not cloud.asks_for_lists(result)
