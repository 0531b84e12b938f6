"""VMs on a system datastore of another driver: their directory is its business, their StorPool disks ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storpool_addon.lab.command import Command, Result, StepFailed
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.lab.objects import Datastore
from tests.tm import cloud

REMOTES = Path(__file__).resolve().parents[2] / "remotes" / "tm" / "storpool"
OWN, IMAGE, DISC = "one-img-7-42-0", "one-img-8", "one-img-9-42-2"
DISKS = {"disk.0": OWN, "disk.1": IMAGE, "disk.2": DISC}


def foreign(lab: Lab, tm_mad: str) -> Datastore:
    """A system datastore of OpenNebula's own driver `ssh` or `shared`."""
    lab.foreign.install(tm_mad)
    if tm_mad == "shared":
        place = Path(lab.directory) / "shared"
        place.mkdir()
        for host in (lab.hosts.frontend, *lab.hosts.nodes.values()):
            Path(host.path("/var/lib/one/datastores")).mkdir()
            os.symlink(place, host.path("/var/lib/one/datastores/110"))
    shared = "YES" if tm_mad == "shared" else "NO"
    return lab.oned.add_system_datastore(110, tm_mad, tm_mad=tm_mad, SHARED=shared)


def machine(lab: Lab, tm_mad: str) -> Vm:
    """A VM that runs on node1, with a StorPool disk of each kind and a volatile one of that driver."""
    disks = (lab.give_image(content=b"hello"), lab.give_image(persistent=True), lab.give_image(type="CDROM"))
    vm = lab.vms.create(*disks, Volatile(1))
    lab.do(lab.vms.deploy(vm, "node1", foreign(lab, tm_mad)), silent)
    return vm


def silent(command: Command, result: Result) -> None:
    """Each script of ours succeeds."""
    ours = command.script.startswith("tm/storpool/")
    assert (result.exit_code, result.stderr if ours else "") == (0, ""), (command, result)


def on(lab: Lab, *hosts: str) -> None:
    """The disks are on these hosts, and only the first need have the links."""
    expected = dict.fromkeys(hosts, "rw")
    assert cloud.attached(lab) == ({OWN: expected, IMAGE: expected, DISC: expected} if hosts else {})
    if hosts:
        found = cloud.links(lab, hosts[0], "/var/lib/one/datastores/110/42")
        assert {name: found.get(name) for name in DISKS} == DISKS


@pytest.mark.parametrize("tm_mad", ["ssh", "shared"])
def test_a_whole_life(lab: Lab, tm_mad: str) -> None:
    vm = machine(lab, tm_mad)
    on(lab, "node1")
    assert vm.disks[0]["TM_MAD_SYSTEM"] == tm_mad
    lab.do(lab.vms.live_migrate(vm, "node2"), silent)
    on(lab, "node2")
    lab.vms.poweroff(vm)
    lab.do(lab.vms.migrate(vm, "node1"), silent)
    on(lab, "node1")
    lab.do(lab.vms.resume(vm), silent)
    lab.do(lab.vms.stop(vm), silent)
    on(lab)
    lab.do(lab.vms.resume(vm, "node2"), silent)
    on(lab, "node2")
    lab.do(lab.vms.undeploy(vm), silent)
    on(lab)
    lab.do(lab.vms.resume(vm, "node1"), silent)
    on(lab, "node1")
    lab.do(lab.vms.terminate(vm), silent)
    on(lab)
    # Neither the volatile disk nor the context image is ours to keep.
    assert cloud.volumes(lab) == {"one-img-7", IMAGE, "one-img-9"}


def test_disks_that_come_and_go_later(lab: Lab) -> None:
    vm = machine(lab, "ssh")
    disk_id = lab.do(lab.vms.attach_disk(vm, lab.give_image()), silent)
    lab.do(lab.vms.resize_disk(vm, disk_id, 8), silent)
    lab.do(lab.vms.live_migrate(vm, "node2"), silent)
    assert cloud.attached(lab, f"one-img-10-42-{disk_id}") == {f"one-img-10-42-{disk_id}": {"node2": "rw"}}
    lab.do(lab.vms.detach_disk(vm, disk_id), silent)
    on(lab, "node2")


def test_a_host_that_died(lab: Lab) -> None:
    vm = machine(lab, "ssh")
    lab.power_off("node1")
    lab.do(lab.vms.evacuate(vm, "node2"), silent)
    on(lab, "node2")


@pytest.mark.parametrize("then", ["live again", "cold", "stop", "terminate"])
def test_what_a_failed_migration_leaves_the_next_action_puts_right(lab: Lab, then: str) -> None:
    """Such a driver never lets us know of the failure: both hosts have the volumes until then."""
    vm = machine(lab, "ssh")
    with pytest.raises(StepFailed):
        lab.foreign.fails("ssh", "postmigrate")
        lab.hosts.frontend.write("/var/lib/one/remotes/vmm/kvm/migrate", "#!/bin/sh\nexit 1\n", 0o755)
        lab.do(lab.vms.live_migrate(vm, "node2"))
    on(lab, "node1", "node2")
    lab.foreign.install("ssh")
    os.unlink(lab.hosts.frontend.path("/var/lib/one/remotes/tm/ssh/fails-postmigrate"))
    for name in DISKS.values():
        lab.simulator.mark_open(11, name)
    if then == "live again":
        lab.do(lab.vms.live_migrate(vm, "node2"), silent)
        on(lab, "node2")
        return
    for name in DISKS.values():
        lab.simulator.mark_open(11, name, False)
    if then == "cold":
        lab.vms.poweroff(vm)
        lab.do(lab.vms.migrate(vm, "node2"), silent)
        on(lab, "node2")
        return
    verb = {"stop": lab.vms.stop, "terminate": lab.vms.terminate}[then]
    lab.do(verb(vm), silent)
    assert not any(cloud.attached(lab).values())


def test_a_datastore_that_does_not_say_how(lab: Lab) -> None:
    lab.foreign.install("qcow2")
    vm = lab.vms.create(lab.give_image())
    qcow2 = lab.oned.add_system_datastore(110, "files", tm_mad="qcow2")
    with pytest.raises(ValueError, match="does not support transfer mode: qcow2"):
        lab.do(lab.vms.deploy(vm, "node1", qcow2))


def test_a_suffix_makes_no_difference(lab: Lab) -> None:
    """one_tm takes the script without a suffix where there is none with it, and oned mixes suffixes up."""
    assert not [each.name for each in REMOTES.iterdir() if "." in each.name]
    for verb in ("CLONE", "LN", "MV", "MVDS", "DELETE", "RESIZE", "CPDS", "SNAP_CREATE_LIVE"):
        for suffix in ("ssh", "shared", "storpool", "lvm"):
            command = lab.oned.transfer(f"{verb}.{suffix}", "storpool", "node1:/x", 42)
            assert command.script == f"tm/storpool/{verb.lower()}"
