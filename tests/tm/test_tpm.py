"""The state of a virtual TPM: bit by bit the same wherever the VM goes, also when its directory does not."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from tests.sweep import scene
from tests.tm import cloud

NAME, FILE = "one-sys-42-SWTPM", "tpm/tpm2-00.permall"
TAGS = {"virt": "one", "nloc": "one", "nvm": "42", "type": "SWTPM"}
STATE, NEWER = os.urandom(9000), os.urandom(7000)
LEFT_OUT = {"SKIP_UNDEPLOY_SSH": 1, "CLEAN_SRC_ON_UNDEPLOY": 1}


@pytest.fixture
def vm(lab: Lab) -> Vm:
    """A powered-off VM on node1; OpenNebula's own shutdown has saved its TPM in the directory."""
    vm = scene.machine(lab, lab.give_image(content=b"hello"))
    vm.attributes["TPM"] = {"MODEL": "tpm-crb"}
    lab.vms.poweroff(vm)
    keep(lab, "node1", STATE)
    return vm


def keep(lab: Lab, host: str, state: bytes, *, at: int = 1_700_000_000) -> None:
    """What OpenNebula's own scripts do at a time."""
    node = lab.hosts.nodes[host]
    node.write(f"{cloud.HOME}/{FILE}", state, 0o600)
    os.utime(node.path(f"{cloud.HOME}/{FILE}"), (at, at))


def state(lab: Lab, host: str) -> bytes | None:
    """What OpenNebula's own scripts would give to libvirt; nothing else of ours is in the directory."""
    found = cloud.files(lab, host)
    assert not [name for name in found if ".tpm" in name]
    return found.get(FILE)


def archive(content: bytes, name: str = FILE, *, at: int = 1_700_000_000) -> bytes:
    """What the bash addon wrote."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime, entry.mode = len(content), at, 0o600
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def on_volume(lab: Lab, content: bytes) -> None:
    """A volume of the bash addon."""
    lab.storpool(
        "VolumeCreate", {"name": NAME, "size": 4 << 20, "template": "one-ds-100", "tags": dict(TAGS)}
    )
    lab.write_volume(NAME, content)


def test_a_directory_that_is_left_out(lab: Lab, vm: Vm) -> None:
    lab.configure(**LEFT_OUT)
    lab.do(lab.vms.undeploy(vm))
    assert state(lab, "node1") is None and state(lab, "frontend") is None
    assert cloud.tags(lab, NAME) == TAGS and cloud.attached(lab, NAME) == {NAME: {}}
    assert (cloud.volume(lab, NAME)["size"], cloud.volume(lab, NAME)["templateName"]) == (
        4 << 20,
        "one-ds-100",
    )
    lab.do(lab.vms.resume(vm, "node2"))
    assert state(lab, "node2") == STATE and cloud.attached(lab, NAME) == {NAME: {}}
    lab.do(lab.vms.terminate(vm))
    assert NAME not in cloud.volumes(lab)


def test_a_host_that_is_lost(lab: Lab, vm: Vm) -> None:
    lab.do(lab.vms.migrate(vm, "node2"))
    assert state(lab, "node2") == STATE
    lab.power_off("node2")
    lab.do(lab.vms.evacuate(vm, "node1"))
    assert state(lab, "node1") == STATE


def test_the_newer_state_wins(lab: Lab, vm: Vm) -> None:
    """An older directory may lie on a host where the VM was before."""
    lab.configure(SKIP_UNDEPLOY_SSH=1, CLEAN_SRC_ON_UNDEPLOY=0)
    lab.do(lab.vms.undeploy(vm))
    lab.do(lab.vms.resume(vm, "node2"))
    lab.vms.poweroff(vm)
    keep(lab, "node2", NEWER, at=1_700_000_100)
    lab.do(lab.vms.undeploy(vm))
    assert state(lab, "node1") == STATE
    lab.do(lab.vms.resume(vm, "node1"))
    assert state(lab, "node1") == NEWER
    keep(lab, "node1", STATE, at=1_700_000_200)
    vm.lcm_state = 61
    cloud.succeeds(lab, cloud.mv(vm, "node2", "node1", None), times=2)
    assert state(lab, "node1") == STATE


def test_what_the_bash_addon_left(lab: Lab, vm: Vm) -> None:
    """It leaves the end of an archive that was longer."""
    on_volume(lab, archive(NEWER, at=1_700_000_100) + b"the end of another")
    vm.lcm_state = 60
    cloud.succeeds(lab, cloud.mv(vm, "node1", "node2", None), times=2)
    assert state(lab, "node2") == NEWER


def test_nothing_is_restored_from_half_an_archive(lab: Lab, vm: Vm) -> None:
    on_volume(lab, b"")
    vm.lcm_state = 60
    for content in (archive(NEWER)[:-600], b"garbage" * 1000, archive(NEWER, "else")):
        lab.write_volume(NAME, content)
        line = cloud.fails(lab, cloud.mv(vm, "node1", "node2", None))
        assert f"on volume {NAME} cannot be read" in line and "delete the volume" in line
        assert state(lab, "node2") is None and cloud.attached(lab, NAME) == {NAME: {}}


def test_nothing_to_keep(lab: Lab, vm: Vm) -> None:
    """No TPM, a site that does not want it, no state, and a volume that was never filled."""
    lab.configure(ONE_TPM_SAVE=0)
    lab.do(lab.vms.migrate(vm, "node2"))
    assert NAME not in cloud.volumes(lab) and state(lab, "node2") == STATE
    lab.configure()
    model = vm.attributes.pop("TPM")
    lab.do(lab.vms.migrate(vm, "node1"))
    assert NAME not in cloud.volumes(lab) and state(lab, "node1") == STATE
    vm.attributes["TPM"] = model
    lab.hosts.nodes["node1"].run(f"rm -r {cloud.HOME}/tpm")
    lab.do(lab.vms.migrate(vm, "node2"))
    assert NAME not in cloud.volumes(lab)
    on_volume(lab, b"")
    vm.lcm_state = 60
    cloud.succeeds(lab, cloud.mv(vm, "node1", "node2", None))
    assert state(lab, "node2") is None


def test_a_state_that_is_too_large(lab: Lab, vm: Vm) -> None:
    keep(lab, "node1", os.urandom(5 << 20))
    vm.lcm_state = 30
    line = cloud.fails(lab, cloud.mv(vm, "node1", "frontend", None))
    assert "is larger than 2097152 bytes" in line
    assert len(state(lab, "node1") or b"") == 5 << 20


def test_it_is_left_where_it_would_be_lost(lab: Lab, vm: Vm) -> None:
    """Without a volume the directory is all there is: the site's wish to leave it out has to wait."""
    lab.configure(ONE_TPM_SAVE=0, **LEFT_OUT)
    lab.do(lab.vms.undeploy(vm))
    assert state(lab, "frontend") == STATE


@pytest.mark.parametrize("fails", [False, True])
def test_a_live_migration_saves_what_a_rescue_would_need(lab: Lab, vm: Vm, fails: bool) -> None:
    """OpenNebula's program copies libvirt's state into the directory; without it the migration goes on."""
    lab.do(lab.vms.resume(vm))
    sudo = os.path.join(lab.directory, "hostbin", "sudo")
    with open(sudo, "w") as file:
        file.write('#!/bin/sh\n[ "$1" = -n ] && shift\nexec "$@"\n')
    os.chmod(sudo, 0o755)
    node1 = lab.hosts.nodes["node1"]
    program = (
        '#!/bin/bash\n[ "$1 $2" = "backup '
        + vm.deploy_id
        + '" ] && cp /var/tmp/running "$3/tpm/tpm2-00.permall"\n'
    )
    node1.write("/var/tmp/one/vtpm_setup", program, 0o755)
    if not fails:
        node1.write("/var/tmp/running", NEWER)
    lab.do(lab.vms.live_migrate(vm, "node2"))
    assert (NAME in cloud.volumes(lab)) != fails
    if not fails:
        lab.power_off("node2")
        lab.do(lab.vms.evacuate(vm, "node1"))
        assert state(lab, "node1") == NEWER
