"""The lab's backup datastore: what it takes from a host, lists, and gives back as one file."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from pathlib import Path

import pytest

from storpool_addon.lab.command import Command, Result
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from storpool_addon.lab.objects import Image, action_data
from tests import chains
from tests.sweep import scene

MIB = 1 << 20
UUID = "0b3dd5c5-7a2e-45ea-a4a3-00000000002a"
pytestmark = pytest.mark.needs("qemu-img")


def states(count: int, size: int = MIB) -> list[bytes]:
    """What a disk holds at one backup after the other; each time a little of it changes."""
    chance, disk, found = random.Random(1), bytearray(size), []
    for _ in range(count):
        for _ in range(3):
            start = chance.randrange(size - 4096)
            disk[start : start + 4096] = chance.randbytes(4096)
        found.append(bytes(disk))
    return found


def laid_out(lab: Lab, vm: Vm, parts: dict[str, bytes]) -> None:
    for name, content in parts.items():
        lab.hosts.nodes["node1"].write(f"{vm.home}/backup/{name}", content)


def backed_up(lab: Lab, vm: Vm, tmp_path: Path, contents: list[bytes]) -> Image:
    """A chain that the datastore's own `backup` has fetched, one increment after the other."""
    datastore, image = lab.backups.add_datastore(), None
    for name, content in chains.files(tmp_path / "parts", 0, contents):
        laid_out(lab, vm, {"vm.xml": b"eA==", name: content})
        ended = lab.run(lab.backups.command(datastore, vm, [0]))
        assert (ended.exit_code, ended.stderr) == (0, ""), ended
        backup_id, size_mib, form = ended.stdout.split()
        assert form == "raw" and int(size_mib) >= 1
        image = lab.backups.record(datastore, vm, backup_id, [0], increment_of=image, incremental=True)
    assert image is not None
    return image


def listed(lab: Lab, image: Image, vm: Vm, increment: int) -> dict[str, str]:
    more = vm.document("7.4") + image.document("7.4")
    document = action_data(image.datastore, extra=more)
    ended = lab.run(Command("datastore/rsync/ls", ("-i", str(increment)), document.encode()))
    assert ended.exit_code == 0, ended
    return dict(json.loads(ended.stdout))


def downloaded(lab: Lab, url: str) -> Result:
    target = "/var/tmp/disk"
    return lab.run(Command("datastore/downloader.sh", ("--nodecomp", url, target)))


def raw(lab: Lab, tmp_path: Path) -> bytes:
    source, target = lab.hosts.frontend.path("/var/tmp/disk"), tmp_path / "raw"
    convert = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", source, str(target)]
    subprocess.run(convert, check=True)
    return target.read_bytes()


def test_a_chain_is_given_back_as_one_file(lab: Lab, tmp_path: Path) -> None:
    vm = scene.machine(lab, lab.give_image())
    contents = states(3)
    image = backed_up(lab, vm, tmp_path, contents)
    for increment, content in ((1, contents[1]), (2, contents[2]), (-1, contents[2])):
        assert downloaded(lab, listed(lab, image, vm, increment)["0"]).exit_code == 0
        assert raw(lab, tmp_path) == content
        assert listed(lab, image, vm, increment)["0"].endswith(f"/{image.increments[-1].source}/disk.0.2")
    assert downloaded(lab, lab.backups.url(image, 0, 0)).exit_code == 0
    assert raw(lab, tmp_path) == contents[0]


def test_what_is_not_there(lab: Lab, tmp_path: Path) -> None:
    vm = scene.machine(lab, lab.give_image())
    datastore = lab.backups.add_datastore()
    ended = lab.run(lab.backups.command(datastore, vm, [0]))
    assert ended.exit_code == 255 and "Error copying backup" in ended.stderr
    image = lab.backups.record(datastore, vm, "abc", [0])
    assert downloaded(lab, lab.backups.url(image, 0)).exit_code == 255


def test_a_backup_is_cancelled(lab: Lab) -> None:
    vm = scene.machine(lab, lab.give_image())
    vm.deploy_id = UUID
    datastore = lab.backups.add_datastore()
    lab.hosts.nodes["node1"].write(f"{vm.home}/backup/disk.0.0", b"x")
    lab.hosts.nodes["node1"].power_off(hang=True)
    ended: list[Result] = []
    run = threading.Thread(target=lambda: ended.append(lab.run(lab.backups.command(datastore, vm, [0]))))
    run.start()
    store = Path(lab.hosts.frontend.path(datastore.path)) / "42"
    give_up = time.monotonic() + 20
    while not (store.exists() and list(store.iterdir())) and time.monotonic() < give_up:
        time.sleep(0.05)
    cancel = lab.backups.cancel(datastore, vm)
    argv = lab.hosts.action_argv(cancel.argv, {}, "/var/lib/one")
    assert subprocess.run(argv, check=False).returncode == 0
    run.join(20)
    assert ended[0].exit_code == 255 and "cancelled" in ended[0].stderr
    assert list(store.iterdir()) == []
