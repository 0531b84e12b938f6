"""restore: the disks of a VM that is off become what they were at a backup; all of them, or none."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from storpool_addon.lab.chain import Chain
from storpool_addon.lab.command import Command
from storpool_addon.lab.conductor import AFTER, KILL, Fault
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.lab.objects import Image
from storpool_addon.simulator.faults import Fault as Refuse
from storpool_addon.simulator.faults import Verdict
from tests import chains
from tests.sweep import scene
from tests.tm import cloud

pytestmark = pytest.mark.needs("qemu-img")
MIB = cloud.MIB
COPY, SCRATCH = "one-img-7-42-0", "one-sys-42-1-raw"
NOW = b"what the disk holds now" * 4000


def noise(seed: int, size: int = 2 * MIB) -> bytes:
    """A disk with some data and some holes."""
    disk = bytearray(size)
    disk[4096:70_000] = random.Random(seed).randbytes(70_000 - 4096)
    disk[-512:] = random.Random(-seed).randbytes(512)
    return bytes(disk)


def changed(before: bytes, seed: int) -> bytes:
    disk, chance = bytearray(before), random.Random(seed)
    for _ in range(3):
        start = chance.randrange(len(disk) - 9000)
        disk[start : start + 9000] = chance.randbytes(9000)
    disk[4096:8192] = bytes(4096)
    return bytes(disk)


def off(lab: Lab, *disks: Image | Volatile) -> Vm:
    """A VM that was powered off on node1, where its disks still are."""
    vm = scene.machine(lab, *(disks or (lab.give_image(content=NOW), Volatile(4))))
    lab.vms.poweroff(vm)
    return vm


def backup(lab: Lab, vm: Vm, tmp_path: Path, states: Mapping[int, list[bytes]]) -> Image:
    """A chain of backups of some disks, as it lies on the backup server."""
    datastore = lab.backups.add_datastore()
    image: Image | None = None
    for number in range(len(next(iter(states.values())))):
        image = lab.backups.record(
            datastore, vm, f"abc{number}", list(states), increment_of=image, incremental=True
        )
    for disk_id, contents in states.items():
        for number, (name, part) in enumerate(chains.files(tmp_path / str(disk_id), disk_id, contents)):
            lab.backups.keep(datastore, vm, f"abc{number}", {name: part})
    assert image is not None
    return image


def command(lab: Lab, vm: Vm, image: Image, increment: int = -1, disk_id: int = -1) -> Command:
    return lab.until(lab.backups.restore(vm, image, increment, disk_id), "restore")


def holds(lab: Lab, name: str, content: bytes) -> bool:
    """Whether a volume begins with that content and is empty after it."""
    found = lab.read_volume(name)
    return found.startswith(content) and not any(found[len(content) :])


def leftovers(lab: Lab) -> set[str]:
    """What restores work with and must not leave."""
    return {name for name in {*cloud.volumes(lab), *cloud.snapshots(lab)} if "tmRestore" in name}


def test_all_disks_of_a_backup(lab: Lab, tmp_path: Path) -> None:
    vm = off(lab)
    first, second = noise(1), noise(2)
    image = backup(lab, vm, tmp_path, {0: [first, changed(first, 3)], 1: [second, changed(second, 4)]})
    before = {name: cloud.volume(lab, name) for name in (COPY, SCRATCH)}
    where = cloud.attached(lab, COPY, SCRATCH)
    for _ in range(2):
        cloud.succeeds(lab, command(lab, vm, image))
    assert holds(lab, COPY, changed(first, 3)) and holds(lab, SCRATCH, changed(second, 4))
    for name, was in before.items():
        now = cloud.volume(lab, name)
        assert [now[key] for key in ("globalId", "size", "tags", "templateName")] == [
            was[key] for key in ("globalId", "size", "tags", "templateName")
        ]
    assert cloud.attached(lab, COPY, SCRATCH) == where
    assert cloud.links(lab, "node1")["disk.0"] == COPY and cloud.links(lab, "node1")["disk.1"] == SCRATCH
    assert not leftovers(lab)


def test_one_disk_as_it_was_at_an_increment(lab: Lab, tmp_path: Path) -> None:
    vm = off(lab, lab.give_image(content=NOW, persistent=True), Volatile(4))
    states = [noise(1)]
    states += [changed(states[-1], 5)]
    states += [changed(states[-1], 6)]
    image = backup(lab, vm, tmp_path, {0: states, 1: states})
    for increment in (0, 2, 1):
        cloud.succeeds(lab, command(lab, vm, image, increment, 0))
        assert holds(lab, "one-img-7", states[increment])
    assert not any(lab.read_volume(SCRATCH)), "the other disk was not asked for"


def test_what_is_replaced_can_be_had_back(lab: Lab, tmp_path: Path) -> None:
    vm = off(lab)
    image = backup(lab, vm, tmp_path, {0: [noise(1)]})
    cloud.succeeds(lab, command(lab, vm, image))
    (kept,) = [name for name in cloud.snapshots(lab) if name.startswith(f"{COPY}-deleted-")]
    assert lab.storpool(f"Snapshot/{kept}")[0]["targetDeleteDate"]
    lab.storpool("VolumeCreate", {"name": "back", "parent": kept, "tags": {"virt": "one"}})
    assert lab.read_volume("back", len(NOW)) == NOW


def test_each_restore_keeps_what_it_replaces(lab: Lab, tmp_path: Path) -> None:
    vm = off(lab)
    image = backup(lab, vm, tmp_path, {0: [noise(1)]})
    for stopped in (1769009100, 1769009200):
        vm.here.stopped = stopped
        cloud.attach(lab, COPY)
        lab.write_volume(COPY, b"written by the guest that stopped at %d" % stopped)
        cloud.succeeds(lab, command(lab, vm, image))
    kept = [name for name in cloud.snapshots(lab) if name.startswith(f"{COPY}-deleted-")]
    for number, name in enumerate(kept):
        lab.storpool("VolumeCreate", {"name": f"back{number}", "parent": name, "tags": {"virt": "one"}})
    found = {lab.read_volume(f"back{number}", 47)[-10:] for number in range(len(kept))}
    assert found == {b"1769009100", b"1769009200"}


def test_each_restore_of_one_backup_keeps_what_it_replaces(lab: Lab, tmp_path: Path) -> None:
    """The VM has not run meanwhile."""
    vm, states = off(lab), [noise(1), changed(noise(1), 5)]
    image = backup(lab, vm, tmp_path, {0: states})
    for increment in (0, 1, 0):
        cloud.succeeds(lab, command(lab, vm, image, increment))
    kept = [name for name in cloud.snapshots(lab) if name.startswith(f"{COPY}-deleted-")]
    for number, name in enumerate(kept):
        lab.storpool("VolumeCreate", {"name": f"back{number}", "parent": name, "tags": {"virt": "one"}})
    found = {lab.read_volume(f"back{number}")[: 2 * MIB] for number in range(len(kept))}
    assert found == {NOW.ljust(2 * MIB, b"\0"), *states}


def test_without_delayed_delete_nothing_is_kept(lab: Lab, tmp_path: Path) -> None:
    lab.configure(DELAY_DELETE="")
    vm = off(lab)
    cloud.succeeds(lab, command(lab, vm, backup(lab, vm, tmp_path, {0: [noise(1)]})))
    assert holds(lab, COPY, noise(1)) and not cloud.snapshots(lab)


@pytest.mark.parametrize(
    "switches",
    [
        {"revert_foreign": "refuse"},
        {"revert_foreign": "refuse", "revert_size": "no"},
        {"revert_keeps_tags": "no", "revert_keeps_limits": "no"},
    ],
)
def test_whatever_a_revert_is_like(lab: Lab, tmp_path: Path, switches: Mapping[str, Any]) -> None:
    lab.simulator.switches = lab.simulator.switches.set(dict(switches))
    vm = off(lab)
    image = backup(lab, vm, tmp_path, {0: [noise(1)]})
    before, where = cloud.volume(lab, COPY), cloud.attached(lab, COPY)
    for _ in range(2):
        cloud.succeeds(lab, command(lab, vm, image))
    now = cloud.volume(lab, COPY)
    assert holds(lab, COPY, noise(1)) and not leftovers(lab)
    assert (now["globalId"], now["tags"], now["size"]) == (before["globalId"], before["tags"], before["size"])
    assert cloud.attached(lab, COPY) == where and cloud.links(lab, "node1")["disk.0"] == COPY


def test_a_disk_that_grew_keeps_its_size(lab: Lab, tmp_path: Path) -> None:
    vm = off(lab, lab.give_image(size_mib=8, content=NOW))
    cloud.succeeds(lab, command(lab, vm, backup(lab, vm, tmp_path, {0: [noise(1)]})))
    assert cloud.volume(lab, COPY)["size"] == 8 * MIB and holds(lab, COPY, noise(1))


def test_a_backup_of_a_larger_disk_is_not_cut(lab: Lab, tmp_path: Path) -> None:
    vm = off(lab)
    large = noise(1, 6 * MIB + 512)
    cloud.succeeds(lab, command(lab, vm, backup(lab, vm, tmp_path, {0: [large]})))
    assert cloud.volume(lab, COPY)["size"] == 7 * MIB and holds(lab, COPY, large)


def test_snapshots_that_oned_forgets_are_deleted(lab: Lab, tmp_path: Path) -> None:
    vm = off(lab)
    ours = {"virt": "one", "nloc": "one"}
    for name in ("one-img-7-42-0-snap0", "one-img-7-42-0-snap10"):
        lab.storpool(f"VolumeSnapshot/{COPY}", {"name": name, "tags": ours})
    vm.attributes["SNAPSHOT"] = {"SNAPSHOT_ID": "0", "HYPERVISOR_ID": "ONESNAP-0-17", "NAME": "x"}
    for name in (COPY, SCRATCH):
        lab.storpool(f"VolumeSnapshot/{name}", {"name": f"{name}-ONESNAP-0-17", "tags": ours})
    cloud.succeeds(lab, command(lab, vm, backup(lab, vm, tmp_path, {0: [noise(1)]})))
    left = {name for name in cloud.snapshots(lab) if "-deleted-" not in name}
    assert left == {"one-img-7-42-0-snap0", "one-img-7-42-0-snap10"}, "oned did not list these"


def test_one_disk_takes_the_snapshots_of_the_vm_along(lab: Lab, tmp_path: Path) -> None:
    vm = off(lab, lab.give_image(content=NOW), Volatile(4), lab.give_image(persistent=True))
    vm.attributes["SNAPSHOT"] = {"SNAPSHOT_ID": "0", "HYPERVISOR_ID": "ONESNAP-0-17", "NAME": "x"}
    for disk_id, name in enumerate((COPY, SCRATCH, "one-img-8")):
        for word in ("ONESNAP-0-17", "snap0"):
            tags = {"virt": "one", "nloc": "one"}
            lab.storpool(f"VolumeSnapshot/{name}", {"name": f"{name}-{word}", "tags": tags})
        vm.chains[disk_id] = Chain()
        vm.chains[disk_id].create("first", 4)
    cloud.succeeds(lab, command(lab, vm, backup(lab, vm, tmp_path, {0: [noise(1)]}), -1, 0))
    left = {name for name in cloud.snapshots(lab) if "-deleted-" not in name}
    assert left == {"one-img-8-snap0"}, "the list of a persistent image stays"


# What cannot be done


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


# The whole way


def test_a_vm_is_what_it_was_at_a_backup(lab: Lab) -> None:
    """Backed up four times by prebackup and the datastore's driver, then restored, bit for bit."""
    vm = scene.machine(lab, lab.give_image(content=NOW), Volatile(4))
    lab.vm_backups.configure(vm, MODE="INCREMENT", BACKUP_VOLATILE="YES")
    datastore, chance = lab.backups.add_datastore(), random.Random(7)
    image: Image | None = None
    held: list[dict[str, bytes]] = []
    for _ in range(4):
        for name in (COPY, SCRATCH):
            with open(lab.hosts.nodes["node1"].device(name), "r+b") as device:
                device.seek(chance.randrange(3 * MIB))
                device.write(chance.choice([bytes(20_000), chance.randbytes(20_000)]))
        held.append({name: lab.read_volume(name) for name in (COPY, SCRATCH)})
        image = lab.do(lab.vm_backups.backup(vm, datastore))
    assert image is not None
    lab.vms.poweroff(vm)
    for increment in (0, 2, -1):
        lab.do(lab.backups.restore(vm, image, increment))
        for name in (COPY, SCRATCH):
            assert lab.read_volume(name) == held[increment][name], (increment, name)
    assert not [name for name in cloud.snapshots(lab) if "ONEBACKUP" in name]


def test_the_state_of_the_tpm_comes_back(lab: Lab, tmp_path: Path) -> None:
    vm = off(lab)
    vm.attributes["TPM"] = {"MODEL": "tpm-crb"}
    (tmp_path / "tpm").mkdir()
    (tmp_path / "tpm" / "tpm2-00.permall").write_bytes(b"as it was")
    packed = subprocess.run(["tar", "-C", tmp_path, "-czf", "-", "tpm"], check=True, capture_output=True)
    image = backup(lab, vm, tmp_path, {0: [noise(1)]})
    lab.backups.keep(image.datastore, vm, "abc0", {"disk.tpm.0": packed.stdout})
    lab.hosts.nodes["node1"].write(f"{vm.home}/tpm/tpm2-00.permall", b"as it is")
    cloud.succeeds(lab, command(lab, vm, image, -1, 0))
    assert cloud.files(lab, "node1")["tpm/tpm2-00.permall"] == b"as it is"
    cloud.succeeds(lab, command(lab, vm, image))
    assert cloud.files(lab, "node1")["tpm/tpm2-00.permall"] == b"as it was"
    lab.backups.keep(image.datastore, vm, "abc0", {"disk.tpm.0": b"no archive"})
    vm.here.stopped = 1769009300
    before = lab.read_volume(COPY)
    assert "replacing" in cloud.fails(lab, command(lab, vm, image))
    assert lab.read_volume(COPY) == before and cloud.attached(lab, COPY)[COPY] == {"node1": "rw"}
    assert cloud.files(lab, "node1")["tpm/tpm2-00.permall"] == b"as it was" and not leftovers(lab)
