"""presave, postsave, prerestore, postrestore: a guest's memory on a volume, and never lost by us."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import tarfile

import pytest

from storpool_addon.lab.command import Command, Result, StepFailed, Steps
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from storpool_addon.simulator.faults import Fault, Verdict
from tests.programs import needs
from tests.sweep import scene
from tests.tm import cloud

NAME, FILE = "one-sys-42-rawcheckpoint", f"{cloud.HOME}/checkpoint"
ARCHIVE = "one-sys-42-checkpoint"
TAGS = {"virt": "one", "nloc": "one", "nvm": "42", "type": "CHKPNT"}
MEMORY = "memory of VM 42"


@pytest.fixture
def vm(lab: Lab) -> Vm:
    """A VM that runs on node1, of a site that saves memory to volumes."""
    lab.configure(SP_CHECKPOINT_BD=1, SP_API_DEADLINE=1)
    return scene.machine(lab, lab.give_image(content=b"hello"))


def hooks(lab: Lab, vm: Vm) -> dict[str, Command]:
    """The four of them."""
    steps = (lab.memory.save(vm, 6), lab.memory.restore(vm))
    lab.hosts.nodes["node1"].write(FILE, "not read\n")
    return {each.name: each for some in steps for each in _all(some)}


def _all(steps: Steps[None]) -> list[Command]:
    found = [next(steps)]
    with contextlib.suppress(StopIteration):
        while True:
            found.append(steps.send(Result(0, "", "", [], 0.0)))
    return found


def test_suspend_and_resume(lab: Lab, vm: Vm) -> None:
    lab.do(lab.memory.suspend(vm))
    assert lab.read_volume(NAME, 16) == b"memory of VM 42\n"
    assert cloud.tags(lab, NAME) == TAGS and cloud.volume(lab, NAME)["templateName"] == "one-ds-100"
    assert cloud.volume(lab, NAME)["size"] == (128 + 256) * cloud.MIB
    assert cloud.attached(lab, NAME) == {NAME: {}}
    assert "checkpoint" not in {**cloud.links(lab, "node1"), **cloud.files(lab, "node1")}
    lab.do(lab.memory.resume(vm))
    assert lab.memory.restored[42] == MEMORY
    assert NAME not in cloud.volumes(lab) and cloud.snapshots(lab) == {}
    assert "checkpoint" not in cloud.links(lab, "node1")


def test_stop_and_resume_elsewhere(lab: Lab, vm: Vm) -> None:
    lab.do(lab.memory.stop(vm))
    assert cloud.attached(lab, NAME) == {NAME: {}}
    lab.do(lab.memory.resume(vm, "node2"))
    assert lab.memory.restored[42] == MEMORY and NAME not in cloud.volumes(lab)
    assert set(cloud.links(lab, "node2")) == {"disk.0", "disk.1"}


def test_a_site_that_saves_to_files(lab: Lab, vm: Vm) -> None:
    lab.configure()
    for name, command in hooks(lab, vm).items():
        before = cloud.picture(lab)
        cloud.succeeds(lab, command)
        assert not cloud.differences(before, cloud.picture(lab)), name
    lab.do(lab.memory.suspend(vm))
    lab.configure(SP_CHECKPOINT_BD=1)
    lab.do(lab.memory.resume(vm))
    lab.do(lab.memory.migrate(vm, "node2"))
    assert lab.memory.restored[42] == MEMORY and NAME not in cloud.volumes(lab)


def test_the_site_changed_its_mind_while_the_vm_was_stopped(lab: Lab, vm: Vm) -> None:
    lab.do(lab.memory.stop(vm))
    lab.configure()
    lab.do(lab.memory.resume(vm, "node2"))
    assert lab.memory.restored[42] == MEMORY and NAME not in cloud.volumes(lab)


def test_the_memory_goes_with_the_vm(lab: Lab, vm: Vm) -> None:
    """Also where the site saves to files by now."""
    lab.do(lab.memory.stop(vm))
    lab.configure()
    lab.do(lab.vms.terminate(vm))
    assert cloud.volumes(lab) == {"one-img-7"}


def test_what_one_save_left_is_not_deleted_by_the_next(lab: Lab, vm: Vm) -> None:
    """oned may take a save that succeeded for failed: its memory is all that the guest has."""
    lab.do(lab.memory.suspend(vm))
    before = cloud.volume(lab, NAME)["globalId"]
    cloud.succeeds(lab, next(lab.memory.save(vm, 6)))
    assert cloud.volume(lab, NAME)["globalId"] == before
    assert lab.read_volume(NAME, 16) == b"memory of VM 42\n"


def test_a_file_is_newer_than_a_volume(lab: Lab, vm: Vm) -> None:
    commands = hooks(lab, vm)
    cloud.succeeds(lab, commands["presave"])
    node1 = lab.hosts.nodes["node1"]
    node1.run(f"rm {FILE}")
    node1.write(FILE, "the memory\n")
    cloud.succeeds(lab, commands["prerestore"], times=2)
    assert cloud.files(lab, "node1")["checkpoint"] == b"the memory\n"
    cloud.succeeds(lab, commands["presave"])
    kept = [text for name, text in cloud.files(lab, "node1").items() if name.startswith("checkpoint.")]
    assert b"the memory\n" in kept


def test_room_for_all_memory_that_the_guest_may_have(lab: Lab, vm: Vm) -> None:
    vm.attributes["MEMORY"] = "300"
    for size_mib in (600, 1024):
        cloud.succeeds(lab, next(lab.memory.save(vm, 6)))
        assert cloud.volume(lab, NAME)["size"] == size_mib * cloud.MIB
        vm.attributes["MEMORY_MAX"] = "512"
    vm.attributes.update({"MEMORY": "", "MEMORY_MAX": ""})
    assert "how much MEMORY VM 42 has" in cloud.refused(lab, next(lab.memory.save(vm, 6)))


def test_saved_memory_is_no_failure_though_storpool_is_silent(lab: Lab, vm: Vm) -> None:
    commands = hooks(lab, vm)
    cloud.succeeds(lab, commands["presave"])
    for name in ("postsave", "postrestore"):
        lab.simulator.faults.set([Fault(Verdict("refuse"), times=0)])
        cloud.succeeds(lab, commands[name])
        lab.simulator.faults.set([])
        assert NAME in cloud.volumes(lab)
    lab.hosts.nodes["node1"].power_off()
    cloud.succeeds(lab, commands["postsave"])
    assert cloud.attached(lab, NAME) == {NAME: {}}


def test_a_restore_that_fails_keeps_the_memory(lab: Lab, vm: Vm) -> None:
    lab.do(lab.memory.stop(vm))
    lab.do(lab.vms.resume(vm, "node2"))
    lab.hosts.nodes["node2"].power_off()
    with pytest.raises(StepFailed):
        lab.do(lab.memory.restore(vm))
    lab.hosts.nodes["node2"].power_on()
    assert lab.read_volume(NAME, 16) == b"memory of VM 42\n"
    lab.do(lab.memory.restore(vm))
    assert lab.memory.restored[42] == MEMORY


def test_memory_that_another_host_has_open(lab: Lab, vm: Vm) -> None:
    lab.do(lab.memory.suspend(vm))
    cloud.attach(lab, NAME, "node2")
    lab.simulator.mark_open(12, NAME)
    for name in ("presave", "prerestore"):
        assert f"'{NAME}' is open at client 12" in cloud.refused(lab, hooks(lab, vm)[name])


def test_words_that_do_not_fit(lab: Lab, vm: Vm) -> None:
    good = hooks(lab, vm)["presave"]
    deploy_id, file, host, vm_id, same = good.args
    for args, message in (
        ((deploy_id, "/etc/passwd", host, vm_id, same), "'/etc' is not the directory of a VM"),
        ((deploy_id, "/var/lib/one/datastores/100/43/checkpoint", host, vm_id, same), "VM 42"),
        ((deploy_id, file, "-oX=y", vm_id, same), "is not the name of a host"),
        ((deploy_id, file.replace("/42/", "/43/"), host, "43", same), "is not about VM 43"),
        ((deploy_id, file, host, vm_id), "usage: presave "),
    ):
        assert message in cloud.refused(lab, good._replace(args=args), code=2)
    assert "VMM_DRIVER_ACTION_DATA" in cloud.refused(lab, good._replace(stdin=b"<VM/>"), code=2)


def archived(lab: Lab, content: bytes) -> None:
    """A stopped VM's memory as the bash addon's SP_CHECKPOINT left it: a tar in lz4, then zeros."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(FILE[1:])
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    packed = subprocess.run(["lz4", "-c"], input=buffer.getvalue(), capture_output=True, check=True).stdout
    tags = {"virt": "one", "nloc": "one"}
    lab.storpool("VolumeCreate", {"name": ARCHIVE, "size": 2 << 20, "template": "one-ds-100", "tags": tags})
    lab.write_volume(ARCHIVE, packed)


@needs("lz4")
def test_an_archive_of_the_bash_addon_is_taken_out(lab: Lab, vm: Vm) -> None:
    lab.do(lab.vms.stop(vm))
    memory = b"LibvirtQemudSave" + os.urandom(300_000)
    archived(lab, memory)
    resuming = lab.until(lab.vms.resume(vm, "node2"), "mv", 2)
    cloud.succeeds(lab, resuming, times=2)
    assert cloud.files(lab, "node2")["checkpoint"] == memory
    assert ARCHIVE not in cloud.volumes(lab)


@needs("lz4")
def test_an_archive_that_is_not_whole_stays(lab: Lab, vm: Vm) -> None:
    lab.do(lab.vms.stop(vm))
    archived(lab, b"LibvirtQemudPart" + b"x" * 100)
    resuming = lab.until(lab.vms.resume(vm, "node2"), "mv", 2)
    assert "no whole archive of saved memory" in cloud.fails(lab, resuming)
    assert ARCHIVE in cloud.volumes(lab) and "checkpoint" not in str(cloud.files(lab, "node2"))
    lab.configure(SP_CHECKPOINT="nomigrate")
    lab.do(lab.vms.terminate(vm))
    assert ARCHIVE not in cloud.volumes(lab)
