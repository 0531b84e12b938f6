"""restore: the disks of a VM that is off become what they were at a backup; all of them, or none."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from storpool_addon.lab.chain import Chain
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Volatile
from storpool_addon.lab.objects import Image
from tests.sweep import scene
from tests.tm import cloud
from tests.tm.restores import COPY, MIB, NOW, SCRATCH, backup, changed, command, holds, leftovers, noise, off

pytestmark = pytest.mark.needs("qemu-img")


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
