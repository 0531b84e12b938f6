"""The scripts of each verb: which, with which arguments, in which order, in which state of the VM."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storpool_addon.lab import machine
from storpool_addon.lab.command import Command, Result, StepFailed, Steps
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.lab.machines import Machines
from storpool_addon.lab.objects import Image
from storpool_addon.lab.oned import Oned

HOME = "/var/lib/one//datastores/100/42"
FINE = Result(0, "", "", [], 0.0)
FAILED = Result(1, "", "no\n", [], 0.0)
Seen = "list[tuple[int, str]]"


class World:
    """An oned whose scripts do nothing, and a list of what it ran: (LCM state, command line)."""

    def __init__(self, remotes: Path, version: str = "7.4") -> None:
        self.oned = Oned("fe", str(remotes), version=version)
        images = self.oned.add_image_datastore()
        self.oned.add_system_datastore()
        self.oned.add_system_datastore(110, "other")
        for number, name in enumerate(("node1", "node2"), 11):
            self.oned.add_host(name, number)
        self.written: dict[str, str] = {}
        self.machines = Machines(self.oned, self.written.__setitem__)
        self.clone = self._image(7, images, persistent=False)
        self.persistent = self._image(8, images, persistent=True)
        self.seen: list[tuple[int, str]] = []
        self.stdin: list[bytes] = []

    def _image(self, number: int, datastore: Any, persistent: bool) -> Image:
        source = f"one-ds-101/one-img-{number}"
        image = Image(number, "x", datastore, persistent=persistent, size_mib=4, format="raw", source=source)
        self.oned.images[number] = image
        return image

    def run(self, vm: Vm, steps: Steps[Any], failing: str = "") -> list[tuple[int, str]]:
        """Run a verb to its end; the script whose line starts with `failing` fails."""
        self.seen = []
        try:
            command = next(steps)
            while True:
                self.seen.append(
                    (vm.lcm_state, str(command).replace("tm/storpool/", "").replace(HOME, "HOME"))
                )
                self.stdin.append(command.stdin)
                failed = bool(failing) and self.seen[-1][1].startswith(failing)
                command = steps.throw(StepFailed(command, FAILED, "no")) if failed else steps.send(FINE)
        except StopIteration:
            return self.seen

    def deployed(self) -> Vm:
        vm = self.machines.create(self.clone, self.persistent, Volatile(16, "swap"))
        self.run(vm, self.machines.deploy(vm, "node1"))
        return vm


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_deploy(world: World) -> None:
    vm = world.machines.create(world.clone, world.persistent, Volatile(16), Volatile(16, "swap"))
    assert world.run(vm, world.machines.deploy(vm, "node1")) == [
        (1, "clone fe:one-ds-101/one-img-7 node1:HOME/disk.0 42 101"),
        (1, "ln fe:one-ds-101/one-img-8 node1:HOME/disk.1 42 101"),
        (1, "mkimage 16 raw node1:HOME/disk.2 42 100"),
        (1, "mkswap 16 node1:HOME/disk.3 42 100"),
        (2, "context /var/lib/one/vms/42/context.sh node1:HOME/disk.4 42 100"),
    ]
    assert (vm.state, vm.lcm_state, vm.attributes["TM_MAD_SYSTEM"]) == (machine.ACTIVE, 3, "storpool")
    assert "HOSTNAME='vm-42'" in world.written["/var/lib/one/vms/42/context.sh"]
    assert (world.clone.state, world.persistent.state) == (2, 8)


def test_a_deployment_that_failed_can_be_tried_again(world: World) -> None:
    vm = world.machines.create(world.clone, world.persistent)
    with pytest.raises(StepFailed):
        world.run(vm, world.machines.deploy(vm, "node1"), failing="ln")
    assert vm.lcm_state == 39
    assert len(world.run(vm, world.machines.deploy(vm, "node1"))) == 3
    assert len(vm.history) == 1


TERMINATED = [
    (11, "delete {}:HOME/disk.0 42 101"),
    (11, "mvds {}:HOME/disk.1 one-ds-101/one-img-8 42 101"),
    (11, "delete {}:HOME/disk.2 42 100"),
    (11, "delete {}:HOME 42 100"),
]
CLEANED = [
    "delete node1:HOME/disk.0 42 101",
    "delete node1:HOME/disk.1 42 101",
    "delete node1:HOME/disk.2 42 100",
    "delete node1:HOME 42 100",
]


def terminated(host: str) -> list[tuple[int, str]]:
    return [(lcm, line.format(host)) for lcm, line in TERMINATED]


def moved(lcm: int, source: str, target: str) -> list[tuple[int, str]]:
    paths = [("disk.0 ", "101"), ("disk.1 ", "101"), ("disk.2 ", "100"), (" ", "100")]
    return [
        (lcm, f"mv {source}:HOME/{path}{target}:HOME/{path}42 {ds}".replace("HOME/ ", "HOME "))
        for path, ds in paths
    ]


def booted(host: str) -> tuple[int, str]:
    return (2, f"context /var/lib/one/vms/42/context.sh {host}:HOME/disk.3 42 100")


def test_terminate(world: World) -> None:
    vm = world.deployed()
    assert world.run(vm, world.machines.terminate(vm)) == [
        (lcm, line.format("node1")) for lcm, line in TERMINATED
    ]
    assert vm.state == machine.DONE
    assert (world.clone.state, world.persistent.state, world.persistent.vms) == (1, 1, set())


def test_an_undeployed_vm_is_terminated_on_the_front_end(world: World) -> None:
    vm = world.deployed()
    world.run(vm, world.machines.undeploy(vm))
    assert world.run(vm, world.machines.terminate(vm)) == [
        (lcm, line.format("fe")) for lcm, line in TERMINATED
    ]


@pytest.mark.parametrize(("verb", "lcm"), [("recreate", 15), ("cancel_prolog", 23)])
def test_a_cleanup_deletes_all_and_goes_on_whatever_fails(world: World, verb: str, lcm: int) -> None:
    vm = world.deployed()
    assert world.run(vm, getattr(world.machines, verb)(vm), failing="delete") == [
        (lcm, line) for line in CLEANED
    ]
    assert vm.state == (machine.PENDING if verb == "recreate" else machine.DONE)


def test_stop_and_resume_elsewhere(world: World) -> None:
    vm = world.deployed()
    assert world.run(vm, world.machines.stop(vm)) == moved(10, "node1", "fe")
    assert vm.state == machine.STOPPED
    assert world.run(vm, world.machines.resume(vm, "node2")) == [*moved(9, "fe", "node2"), booted("node2")]


def test_undeploy_and_resume(world: World) -> None:
    vm = world.deployed()
    assert world.run(vm, world.machines.undeploy(vm)) == moved(30, "node1", "fe")
    assert world.run(vm, world.machines.resume(vm)) == [*moved(31, "fe", "node1"), booted("node1")]


@pytest.mark.parametrize(
    ("prepare", "lcm", "boots"),
    [
        (Machines.poweroff, 43, False),
        (Machines.suspend, 45, False),
        (lambda machines, vm: None, 8, True),
    ],
)
def test_cold_migration(world: World, prepare: Callable[[Machines, Vm], None], lcm: int, boots: bool) -> None:
    vm = world.deployed()
    prepare(world.machines, vm)
    wanted = moved(lcm, "node1", "node2") + ([booted("node2")] if boots else [])
    assert world.run(vm, world.machines.migrate(vm, "node2")) == wanted


def test_migration_to_another_system_datastore(world: World) -> None:
    vm = world.deployed()
    world.machines.poweroff(vm)
    lines = world.run(vm, world.machines.migrate(vm, "node2", world.oned.datastores[110]))
    assert lines[-1] == (43, "mv node1:HOME node2:/var/lib/one//datastores/110/42 42 110")


def test_a_dead_host_is_left(world: World) -> None:
    vm = world.deployed()
    assert world.run(vm, world.machines.evacuate(vm, "node2")) == [
        *moved(60, "node1", "node2"),
        booted("node2"),
    ]


def migration(*verbs: str) -> list[tuple[int, str]]:
    return [(4, f"{verb} node1 node2 HOME 42 100") for verb in verbs]


@pytest.mark.parametrize(
    ("version", "fails", "failing", "verbs", "host"),
    [
        ("7.4", False, "", ["premigrate", "postmigrate"], "node2"),
        ("7.4", False, "postmigrate", ["premigrate", "postmigrate"], "node2"),
        ("7.4", True, "", ["premigrate", "failmigrate"], "node1"),
        ("7.4", False, "premigrate", ["premigrate", "failmigrate"], "node1"),
        ("7.0", False, "premigrate", ["premigrate"], "node1"),
    ],
)
def test_live_migration(
    tmp_path: Path, version: str, fails: bool, failing: str, verbs: list[str], host: str
) -> None:
    world = World(tmp_path, version)
    vm = world.deployed()
    steps = world.machines.live_migrate(vm, "node2", fails=fails)
    if failing == "premigrate":
        with pytest.raises(StepFailed):
            world.run(vm, steps, failing)
    else:
        world.run(vm, steps, failing)
    assert world.seen == migration(*verbs)
    assert vm.here.host == host
    document = base64.b64decode(world.stdin[-1]).decode()
    assert document.startswith("<VM>")
    assert document.count("<HISTORY>") == 1


def test_hot_plug_has_a_suffix_that_falls_back(world: World, tmp_path: Path) -> None:
    vm = world.deployed()
    assert world.run(vm, world.machines.attach_disk(vm, world.clone)) == [
        (17, "clone fe:one-ds-101/one-img-7 node1:HOME/disk.4 42 101")
    ]
    (tmp_path / "tm" / "storpool").mkdir(parents=True)
    (tmp_path / "tm" / "storpool" / "delete.storpool").touch()
    assert world.run(vm, world.machines.detach_disk(vm, 4)) == [
        (17, "delete.storpool node1:HOME/disk.4 42 101")
    ]
    assert 4 not in vm.disks


def test_oned_carries_a_suffix_over_to_the_next_disks(world: World, tmp_path: Path) -> None:
    vm = world.deployed()
    world.run(vm, world.machines.attach_disk(vm, world.clone))
    world.run(vm, world.machines.attach_disk(vm, Volatile(16)))
    del vm.disks[5]["TM_MAD_SYSTEM"]
    (tmp_path / "tm" / "storpool").mkdir(parents=True)
    (tmp_path / "tm" / "storpool" / "mv.storpool").touch()
    lines = [line.split()[0] for _, line in world.run(vm, world.machines.stop(vm))]
    assert lines == ["mv", "mv", "mv", "mv.storpool", "mv.storpool", "mv"]


@pytest.mark.parametrize(("off", "lcm"), [(False, 17), (True, 33)])
def test_a_disk_that_libvirt_refuses_is_taken_back(world: World, off: bool, lcm: int) -> None:
    vm = world.deployed()
    if off:
        world.machines.poweroff(vm)
    with pytest.raises(RuntimeError):
        world.run(vm, world.machines.attach_disk(vm, world.persistent, fails=True))
    assert [line.split()[0] for _, line in world.seen] == ["ln", "mvds"]
    assert world.seen[0][0] == lcm
    assert (vm.state, 4 in vm.disks) == (machine.POWEROFF if off else machine.ACTIVE, False)


@pytest.mark.parametrize(
    ("prepare", "lcm"),
    [(None, 62), ("poweroff", 63), ("undeploy", 64)],
)
def test_resize_in_every_state(world: World, prepare: str | None, lcm: int) -> None:
    vm = world.deployed()
    if prepare == "undeploy":
        world.run(vm, world.machines.undeploy(vm))
    elif prepare:
        world.machines.poweroff(vm)
    assert world.run(vm, world.machines.resize_disk(vm, 0, 8)) == [(lcm, "resize node1:HOME/disk.0 8 42 101")]
    assert vm.disks[0]["SIZE"] == "8"
    assert "RESIZE" not in vm.disks[0]


def test_context_files_are_words_of_the_line(world: World) -> None:
    vm = world.deployed()
    (line,) = world.run(vm, world.machines.update_context(vm, FILES="/a/init.sh /b/key:k"))
    assert line[1] == "context /var/lib/one/vms/42/context.sh /a/init.sh /b/key:k node1:HOME/disk.3 42 100"


def test_a_blank_in_an_argument_splits_it(world: World) -> None:
    command = world.oned.transfer("DELETE", "storpool", "node1:/a b", 1, 2)
    assert command == Command("tm/storpool/delete", ("node1:/a", "b", "1", "2"))
