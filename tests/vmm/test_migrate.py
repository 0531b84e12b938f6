"""migrate-tweaks: the guest arrives in a changed domain, once, and is on one host only."""

from __future__ import annotations

import os

from storpool_addon.lab.conductor import AFTER, Fault
from storpool_addon.lab.lab import Lab
from tests.sweep import scene
from tests.tm import cloud
from tests.vmm.hypervisor import Hypervisor, action

TWEAKS = "/var/lib/one/remotes/vmm/kvm/migrate-tweaks.d"
DOMAIN = (
    "<domain type='kvm'><name>one-42</name><devices><disk type='block' device='disk'>"
    "<driver name='qemu' iothread='1'/><target dev='vda' bus='virtio'/></disk>"
    "<graphics type='vnc' passwd='secret'/></devices></domain>"
)


def test_a_guest_arrives_once(lab: Lab) -> None:
    hypervisor = Hypervisor(lab)
    vm = scene.machine(lab, lab.give_image())
    lab.hosts.frontend.write(f"{TWEAKS}/disable-iothreads.py", "", 0o755)
    lab.configure(MIGRATE_OPTIONS="--unsafe --bandwidth 100")
    hypervisor.runs("node1", uuid=vm.deploy_id)
    hypervisor.write("node1", "domain", DOMAIN)
    vm.here.system.attributes["SP_AUTH_TOKEN"] = lab.simulator.token
    command = action(lab, vm, "migrate-tweaks", vm.deploy_id, "node2", "node1")
    # The third ssh migrates: the answers of all its tries are lost, and the guest has arrived.
    ssh = [at for at, call in enumerate(lab.run(command).calls, 1) if call.kind == "ssh"]
    assert hypervisor.read("node1", "domain") == ""
    assert "SP_AUTH_TOKEN" not in hypervisor.read("node1", "stdin")
    arrived = hypervisor.read("node2", "domain")
    assert 'passwd="secret"' in arrived
    assert "iothread" in DOMAIN and "iothread" not in arrived and 'dev="vda"' in arrived
    calls = hypervisor.read("node1", "calls").splitlines()
    (call,) = [line for line in calls if line.startswith("migrate ")]
    words = call.split()
    assert words[:4] == ["migrate", "--live", vm.deploy_id, "qemu+ssh://node2/system"]
    assert words[4:7] == ["--unsafe", "--bandwidth", "100"] and words[7] == "--xml"
    assert hypervisor.scripts("node1") == [f"migrate {vm.deploy_id} node2 node1 42 node1"]
    cloud.succeeds(lab, command, times=2)
    assert hypervisor.scripts("node1") == []

    # A migration that was cut off: OpenNebula's script would destroy the guest on the target.
    hypervisor.write("node1", "domain", DOMAIN)
    assert "is on both hosts (running here, running on node2)" in cloud.refused(lab, command)
    hypervisor.ends("node2")
    result = lab.run(command, Fault(ssh[-1], AFTER, persistent=True))
    assert result.exit_code == 1 and "Broken pipe" in result.stderr
    assert hypervisor.read("node2", "domain")
    cloud.succeeds(lab, command)
    hypervisor.ends("node2")
    assert "is on neither host" in cloud.refused(lab, command)

    # Nothing switched on: OpenNebula's migrate alone, which fails.
    os.unlink(lab.hosts.frontend.path(f"{TWEAKS}/disable-iothreads.py"))
    lab.configure()
    hypervisor.write("node1", "domain", DOMAIN)
    hypervisor.goes_wrong("node1", "migrate")
    assert "error: migrate was told to fail Could not do it" in cloud.refused(lab, command)
    cloud.succeeds(lab, command)
    assert hypervisor.read("node2", "domain") == DOMAIN
