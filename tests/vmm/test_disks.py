"""attach_disk.storpool and detach_disk.storpool: in and out once, CDs in drives that stay."""

from __future__ import annotations

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from tests.sweep import scene
from tests.tm import cloud
from tests.vmm.hypervisor import Hypervisor, action

OWN = f"block disk vda {cloud.HOME}/disk.0"
PATH = "/var/lib/one//datastores/100/42/disk.1"
IN = f"block disk vdb {PATH}"


def plug(lab: Lab, vm: Vm, verb: str, path: str = PATH, target: str = "vdb") -> Command:
    given = action(lab, vm, f"{verb}_disk.storpool", vm.deploy_id, path, target, "1")
    if verb == "detach":
        return given
    words = given.args
    return given._replace(args=(*words[:4], given.stdin.decode(), *words[4:]))


def test_a_disk_comes_and_goes(lab: Lab) -> None:
    hypervisor = Hypervisor(lab)
    vm = scene.machine(lab, lab.give_image())
    hypervisor.runs("node1", OWN)
    vm.disks[0]["ATTACH"] = "YES"
    vm.here.system.attributes["SP_AUTH_TOKEN"] = lab.simulator.token
    attach, detach = plug(lab, vm, "attach"), plug(lab, vm, "detach")
    for _ in range(2):
        cloud.succeeds(lab, attach)
        assert hypervisor.disks("node1") == [OWN, IN]
    (words,) = hypervisor.scripts("node1")
    assert words.split()[:4] == ["attach_disk", vm.deploy_id, PATH, "vdb"]
    # What oned says of a device is handed on as it is.
    assert "<DISK_TYPE>BLOCK</DISK_TYPE>" in hypervisor.read("node1", "stdin")
    assert "SP_AUTH_TOKEN" not in hypervisor.read("node1", "stdin")
    for _ in range(2):
        cloud.succeeds(lab, detach)
        assert hypervisor.disks("node1") == [OWN]
    assert hypervisor.scripts("node1") == [f"detach_disk {vm.deploy_id} {PATH} vdb 1 42 node1"]

    # A datastore that does not say BLOCK.
    vm.disks[0].update(DISK_TYPE="FILE", TYPE="fs")
    cloud.succeeds(lab, plug(lab, vm, "attach"))
    assert "<DISK_TYPE>BLOCK</DISK_TYPE>" in hypervisor.read("node1", "stdin")
    assert "<TYPE>BLOCK</TYPE>" in hypervisor.read("node1", "stdin")
    assert hypervisor.disks("node1")[-1] == IN

    # The disk is elsewhere than oned believes: whatever is at the target is not taken for it.
    hypervisor.runs("node1", "block disk vdb /elsewhere", f"block disk vdc {PATH}")
    assert "disk.1 is vdc in" in cloud.refused(lab, detach)
    assert len(hypervisor.disks("node1")) == 2

    # OpenNebula's own script fails: its message, and not ssh's word for a lost connection.
    hypervisor.runs("node1", OWN)
    lab.hosts.nodes["node1"].write("/var/tmp/one/vmm/kvm/attach_disk", "#!/bin/bash\nexit -1\n", 0o755)
    assert "attach_disk says nothing (exit code 255)" in cloud.refused(lab, attach)
    lab.hosts.nodes["node1"].run("rm /var/tmp/one/vmm/kvm/attach_disk")
    assert "onehost sync" in cloud.refused(lab, attach)
    hypervisor.goes_wrong("node1", "domblklist", 2)
    assert "libvirt does not know the disks" in cloud.refused(lab, detach)
    assert "is not the directory of VM 42" in cloud.refused(
        lab, plug(lab, vm, "attach", "/x/100/43/disk.1"), code=2
    )


def test_a_cd_in_a_drive_that_stays(lab: Lab) -> None:
    hypervisor = Hypervisor(lab)
    vm = scene.machine(lab, lab.give_image(type="CDROM"))
    vm.user_attributes["T_PERSISTENT_CDROM"] = "2"
    vm.disks[0].update(ATTACH="YES", DEV_PREFIX="hd")
    hypervisor.runs("node1", OWN, "block cdrom hda -", "block cdrom hdc -")
    attach, detach = plug(lab, vm, "attach", target="hdc"), plug(lab, vm, "detach", target="hdc")
    for _ in range(2):
        cloud.succeeds(lab, attach)
        assert hypervisor.disks("node1")[1:] == ["block cdrom hda -", f"block cdrom hdc {PATH}"]
    second = plug(lab, vm, "attach", PATH[:-1] + "2", "hdb")
    cloud.succeeds(lab, second)
    assert hypervisor.disks("node1")[1] == f"block cdrom hda {PATH[:-1]}2"
    third = plug(lab, vm, "attach", PATH[:-1] + "3", "hdb")
    assert "no CD drive of" in cloud.refused(lab, third)
    for _ in range(2):
        cloud.succeeds(lab, detach)
        assert hypervisor.disks("node1")[2] == "block cdrom hdc -"
    assert hypervisor.scripts("node1") == []

    # Another CD is plugged in as any disk, and out again.
    vm.disks[0].update(DEV_PREFIX="sd")
    cloud.succeeds(lab, plug(lab, vm, "attach", target="sdb"))
    cloud.succeeds(lab, plug(lab, vm, "detach", target="sdb"))
    assert [line.split()[0] for line in hypervisor.scripts("node1")] == ["attach_disk", "detach_disk"]
