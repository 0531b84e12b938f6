"""premigrate, postmigrate, failmigrate: two hosts while it is under way, one before and after."""

from __future__ import annotations

import os

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.conductor import AFTER, BEFORE, KILL, Fault
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from tests.sweep import scene
from tests.tm import cloud

NAMES = (
    "one-img-7-42-0",
    "one-img-8",
    "one-img-9-42-2",
    "one-sys-42-3-raw",
    "one-sys-42-4-swap",
    "one-sys-42-5-iso",
)


def machine(lab: Lab) -> Vm:
    """A VM on node1 with a disk of each kind."""
    vm = scene.machine(
        lab,
        lab.give_image(content=b"hello"),
        lab.give_image(persistent=True),
        lab.give_image(type="CDROM"),
        Volatile(4),
        Volatile(4, "swap"),
    )
    lab.hosts.nodes["node1"].write(f"{vm.home}/vm.xml", "<VM/>\n")
    return vm


def step(lab: Lab, vm: Vm, script: str, *caller: str) -> Command:
    """A step of a live migration from node1 to node2."""
    command = scene.upto(lab.vms.live_migrate(vm, "node2", fails=script == "failmigrate"), script)
    return command._replace(args=(*command.args, *caller))


def arrived(lab: Lab, vm: Vm) -> None:
    """The world after premigrate."""
    for name in NAMES:
        cloud.attach(lab, name, "node1", "node2")
    scene.home(lab, vm, "node2")


def everywhere(**clients: str) -> dict[str, dict[str, str]]:
    return dict.fromkeys(NAMES, clients)


def test_premigrate(lab: Lab) -> None:
    command = step(lab, machine(lab), "premigrate")
    cloud.attach(lab, "one-img-8", "node1")
    result = cloud.succeeds(lab, command, times=3)
    assert cloud.attached(lab) == everywhere(node1="rw", node2="rw")
    assert cloud.links(lab, "node2") == {f"disk.{number}": name for number, name in enumerate(NAMES)}
    assert set(cloud.files(lab, "node2")) == {"deployment.0", "vm.xml"}
    assert cloud.files(lab, "node1") == cloud.files(lab, "node2")
    assert not cloud.asks_for_lists(result)
    assert sum("VolumesReassignWait" in call.what for call in result.calls) == 1


def test_postmigrate(lab: Lab) -> None:
    vm = machine(lab)
    arrived(lab, vm)
    command = step(lab, vm, "postmigrate")
    lab.simulator.mark_open(11, NAMES[0])
    result = cloud.succeeds(lab, command, times=3)
    assert cloud.attached(lab) == everywhere(node2="rw")
    assert not os.path.exists(lab.hosts.nodes["node1"].path(vm.home))
    assert set(cloud.links(lab, "node2").values()) == set(NAMES)
    assert not cloud.asks_for_lists(result)


def test_postmigrate_is_one_call(lab: Lab) -> None:
    vm = machine(lab)
    arrived(lab, vm)
    result = cloud.succeeds(lab, step(lab, vm, "postmigrate"))
    assert sum("VolumesReassignWait" in call.what for call in result.calls) == 1


def test_failmigrate(lab: Lab) -> None:
    vm = machine(lab)
    arrived(lab, vm)
    lab.simulator.mark_open(11, NAMES[0])
    cloud.succeeds(lab, step(lab, vm, "failmigrate"), times=3)
    assert cloud.attached(lab) == everywhere(node1="rw")
    assert not os.path.exists(lab.hosts.nodes["node2"].path(vm.home))
    assert set(cloud.links(lab, "node1").values()) == set(NAMES)


def test_failmigrate_leaves_a_guest_that_has_arrived_alone(lab: Lab) -> None:
    vm = machine(lab)
    arrived(lab, vm)
    lab.simulator.mark_open(12, NAMES[3])
    line = cloud.refused(lab, step(lab, vm, "failmigrate"))
    assert f"'{NAMES[3]}' is open at client 12" in line


def test_read_only_disks_in_the_sites_mode(lab: Lab) -> None:
    lab.configure(READONLY_MODE="ro")
    command = step(lab, machine(lab), "premigrate")
    cloud.succeeds(lab, command)
    assert cloud.attached(lab, NAMES[0], NAMES[2]) == {
        NAMES[0]: {"node1": "rw", "node2": "rw"},
        NAMES[2]: {"node1": "rw", "node2": "ro"},
    }


@pytest.mark.parametrize("script", ["premigrate", "postmigrate", "failmigrate"])
def test_called_by_the_driver_of_the_directory(lab: Lab, script: str) -> None:
    """The directory is that driver's business; the volumes are ours."""
    vm = machine(lab)
    if script != "premigrate":
        arrived(lab, vm)
    before = [(cloud.files(lab, host), cloud.links(lab, host)) for host in ("node1", "node2")]
    result = cloud.succeeds(lab, step(lab, vm, script, "ssh"), times=2)
    hosts = {"premigrate": ("node1", "node2"), "postmigrate": ("node2",), "failmigrate": ("node1",)}[script]
    assert cloud.attached(lab) == everywhere(**dict.fromkeys(hosts, "rw"))
    assert before == [(cloud.files(lab, host), cloud.links(lab, host)) for host in ("node1", "node2")]
    assert "ssh" not in cloud.kinds(result)


def test_a_shared_directory_is_not_copied_or_removed(lab: Lab) -> None:
    lab.configure(SP_SYSTEM="shared")
    vm = machine(lab)
    cloud.succeeds(lab, step(lab, vm, "premigrate"))
    assert cloud.files(lab, "node2") == {}
    cloud.succeeds(lab, step(lab, vm, "postmigrate"))
    assert "vm.xml" in cloud.files(lab, "node1")


@pytest.mark.parametrize("script", ["premigrate", "postmigrate", "failmigrate"])
def test_a_vm_without_disks(lab: Lab, script: str) -> None:
    """D-16."""
    vm = lab.vms.create(context=False)
    scene.settle(lab.vms.deploy(vm, "node1"))
    cloud.succeeds(lab, step(lab, vm, script), times=2)
    assert cloud.attached(lab) == {}


def test_disks_of_other_drivers_are_theirs(lab: Lab) -> None:
    """D-8, D-21: each driver is told once, in the words of its own protocol."""
    lab.foreign.install("ceph")
    vm = machine(lab)
    for disk_id in (0, 1):
        vm.disks[disk_id]["TM_MAD"] = "ceph"
    home = "/var/lib/one/datastores/100/42"
    command = step(lab, vm, "premigrate")
    for script in ("premigrate", "postmigrate", "failmigrate"):
        cloud.succeeds(lab, command._replace(script=f"tm/storpool/{script}"))
        assert lab.foreign.calls("ceph")[-1] == f"{script} node1 node2 {home} 42 100 storpool"
    assert len(lab.foreign.calls("ceph")) == 3
    assert cloud.attached(lab, *NAMES[:3]) == {
        NAMES[0]: {"node1": "rw"},
        NAMES[1]: {"node1": "rw"},
        NAMES[2]: {"node1": "rw"},
    }


def test_another_driver_that_cannot_follow_stops_the_migration(lab: Lab) -> None:
    lab.foreign.install("ceph")
    lab.foreign.fails("ceph", "premigrate")
    vm = machine(lab)
    vm.disks[1]["TM_MAD"] = "ceph"
    line = cloud.refused(lab, step(lab, vm, "premigrate"))
    assert "premigrate of transfer manager ceph for VM 42 failed: premigrate of ceph failed, as asked" in line
    assert [call.split()[0] for call in lab.foreign.calls("ceph")] == ["premigrate", "failmigrate"]


@pytest.mark.parametrize("script", ["postmigrate", "failmigrate"])
def test_another_driver_does_not_stop_what_has_to_be_done(lab: Lab, script: str) -> None:
    lab.foreign.install("ceph")
    lab.foreign.fails("ceph", script)
    vm = machine(lab)
    arrived(lab, vm)
    vm.disks[1]["TM_MAD"] = "ceph"
    cloud.succeeds(lab, step(lab, vm, script), times=2)


@pytest.mark.parametrize(
    ("tm_mad", "home", "message"),
    [
        ("ssh", "ssh", "disk 1 of VM 42 is of transfer manager ssh, which is not in SYSTEM_COMPATIBLE_DS"),
        ("ssh", "shared", "disk 1 of VM 42 is of transfer manager ssh, which is not in SYSTEM_COMPATIBLE_DS"),
        ("ceph", "ssh", "transfer manager 'ceph', which is not in /var/lib/one/remotes/tm"),
        ("../../hooks", "ssh", "disk 1 of VM 42 is of transfer manager ../../hooks"),
    ],
)
def test_another_driver_that_nobody_vouches_for(lab: Lab, tm_mad: str, home: str, message: str) -> None:
    """The premigrate of tm/ssh removes the VM's directory on the target, whoever calls it."""
    lab.configure(SP_SYSTEM=home)
    lab.foreign.install("ssh")
    vm = machine(lab)
    vm.disks[1]["TM_MAD"] = tm_mad
    command = step(lab, vm, "premigrate")
    assert message in cloud.refused(lab, command)
    for script in ("postmigrate", "failmigrate") if tm_mad == "ssh" else ():
        cloud.succeeds(lab, command._replace(script=f"tm/storpool/{script}"))
    assert lab.foreign.calls("ssh") == []


def test_another_driver_that_the_site_vouches_for(lab: Lab) -> None:
    lab.configure(SYSTEM_COMPATIBLE_DS="ceph qcow2")
    lab.foreign.install("qcow2")
    vm = machine(lab)
    vm.disks[1]["TM_MAD"] = "qcow2"
    cloud.succeeds(lab, step(lab, vm, "premigrate"))
    assert len(lab.foreign.calls("qcow2")) == 1


@pytest.mark.parametrize("trouble", ["foreign", "missing", "source", "target", "client"])
def test_a_failed_premigrate_leaves_nothing(lab: Lab, trouble: str) -> None:
    vm = machine(lab)
    command = step(lab, vm, "premigrate")
    if trouble == "foreign":
        lab.storpool("VolumeUpdate/one-img-8", {"tags": {"nloc": "two"}})
    elif trouble == "missing":
        cloud.attach(lab, NAMES[0])
        lab.storpool(f"VolumeDelete/{NAMES[0]}", {})
    elif trouble == "client":
        lab.configure(ATTACH_TIMEOUT=1)
        lab.simulator.set_client(12, "down")
    else:
        lab.hosts.nodes["node1" if trouble == "source" else "node2"].power_off()
    named = {
        "foreign": "one-img-8",
        "missing": NAMES[0],
        "source": "node1",
        "target": "node2",
        "client": "12",
    }
    assert named[trouble] in cloud.refused(lab, command)


def test_the_running_side_is_never_detached(lab: Lab) -> None:
    """I4: whatever call is lost, the source keeps the volumes until postmigrate."""
    vm = machine(lab)
    command = step(lab, vm, "premigrate")
    calls = len(cloud.succeeds(lab, command).calls)
    for number in range(1, calls + 1):
        for when in (BEFORE, AFTER) if number == calls - 2 else (AFTER,):
            lab.run(command, Fault(number, when, KILL))
            assert all("node1" in clients for clients in cloud.attached(lab, *NAMES).values())
    cloud.succeeds(lab, command)
    assert cloud.attached(lab) == everywhere(node1="rw", node2="rw")


def test_postmigrate_from_a_host_that_died_since(lab: Lab) -> None:
    vm = machine(lab)
    arrived(lab, vm)
    command = step(lab, vm, "postmigrate")
    lab.power_off("node1")
    cloud.succeeds(lab, command)
    assert cloud.attached(lab) == everywhere(node2="rw")


def test_a_whole_live_migration_back_and_forth(lab: Lab) -> None:
    vm = machine(lab)
    lab.do(lab.vms.live_migrate(vm, "node2"))
    lab.do(lab.vms.live_migrate(vm, "node1"))
    lab.do(lab.vms.live_migrate(vm, "node2", fails=True))
    assert cloud.attached(lab) == everywhere(node1="rw")
    assert cloud.links(lab, "node2") == {} and set(cloud.links(lab, "node1").values()) == set(NAMES)


def test_disks_on_several_image_datastores(lab: Lab) -> None:
    """D-9 for one cluster: datastores without an address of their own share one call."""
    lab.oned.add_image_datastore(102, "more")
    vm = scene.machine(lab, lab.give_image(), lab.give_image())
    vm.disks[1]["DATASTORE_ID"] = "102"
    result = cloud.succeeds(lab, step(lab, vm, "premigrate"))
    assert sum("VolumesReassignWait" in call.what for call in result.calls) == 1
