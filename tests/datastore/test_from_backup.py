"""Images made of backups: as of the increment that was asked for, and never of nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from storpool_addon.lab.command import StepFailed
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.objects import Datastore
from tests import chains
from tests.sweep import scene

pytestmark = pytest.mark.needs("qemu-img")
MIB = 1 << 20
STATES = [b"first".ljust(MIB, b"-") + bytes(MIB), b"first".ljust(MIB, b"-") + b"then".ljust(MIB, b".")]


def target(lab: Lab) -> Datastore:
    return lab.oned.datastores[101]


def test_an_image_of_each_increment(lab: Lab, tmp_path: Path) -> None:
    vm, datastore = scene.machine(lab, lab.give_image()), lab.backups.add_datastore()
    backup = lab.backups.record(datastore, vm, "abc0", [0], incremental=True)
    lab.backups.record(datastore, vm, "abc1", [0], increment_of=backup)
    for number, (name, part) in enumerate(chains.files(tmp_path, 0, STATES)):
        lab.backups.keep(datastore, vm, f"abc{number}", {name: part})
    for increment, content in ((-1, STATES[1]), (1, STATES[1]), (0, STATES[0])):
        image = lab.do(lab.backups.restore_image(backup, 0, target(lab), increment))
        assert image.size_mib == 2 and lab.read_volume(f"one-img-{image.id}") == content
    # As OpenNebula's own `restore` writes it: the newest increment's file behind the first one's chain.
    image = lab.images.allocate(target(lab), "OS", False, 2)
    image.path = lab.backups.url(backup, 0, 0).replace("abc0/disk.0.0", "abc1/disk.0.1")
    lab.do(lab.images.fill(image))
    assert lab.read_volume(f"one-img-{image.id}") == STATES[0]


def test_nothing_is_no_image(lab: Lab) -> None:
    vm, datastore = scene.machine(lab, lab.give_image()), lab.backups.add_datastore()
    backup = lab.backups.record(datastore, vm, "abc0", [0])
    lab.backups.keep(datastore, vm, "abc0", {"disk.0.0": b""})
    image = lab.images.allocate(target(lab), "OS", False, 2)
    image.path = lab.backups.url(backup, 0)
    with pytest.raises(StepFailed, match="nothing came"):
        lab.do(lab.images.fill(image))
    assert f"one-img-{image.id}" not in {each["name"] for each in lab.storpool("VolumesList")}
