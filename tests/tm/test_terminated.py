"""SIGTERM to a script and all its children, during each call that it makes: undone, and nothing runs on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.conductor import Ticket
from storpool_addon.lab.lab import ENVIRONMENT, HOME, Lab
from storpool_addon.lab.machine import Volatile
from storpool_addon.lab.objects import Image
from storpool_addon.simulator.switches import Switches
from tests.programs import needs
from tests.sweep import leftovers, scene
from tests.tm import cloud
from tests.tm.test_snapshots import with_virsh


class Terminated:
    """One run of a command that gets SIGTERM when it makes call number `call`."""

    def __init__(self, lab: Lab, command: Command, call: int) -> None:
        self._call, self._seen, self._pid = call, 0, 0
        self._plain: Callable[[str, str], Ticket] = lab.conductor.enter
        lab.conductor.enter = self._enter  # type: ignore[method-assign]
        argv = lab.hosts.action_argv(command.argv, ENVIRONMENT, HOME)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        lab.conductor.begin()
        process = subprocess.Popen(argv, start_new_session=True, **pipes)  # type: ignore[call-overload]
        self._pid = process.pid
        lab.conductor.started(process.pid)
        try:
            self.stdout, self.stderr = process.communicate(command.stdin, timeout=60)
        finally:
            process.kill()
            lab.conductor.end()
            lab.conductor.enter = self._plain  # type: ignore[method-assign]
        self.exit_code = process.returncode

    @property
    def was_struck(self) -> bool:
        return self._seen >= self._call

    def _enter(self, kind: str, what: str) -> Ticket:
        self._seen += 1
        if self._seen == self._call:
            while not self._pid:
                time.sleep(0.01)
            os.killpg(self._pid, signal.SIGTERM)
            time.sleep(0.1)
        return self._plain(kind, what)


def clone(lab: Lab) -> Command:
    return scene.upto(lab.vms.deploy(lab.vms.create(image(lab)), "node1"), "clone")


def ln(lab: Lab) -> Command:
    return scene.upto(lab.vms.deploy(lab.vms.create(lab.give_image(persistent=True)), "node1"), "ln")


def ln_shared(lab: Lab) -> Command:
    """Another VM has the image already."""
    shared = lab.give_image(persistent=True)
    shared.attributes["PERSISTENT_TYPE"] = "SHAREABLE"
    vm = lab.vms.create(shared)
    scene.machine(lab, shared, context=False)
    return scene.upto(lab.vms.deploy(vm, "node2"), "ln")


def mkimage(lab: Lab) -> Command:
    return scene.upto(lab.vms.deploy(lab.vms.create(Volatile(8, fs="ext4")), "node1"), "mkimage")


def context(lab: Lab) -> Command:
    return scene.upto(lab.vms.deploy(lab.vms.create(), "node1"), "context")


def premigrate(lab: Lab) -> Command:
    return scene.upto(lab.vms.live_migrate(scene.machine(lab, image(lab)), "node2"), "premigrate")


def snap_create_live(lab: Lab) -> Command:
    with_virsh(lab)
    lab.simulator.cluster.switches = Switches(deletion_delay_s=0.0)
    lab.configure(DISK_SNAPSHOT_FSFREEZE=1)
    return scene.upto(lab.disk_snapshots.create(scene.machine(lab, image(lab)), 0), "snap_create_live")


def image(lab: Lab) -> Image:
    return lab.give_image(content=b"hello")


@pytest.mark.parametrize(
    "prepare",
    [
        clone,
        ln,
        ln_shared,
        mkimage,
        pytest.param(context, marks=needs("xorriso")),
        premigrate,
        snap_create_live,
    ],
)
def test_whatever_it_did_is_taken_back(lab: Lab, prepare: Callable[[Lab], Command]) -> None:
    """P2, I7."""
    command = prepare(lab)
    before = cloud.picture(lab)
    for call in range(1, 20):
        run = Terminated(lab, command, call)
        if not run.was_struck:
            break
        said = run.stderr.decode()
        assert (run.exit_code, run.stdout) == (143, b""), f"call {call}: {run.exit_code}, {said}"
        assert said.count("\n") == 1 and "ended by signal 15" in said and "could not undo" not in said
        running = leftovers.processes(lab, patience_s=2)
        assert not running, f"call {call}: {running}"
        changed = [each for each in cloud.differences(before, cloud.picture(lab)) if not on_a_host(each)]
        assert not changed, f"call {call}: {changed}"
    assert call > 4 and run.exit_code == 0
    cloud.succeeds(lab, command)


def on_a_host(difference: str) -> bool:
    """Links and files of the VM's directory: what lies there is replaced or removed by what comes next."""
    return difference.startswith("node")
