"""prebackup and postbackup: what OpenNebula's backup drivers find, and what is left afterwards."""

from __future__ import annotations

import base64
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Volatile
from tests.tm import cloud
from tests.tm.backups import BACKUP, DISK, machine
from tests.tm.cloud import MIB

pytestmark = pytest.mark.needs("qemu-img")


def qemu_img(*argv: object) -> str:
    done = subprocess.run(["qemu-img", *map(str, argv)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return done.stdout


def content(image: Path) -> bytes:
    """The disk that a qcow2 image holds."""
    raw = image.with_suffix(".raw")
    qemu_img("convert", "-O", "raw", image, raw)
    return raw.read_bytes()


class Store:
    """What a backup datastore has fetched of a VM, in the way that OpenNebula puts it together again."""

    def __init__(self, lab: Lab, directory: Path, host: str = "node1", place: str = BACKUP) -> None:
        self._place = Path(cloud.at(lab, host).path(place))
        self._directory = directory
        directory.mkdir()

    def fetch(self) -> None:
        for each in self._place.iterdir():
            shutil.copy(each, self._directory / each.name)

    def disk(self, disk_id: int, number: int) -> bytes:
        """A disk as it was at increment `number`, from the whole chain up to there."""
        chain = [self._directory / f"disk.{disk_id}.{each}" for each in range(number + 1)]
        for backing, image in zip(chain, chain[1:]):
            qemu_img("rebase", "-u", "-F", "qcow2", "-b", backing, image)
            qemu_img("check", image)
        return content(chain[-1])


def change(lab: Lab, volume: str, chance: random.Random) -> None:
    """Write here and there into a volume, data and zeros."""
    size = cloud.volume(lab, volume)["size"]
    for _ in range(6):
        length = chance.randrange(1, 40_000)
        data = chance.choice([bytes(length), chance.randbytes(length)])
        lab_device_write(lab, volume, chance.randrange(size - length), data)


def lab_device_write(lab: Lab, volume: str, offset: int, data: bytes) -> None:
    """As the guest on node1 writes."""
    with open(cloud.at(lab, "node1").device(volume), "r+b") as device:
        device.seek(offset)
        device.write(data)


def test_a_full_backup(lab: Lab) -> None:
    vm = machine(lab, lab.give_image(content=b"first" * 1000), Volatile(4), BACKUP_VOLATILE="YES")
    command = lab.vm_backups.pre(vm)
    assert command.args[1] == "0:1"
    for _ in range(2):
        cloud.succeeds(lab, command)
    node, there = lab.hosts.nodes["node1"], cloud.files(lab, "node1", BACKUP)
    assert set(there) == {"vm.xml", "disk.0.0", "disk.1.0"}
    assert base64.decodebytes(there["vm.xml"]) == command.stdin
    assert content(Path(node.path(f"{BACKUP}/disk.0.0"))) == lab.read_volume(DISK)
    taken = cloud.snapshots(lab)
    assert set(taken) == {f"{DISK}-ONEBACKUP-full", "one-sys-42-1-raw-ONEBACKUP-full"}
    for each in taken.values():
        assert each["targetDeleteDate"]
        assert each["tags"] == {"virt": "one", "nloc": "one", "nvm": "42", "backup": "new:0"}
    assert not [each for each in lab.storpool("AttachmentsList") if each["snapshot"]]
    for _ in range(2):
        cloud.succeeds(lab, lab.vm_backups.post(vm))
    assert cloud.snapshots(lab) == {}
    assert not Path(node.path(BACKUP)).exists()


def test_a_chain_of_increments(lab: Lab, tmp_path: Path) -> None:
    vm = machine(lab, lab.give_image(content=b"first" * 1000, size_mib=5), MODE="INCREMENT")
    store, chance, states = Store(lab, tmp_path / "store"), random.Random(5), []
    for number in range(6):
        change(lab, DISK, chance)
        if number == 3:
            lab.storpool(f"VolumeUpdate/{DISK}", {"size": 7 * MIB + 512})
        command = lab.vm_backups.pre(vm)
        cloud.succeeds(lab, command)
        states.append(lab.read_volume(DISK))
        change(lab, DISK, chance)
        store.fetch()
        cloud.succeeds(lab, lab.vm_backups.post(vm))
        lab.vm_backups.succeeded(vm, 31)
        assert len(cloud.snapshots(lab)) == min(number + 1, 2)
    for number, state in enumerate(states):
        assert store.disk(0, number) == state
