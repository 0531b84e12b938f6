"""tmsave and tmrestore: a guest is saved and runs again, also where an answer was lost."""

from __future__ import annotations

from storpool_addon.lab.command import Command
from storpool_addon.lab.conductor import AFTER, Call
from storpool_addon.lab.conductor import Fault as Lost
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from storpool_addon.simulator.faults import Fault, Verdict
from tests.sweep import scene
from tests.tm import cloud
from tests.vmm.hypervisor import Hypervisor, action

NAME, FILE = "one-sys-42-rawcheckpoint", "/var/lib/one//datastores/100/42/checkpoint"
WHOLE = b"LibvirtQemudSave"


def save(lab: Lab, vm: Vm) -> Command:
    return action(lab, vm, "tmsave", vm.deploy_id, FILE, "node1")


def restore(lab: Lab, vm: Vm) -> Command:
    return action(lab, vm, "tmrestore", FILE, "node1", vm.deploy_id)


def test_a_guest_goes_to_a_volume_and_back(lab: Lab) -> None:
    lab.configure(SP_CHECKPOINT_BD=1)
    hypervisor = Hypervisor(lab)
    vm = scene.machine(lab, lab.give_image())
    hypervisor.runs("node1")
    vm.here.system.attributes["SP_AUTH_TOKEN"] = lab.simulator.token
    cloud.succeeds(lab, save(lab, vm), times=2)
    assert "SP_AUTH_TOKEN" not in hypervisor.read("node1", "stdin")
    assert lab.read_volume(NAME, 16) == WHOLE and cloud.attached(lab, NAME) == {NAME: {}}
    assert hypervisor.read("node1", "domain") == ""
    # The second run sees that the guest is saved, and asks nobody to save what is not there.
    assert hypervisor.scripts("node1") == [f"save {vm.deploy_id} {FILE} node1 42 node1"]
    cloud.succeeds(lab, restore(lab, vm), times=2)
    assert NAME not in cloud.volumes(lab) and hypervisor.read("node1", "domain")
    assert hypervisor.scripts("node1") == [f"restore {FILE} node1 {vm.deploy_id} 42 node1"]

    # What cannot be saved runs on, and nothing is left of the attempt.
    hypervisor.goes_wrong("node1", "save", 1)
    line = cloud.refused(lab, save(lab, vm))
    assert "saving the memory of" in line and "error: save was told to fail Could not do it" in line

    # A restore that fails keeps the memory; no attempt of it starts half a guest.
    cloud.succeeds(lab, save(lab, vm))
    hypervisor.goes_wrong("node1", "restore", 1)
    assert "restore was told to fail" in cloud.fails(lab, restore(lab, vm))
    assert lab.read_volume(NAME, 16) == WHOLE
    # Memory that a guest runs from again is no memory, even where its volume cannot be deleted.
    lab.simulator.faults.set([Fault(Verdict.error("busy"), "VolumeDelete", times=0)])
    cloud.succeeds(lab, restore(lab, vm))
    lab.simulator.faults.set([])
    assert lab.read_volume(NAME, 16) == bytes(16)
    cloud.succeeds(lab, restore(lab, vm))
    assert NAME not in cloud.volumes(lab)

    # The guest runs, whatever OpenNebula's script says.
    cloud.succeeds(lab, save(lab, vm))
    script = '#!/bin/bash\nvirsh --connect qemu:///system restore "$1"; exit 1\n'
    lab.hosts.nodes["node1"].write("/var/tmp/one/vmm/kvm/restore", script, 0o755)
    cloud.succeeds(lab, restore(lab, vm))
    assert NAME not in cloud.volumes(lab) and hypervisor.read("node1", "domain")
    Hypervisor(lab)

    # The system datastore of another driver, whose hooks are programs.
    script = '#!/bin/sh\necho "$0 $*" >>/var/lib/one/told; grep -q VMM_DRIVER_ACTION_DATA\n'
    vm.here.system = lab.oned.add_system_datastore(104, "ceph", tm_mad="ceph")
    there = FILE.replace("/100/", "/104/")
    asked = action(lab, vm, "tmsave", vm.deploy_id, there, "node1")
    # Memory of another time is there, and libvirt is being restarted: that is no guest which was saved.
    lab.hosts.nodes["node1"].write(there, WHOLE.decode())
    for word in ("domstate", "uri"):
        hypervisor.goes_wrong("node1", word)
    assert "libvirt does not answer" in cloud.fails(lab, asked) and hypervisor.read("node1", "domain")
    for name in ("presave", "postrestore"):
        lab.hosts.frontend.write(f"/var/lib/one/remotes/tm/ceph/{name}", script, 0o755)
    cloud.succeeds(lab, asked)
    cloud.succeeds(lab, action(lab, vm, "tmrestore", there, "node1", vm.deploy_id))
    told = lab.hosts.frontend.run("cat /var/lib/one/told").stdout.split()
    assert [word.rpartition("/")[2] for word in told if "/ceph/" in word] == ["presave", "postrestore"]
    assert NAME not in cloud.volumes(lab)
    line = cloud.refused(
        lab, save(lab, vm)._replace(args=("x", "/etc/passwd", "node1", "42", "node1")), code=2
    )
    assert "'/etc' is not the directory of a VM" in line


def test_nobody_knows_whether_the_guest_was_saved(lab: Lab) -> None:
    """libvirt did it and the answer is lost: the guest is not asked for again, nor its memory deleted."""
    lab.configure(SP_CHECKPOINT_BD=1)
    hypervisor = Hypervisor(lab)
    vm = scene.machine(lab, lab.give_image())
    hypervisor.runs("node1")
    commands = (save(lab, vm), restore(lab, vm))
    # Of its ssh the second calls libvirt; the first makes the link.
    at = [_ssh(cloud.succeeds(lab, command).calls)[1] for command in commands]
    for command, call, is_there in zip(commands, at, (False, True)):
        result = lab.run(command, Lost(call, AFTER, persistent=True))
        assert result.exit_code == 1 and "Broken pipe" in result.stderr, result
        assert bool(hypervisor.read("node1", "domain")) is is_there and NAME in cloud.volumes(lab)
        cloud.succeeds(lab, command)
    assert len(hypervisor.scripts("node1")) == 4 and NAME not in cloud.volumes(lab)


def _ssh(calls: list[Call]) -> list[int]:
    return [at for at, call in enumerate(calls, 1) if call.kind == "ssh"]
