"""The rows of what goes round libvirt: the hosts have a stand-in of it."""

from __future__ import annotations

import base64

from storpool_addon.lab.command import Command
from tests.sweep import scene
from tests.sweep.ground import Ground
from tests.sweep.row import Row
from tests.vmm.hypervisor import Hypervisor, action

UUID = "0b3dd5c5-7a2e-45ea-a4a3-00000000002a"
DOMAIN = (
    f"<domain type='kvm'><name>one-42</name><uuid>{UUID}</uuid><devices/><metadata>"
    "<one:vm xmlns:one='http://opennebula.org/xmlns/libvirt/1.0'><one:deployment_time>1769001000"
    "</one:deployment_time></one:vm></metadata></domain>"
)


def deploy(lab: Ground) -> Command:
    """A VM whose disks are there."""
    scene.machine(lab, lab.give_image())
    Hypervisor(lab)
    words = ("/var/lib/one/vms/42/deployment.0", "node1", "42", "node1")
    return Command("vmm/kvm/deploy-tweaks", words, base64.b64encode(DOMAIN.encode()))


def save(lab: Ground) -> Command:
    """A VM that runs, of a site that saves memory to volumes."""
    vm = scene.machine(lab, lab.give_image())
    Hypervisor(lab).runs("node1", uuid=vm.deploy_id)
    return action(lab, vm, "tmsave", vm.deploy_id, f"{vm.home}/checkpoint", "node1")


ROWS = (
    Row("deploy-tweaks", deploy, undoes=False),
    Row("tmsave", save, undoes=False, forgives=True, settings={"SP_CHECKPOINT_BD": 1}),
)
