"""resize: a disk grows and never shrinks; a running guest's host knows before the action ends."""

from __future__ import annotations

import threading
import time

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from tests.sweep import scene
from tests.tm import cloud

COPY = "one-img-7-42-0"


def resize(vm: Vm, size_mib: object, datastore: int = 101) -> Command:
    return Command("tm/storpool/resize", (f"node1:{vm.home}/disk.0", str(size_mib), "42", str(datastore)))


@pytest.mark.parametrize("lcm", [62, 63, 64])
@pytest.mark.parametrize("size_mib", [4, 5, 4096])
def test_a_disk_grows(lab: Lab, lcm: int, size_mib: int) -> None:
    vm = scene.machine(lab, lab.give_image(content=b"hello"))
    vm.lcm_state = lcm
    result = cloud.succeeds(lab, resize(vm, size_mib), times=2)
    assert cloud.volume(lab, COPY)["size"] == size_mib * cloud.MIB
    assert lab.read_volume(COPY, 5) == b"hello"
    assert ("ClientConfigWait 11" in [call.what for call in result.calls]) == (lcm == 62)
    assert cloud.kinds(result).get("ssh", 0) == 0 and not cloud.asks_for_lists(result)


@pytest.mark.parametrize(
    ("disk", "name", "datastore"),
    [
        (Volatile(4), "one-sys-42-0-raw", 100),
        (Volatile(4, "swap"), "one-sys-42-0-swap", 100),
        (None, "one-img-7", 101),
    ],
)
def test_disks_of_every_kind(lab: Lab, disk: Volatile | None, name: str, datastore: int) -> None:
    vm = scene.machine(lab, disk or lab.give_image(persistent=True))
    cloud.succeeds(lab, resize(vm, 8, datastore), times=2)
    assert cloud.volume(lab, name)["size"] == 8 * cloud.MIB


@pytest.mark.parametrize(
    ("size_mib", "code", "message"),
    [
        (3, 1, "cannot shrink"),
        (0, 2, "a size of 0 MiB"),
        (-1, 2, "a size of -1 MiB"),
        (1 << 63, 2, "a size of 9223372036854775808 MiB"),
        (1 << 43, 2, "a size of 8796093022208 MiB"),
        (1 << 40, 1, COPY),
        ("4.5", 2, "SIZE_MIB '4.5'"),
        ("", 2, "SIZE_MIB ''"),
        ("1" * 30, 2, "is not a whole number"),
    ],
)
def test_sizes_that_are_not_possible(lab: Lab, size_mib: object, code: int, message: str) -> None:
    vm = scene.machine(lab, lab.give_image())
    assert message in cloud.refused(lab, resize(vm, size_mib), code=code)


@pytest.mark.parametrize("trouble", ["foreign", "missing"])
def test_a_volume_that_is_not_there_or_not_ours(lab: Lab, trouble: str) -> None:
    vm = scene.machine(lab, lab.give_image())
    if trouble == "foreign":
        lab.storpool(f"VolumeUpdate/{COPY}", {"tags": {"nloc": "two"}})
    else:
        cloud.attach(lab, COPY)
        lab.storpool(f"VolumeDelete/{COPY}", {})
    assert COPY in cloud.refused(lab, resize(vm, 8))


def test_the_client_is_waited_for(lab: Lab) -> None:
    vm = scene.machine(lab, lab.give_image())
    vm.lcm_state = 62
    lab.simulator.set_client(11, "updating")
    timer = threading.Timer(1.5, lab.simulator.set_client, (11, "running"))
    timer.start()
    started = time.monotonic()
    cloud.succeeds(lab, resize(vm, 8))
    assert time.monotonic() - started >= 1.4
    timer.join()
