"""Two actions on one object at the same time, from one front-end or two: one is held in the middle."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

import pytest

from storpool_addon.lab.command import Command, Result
from storpool_addon.lab.conductor import BEFORE
from storpool_addon.lab.lab import ENVIRONMENT, HOME, Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.simulator import Moment, Verdict
from tests.datastore import scene as images
from tests.sweep import scene
from tests.tm import cloud

COPY = "one-img-7-42-0"


class Hold:
    """The gate of a simulator: the first call of that query waits until it is let go."""

    def __init__(self, query: str, when: str = BEFORE) -> None:
        self._aim = (query, when)
        self._taken = threading.Lock()
        self.reached = threading.Event()
        self.let_go = threading.Event()

    def __call__(self, moment: Moment) -> Verdict | None:
        if (moment.query, moment.when) == self._aim and self._taken.acquire(blocking=False):
            self.reached.set()
            self.let_go.wait(50)
        return None


@contextmanager
def held(
    lab: Lab, command: Command, query: str, when: str = BEFORE, home: str = "/var/tmp"
) -> Iterator[Callable[[], Result]]:
    """A script stands at a call meanwhile; what is given lets it end.

    home: where it looks for locks; by default it is another front-end's script.
    """
    hold = Hold(query, when)
    lab.simulator.gate = hold
    # Its home is its own, so that it knows nothing of the locks of this front-end.
    environment = {
        **ENVIRONMENT,
        "HOME": home,
        "ONE_AUTH": f"{HOME}/.one/one_auth",
        "ONE_XMLRPC": lab.rpc.endpoint,
    }
    argv = lab.hosts.action_argv(command.argv, environment, HOME)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(argv, **pipes)  # type: ignore[call-overload]
    process.stdin.write(lab.hosts.given(command.stdin))
    process.stdin.close()
    process.stdin = None

    def end() -> Result:
        hold.let_go.set()
        stdout, stderr = process.communicate(timeout=60)
        return Result(process.returncode, stdout.decode(), stderr.decode(), [], 0.0)

    try:
        assert hold.reached.wait(30), process.communicate(timeout=1)
        yield end
    finally:
        hold.let_go.set()
        process.kill()
        process.wait()


def succeeded(result: Result) -> bool:
    return (result.exit_code, result.stderr) == (0, "")


def content(lab: Lab, name: str) -> bytes:
    return lab.read_volume(name, 5)


def deployed(lab: Lab) -> Vm:
    vm = lab.vms.create(lab.give_image(content=b"hello"), Volatile(4), context=False)
    lab.do(lab.vms.deploy(vm, "node1"))
    return vm


# Delete with clone


def test_an_image_is_deleted_while_a_vm_gets_its_copy(lab: Lab) -> None:
    image = lab.give_image(content=b"hello")
    clone = scene.upto(lab.vms.deploy(lab.vms.create(image, context=False), "node1"), "clone")
    with held(lab, next(lab.images.delete(image)), "VolumeDelete") as end:
        cloud.succeeds(lab, clone)
        assert succeeded(end())
    assert cloud.volumes(lab) == {COPY}
    cloud.attach(lab, COPY)
    assert content(lab, COPY) == b"hello"


def test_a_copy_of_an_image_that_is_just_deleted(lab: Lab) -> None:
    image = lab.give_image()
    clone = scene.upto(lab.vms.deploy(lab.vms.create(image, context=False), "node1"), "clone")
    with held(lab, clone, "VolumeCreate") as end:
        cloud.succeeds(lab, next(lab.images.delete(image)))
        result = end()
    assert result.exit_code == 1 and "one-img-7" in result.stderr
    assert cloud.volumes(lab) == set() and cloud.attached(lab) == {}


# Detach with migrate


def test_a_disk_goes_while_its_vm_migrates(lab: Lab) -> None:
    """Nothing of the VM stays on the target, and the disk that is gone comes back nowhere."""
    vm = deployed(lab)
    premigrate = scene.upto(lab.vms.live_migrate(vm, "node2"), "premigrate")
    path = f"node1:{vm.home}/disk.0"
    with held(lab, premigrate, "VolumesReassignWait") as end:
        cloud.succeeds(lab, Command("tm/storpool/delete", (path, "42", "101")))
        result = end()
    assert result.exit_code == 1 and COPY in result.stderr
    assert cloud.attached(lab) == {"one-sys-42-1-raw": {"node1": "rw"}}
    assert cloud.volumes(lab) == {"one-img-7", "one-sys-42-1-raw"}


def test_a_vm_is_moved_while_its_migration_ends(lab: Lab) -> None:
    """Whatever comes last says where the disks are, and that is one host."""
    vm = deployed(lab)
    for name in (COPY, "one-sys-42-1-raw"):
        cloud.attach(lab, name, "node1", "node2")
    scene.home(lab, vm, "node2")
    postmigrate = scene.upto(lab.vms.live_migrate(vm, "node2"), "postmigrate")
    failmigrate = postmigrate._replace(script="tm/storpool/failmigrate")
    with held(lab, postmigrate, "VolumesReassignWait") as end:
        lab.run(failmigrate)
        end()
    (hosts,) = {tuple(each) for each in cloud.attached(lab).values()}
    assert len(hosts) == 1


# Resize with others


@pytest.mark.parametrize("first", [True, False])
def test_a_disk_grows_while_it_is_deleted(lab: Lab, first: bool) -> None:
    vm = deployed(lab)
    lab.vms.poweroff(vm)
    resize = scene.upto(lab.vms.resize_disk(vm, 0, 8), "resize")
    delete = Command("tm/storpool/delete", (f"node1:{vm.home}/disk.0", "42", "101"))
    holding, other, query = (resize, delete, "VolumeUpdate") if first else (delete, resize, "VolumeDelete")
    with held(lab, holding, query) as end:
        cloud.succeeds(lab, other)
        result = end()
    assert COPY not in cloud.volumes(lab)
    assert result.exit_code == int(first) and (not first or COPY in result.stderr)


# Two front-ends


def test_two_front_ends_delete_one_disk(lab: Lab) -> None:
    """It is gone, and kept once."""
    vm = deployed(lab)
    delete = Command("tm/storpool/delete", (f"node1:{vm.home}/disk.0", "42", "101"))
    with held(lab, delete, "VolumeDelete") as end:
        cloud.succeeds(lab, delete)
        assert succeeded(end())
    assert COPY not in cloud.volumes(lab)
    assert len([name for name in cloud.snapshots(lab) if "-deleted-" in name]) == 1


@pytest.mark.parametrize("query", ["VolumesReassignWait", "VolumeDelete"])
def test_a_front_end_that_comes_back_does_not_delete_the_next_disk_of_that_name(lab: Lab, query: str) -> None:
    """The leader stands still in a deletion; the next one ends it, and makes the VM anew, which runs."""
    vm = deployed(lab)
    delete = Command("tm/storpool/delete", (f"node1:{vm.home}/disk.0", "42", "101"))
    with held(lab, delete, query) as end:
        lab.do(lab.vms.recreate(vm))
        lab.do(lab.vms.deploy(vm, "node2"))
        lab.simulator.mark_open(12, COPY)
        end()
    assert cloud.attached(lab, COPY) == {COPY: {"node2": "rw"}}


def test_an_undo_leaves_a_disk_that_a_guest_runs_on(lab: Lab) -> None:
    """Two front-ends make one disk; the second takes it for its own and starts the VM, the first fails."""
    image = lab.give_image(content=b"hello")
    vm = lab.vms.create(image, context=False)
    clone = scene.upto(lab.vms.deploy(vm, "node1"), "clone")
    with held(lab, clone, "VolumesReassignWait") as end:
        cloud.succeeds(lab, clone)
        lab.simulator.mark_open(11, COPY)
        lab.hosts.nodes["node1"].power_off()
        result = end()
    assert result.exit_code == 1 and f"delete volume {COPY}" in result.stderr
    assert "is open at client 11" in result.stderr
    assert cloud.attached(lab, COPY) == {COPY: {"node1": "rw"}}


def test_two_front_ends_fill_one_image(lab: Lab) -> None:
    """The second begins anew; the first, which comes back later, has no image to finish and says so."""
    image = images.prepare(lab, images.put(lab, images.DISK))
    cp = images.cp(lab, image)
    with held(lab, cp, "VolumeUpdate") as end:
        images.answer(lab.run(cp))
        result = end()
    assert result.exit_code == 1 and f"one-img-{image.id}" in result.stderr
    assert cloud.volumes(lab) == {f"one-img-{image.id}"}
    image.source = f"one-ds-101/one-img-{image.id}"
    images.is_whole(lab, image, images.DISK, 8)
