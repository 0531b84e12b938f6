"""UEFI variables: a volume, made once from a template, attached wherever the VM is, and the guest's own."""

from __future__ import annotations

import os

from storpool_addon.lab.command import Command
from storpool_addon.lab.conductor import KILL, Fault
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from tests.programs import needs
from tests.sweep import scene
from tests.tm import cloud

NAME, CONTEXT = "one-sys-42-NVRAM", "one-sys-42-0-iso"
TAGS = {"virt": "one", "nloc": "one", "nvm": "42", "type": "NVRAM"}
VARIABLES = bytes(40) + b"_FVH" + b"variables" * 1000 + b"end"
WISH = "storpool:template=VARS.fd"
HERE, THERE = "/var/lib/one/remotes/OVMF", "/var/tmp/one/OVMF"
pytestmark = needs("xorriso")


def ready(lab: Lab, wish: str = WISH, template: bytes = VARIABLES) -> tuple[Vm, Command]:
    """A VM that starts, and the script before that."""
    lab.hosts.frontend.write(f"{HERE}/VARS.fd", template)
    vm = lab.vms.create(T_OS_NVRAM=wish)
    return vm, scene.upto(lab.vms.deploy(vm, "node1"), "context")


def holds(lab: Lab, content: bytes) -> bool:
    """Whether the volume has this in it, and zeros up to its last sector."""
    found = lab.read_volume(NAME)
    size = int(cloud.volume(lab, NAME)["size"])
    return found == content.ljust(size, b"\0") and size - len(content) in range(512)


def test_from_the_template_and_the_guests_own_from_then_on(lab: Lab) -> None:
    vm, command = ready(lab, "storpool:type=block template=VARS.fd")
    cloud.succeeds(lab, command, times=2)
    assert holds(lab, VARIABLES) and cloud.tags(lab, NAME) == TAGS
    assert cloud.volume(lab, NAME)["templateName"] == "one-ds-100"
    assert cloud.attached(lab) == {NAME: {"node1": "rw"}, CONTEXT: {"node1": "rw"}}
    assert "OVMF" not in str(cloud.links(lab, "node1"))
    lab.do(lab.vms.update_context(vm, HOSTNAME="first"))
    lab.do(lab.vms.undeploy(vm))
    assert cloud.attached(lab, NAME) == {NAME: {}}
    lab.write_volume(NAME, b"the guest's")
    lab.do(lab.vms.resume(vm, "node2"))
    lab.do(lab.vms.live_migrate(vm, "node1"))
    assert holds(lab, b"the guest's" + VARIABLES[11:])
    assert cloud.attached(lab, NAME) == {NAME: {"node1": "rw"}}
    lab.do(lab.vms.terminate(vm))
    assert cloud.volumes(lab) == set()
    assert [name.partition("-deleted-")[0] for name in cloud.snapshots(lab)] == [NAME]


def test_a_template_that_only_the_host_has(lab: Lab) -> None:
    _, command = ready(lab, "storpool:template=H.fd")
    lab.hosts.nodes["node1"].write(f"{THERE}/H.fd", VARIABLES)
    cloud.succeeds(lab, command)
    assert holds(lab, VARIABLES)


def test_a_crash_leaves_no_empty_variables(lab: Lab) -> None:
    """Between the creation and the end of the writing the volume does not count."""
    _, command = ready(lab)
    attach = 6
    killed = lab.run(command, Fault(attach, "after", KILL))
    assert "VolumesReassignWait" in killed.calls[attach - 1].what, [each.what for each in killed.calls]
    assert cloud.tags(lab, NAME)["unfinished"] == "node1" and not holds(lab, VARIABLES)
    cloud.succeeds(lab, command)
    assert holds(lab, VARIABLES) and cloud.tags(lab, NAME) == TAGS


def test_a_volume_that_an_operator_made(lab: Lab) -> None:
    vm, command = ready(lab, "file:template=VARS.fd")
    cloud.succeeds(lab, command)
    assert NAME not in cloud.volumes(lab)
    vm.user_attributes["T_OS_NVRAM"] = "storpool"
    assert "names no template; write storpool:template=OVMF_VARS.fd" in cloud.refused(lab, command)
    cloud.foreign(lab, NAME, {"virt": "one", "nloc": "one"})
    cloud.succeeds(lab, command)
    assert cloud.attached(lab, NAME) == {NAME: {"node1": "rw"}}


def test_what_is_no_template(lab: Lab) -> None:
    """A user may set the attribute, and must not read with it what the driver can."""
    vm, command = ready(lab, template=b"QFI\xfb" + VARIABLES)
    frontend, node1 = lab.hosts.frontend, lab.hosts.nodes["node1"]
    # An ISO 9660 image begins with 32 KiB of zeros.
    iso = bytes(32 << 10) + b"\1CD001" + b"secret of another VM" * 100
    frontend.write(f"{HERE}/iso.fd", iso)
    for host, secret in ((frontend, "/var/lib/one/secret"), (node1, "/var/lib/one/datastores/100/43/secret")):
        host.write(secret, VARIABLES)
    os.symlink(frontend.path("/var/lib/one/secret"), frontend.path(f"{HERE}/link.fd"))
    node1.run(f"mkdir -p {THERE}; ln -s /var/lib/one/datastores/100/43 {THERE}/there")
    for word, message in (
        ("VARS.fd", "is no raw image of UEFI variables"),
        ("iso.fd", "is no raw image of UEFI variables"),
        ("/var/lib/one/secret", f"is not a file in {HERE} on the front-end or {THERE} on hosts"),
        ("/var/lib/one/datastores/100/43/secret", "is not a file in"),
        ("link.fd", "a link leads out"),
        ("there/secret", f"a link leads out of {THERE}"),
        ("../../secret", "names no template"),
        ("none.fd", f"{THERE}/none.fd is not a file there"),
    ):
        vm.user_attributes["T_OS_NVRAM"] = f"storpool:template={word}"
        line = cloud.refused(lab, command)
        assert message in line and "T_OS_NVRAM of VM 42" in line and NAME not in cloud.volumes(lab)


def test_a_blank_flash_under_its_whole_path(lab: Lab) -> None:
    _, command = ready(lab, f"storpool:template={HERE}/VARS.fd", b"\xff" * 9000)
    cloud.succeeds(lab, command)
    assert holds(lab, b"\xff" * 9000)
