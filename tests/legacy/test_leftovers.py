"""What the bash addon and its older releases have left: it is dealt with, or left alone, as it has to be."""

from __future__ import annotations

import pytest

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.lab.objects import Image
from tests.legacy.addon import BashAddon
from tests.programs import needs
from tests.tm import cloud

COPY = "one-img-7-42-0"


def deployed(lab: Lab, *disks: Image | Volatile) -> Vm:
    """A VM that the bash addon has deployed on node1."""
    vm = lab.vms.create(*disks)
    BashAddon(lab).do(lab.vms.deploy(vm, "node1"))
    return vm


def test_snapshots_that_go_with_a_vm_and_those_that_stay(lab: Lab) -> None:
    """Its disk snapshots have no tags; a failed backup has left its own; neighbours' have the same words."""
    vm = deployed(lab, lab.give_image(), Volatile(4), Volatile(4))
    bash, volumes = BashAddon(lab), [COPY, "one-sys-42-1-raw", "one-sys-42-3-iso"]
    bash.do(lab.disk_snapshots.create(vm, 0))
    bash.storpool.group_snapshot(volumes, "ONESNAP-3-1718000000", vm.id)
    bash.storpool.group_snapshot([COPY], "ONEBACKUP-1718000000", vm.id)
    bash.storpool.delete("one-sys-42-2-raw")
    vm.attributes["SNAPSHOT"] = {"SNAPSHOT_ID": "3", "HYPERVISOR_ID": "ONESNAP-3-1718000000"}
    cloud.foreign(lab, f"dev-{COPY}", {}, f"dev-{COPY}-snap0")
    cloud.foreign(lab, f"{COPY}1", {}, f"{COPY}1-ONESNAP-3-1718000000")
    aside = [each["name"] for each in lab.storpool("SnapshotsList") if each["targetDeleteDate"]]
    lab.do(lab.vms.terminate(vm))
    left = {name for name in cloud.snapshots(lab) if "-deleted-" not in name}
    assert left == {f"{COPY}-ONEBACKUP-1718000000", f"dev-{COPY}-snap0", f"{COPY}1-ONESNAP-3-1718000000"}
    assert len(aside) == 1 and aside[0] in {each["name"] for each in lab.storpool("SnapshotsList")}
    assert cloud.volumes(lab) == {"one-img-7", f"dev-{COPY}", f"{COPY}1"} and not cloud.attached(lab)


@needs("xorriso")
def test_context_images_without_tags(lab: Lab) -> None:
    """With TAG_CONTEXT_ISO=0 the bash addon gives them none. Those of another instance are left alone."""
    lab.configure(TAG_CONTEXT_ISO=0)
    vm = deployed(lab, lab.give_image())
    bare = dict.fromkeys(("virt", "nloc", "nvm", "qc", "type", "diskid"), "")
    iso = "one-sys-42-1-iso"
    lab.storpool(f"VolumeUpdate/{iso}", {"tags": bare})
    assert cloud.tags(lab, iso) == {}
    lab.do(lab.vms.live_migrate(vm, "node2"))
    assert cloud.attached(lab)[iso] == {"node2": "rw"} and cloud.tags(lab, iso) == {}
    lab.do(lab.vms.update_context(vm, A="b"))
    assert cloud.tags(lab, iso) == {"virt": "one", "nloc": "one"}
    lab.storpool(f"VolumeUpdate/{iso}", {"tags": {**bare, "nloc": "two"}})
    line = cloud.refused(lab, lab.until(lab.vms.live_migrate(vm, "node1"), "premigrate"))
    assert f"{iso} is not ours" in line
    lab.storpool(f"VolumeUpdate/{iso}", {"tags": bare})
    lab.configure()
    line = cloud.refused(lab, lab.until(lab.vms.live_migrate(vm, "node1"), "premigrate"))
    assert f"storpool volume {iso} tag nloc=one update" in line
    lab.configure(TAG_CONTEXT_ISO=0)
    lab.do(lab.vms.terminate(vm))
    assert cloud.volumes(lab) == {"one-img-7"}


def test_volatile_disks_that_no_driver_is_told_of(lab: Lab) -> None:
    """VMs from before OpenNebula 5 have no TM_MAD on them: they go with the VM's directory."""
    vm = deployed(lab, Volatile(4), Volatile(4, "swap"))
    for disk in vm.disks.values():
        del disk["TM_MAD"]
    command = lab.oned.transfer("DELETE", "storpool", f"node1:{vm.home}", vm.id, 100)
    cloud.succeeds(lab, command, times=2)
    assert not cloud.volumes(lab) and not cloud.attached(lab)
    assert {name.partition("-deleted-")[0] for name in cloud.snapshots(lab)} == {
        "one-sys-42-0-raw",
        "one-sys-42-1-swap",
    }


@pytest.mark.parametrize("shared", [False, True], ids=["its own", "another VM has it too"])
def test_cdrom_that_is_the_image_itself(lab: Lab, shared: bool) -> None:
    """The image was attached until release 19.03.2: it leaves the host with the last VM that used it."""
    image = lab.give_image(type="CDROM")
    vm = deployed(lab, image)
    lab.storpool("VolumesReassignWait", {"reassign": [{"volume": COPY, "detach": "all"}]})
    lab.storpool(f"VolumeDelete/{COPY}", {})
    cloud.attach(lab, "one-img-7", "node1")
    if shared:
        image.vms.add(43)
    lab.do(lab.vms.terminate(vm))
    assert cloud.attached(lab) == ({"one-img-7": {"node1": "rw"}} if shared else {})
    assert cloud.volumes(lab) == {"one-img-7"}


def test_volumes_without_the_newer_tags(lab: Lab) -> None:
    """Older releases wrote neither `type` nor `diskid`."""
    vm = deployed(lab, lab.give_image(), lab.give_image(persistent=True), Volatile(4))
    for name in (COPY, "one-img-8", "one-sys-42-2-raw"):
        lab.storpool(f"VolumeUpdate/{name}", {"tags": {"type": "", "diskid": "", "qc": ""}})
    lab.do(lab.vms.live_migrate(vm, "node2"))
    lab.do(lab.vms.resize_disk(vm, 0, 8))
    lab.do(lab.vms.terminate(vm))
    assert cloud.volumes(lab) == {"one-img-7", "one-img-8"} and not cloud.attached(lab)
    assert cloud.tags(lab, "one-img-8") == {"virt": "one", "nloc": "one"}


def test_volume_that_a_crash_left_without_tags(lab: Lab) -> None:
    """It is nobody's until the operator says whose, in the words of the error; then it has all its tags."""
    vm = lab.vms.create(lab.give_image(), context=False)
    lab.storpool("VolumeCreate", {"name": COPY, "baseOn": "one-img-7"})
    command = lab.until(lab.vms.deploy(vm, "node1"), "clone")
    line = cloud.refused(lab, command)
    assert f"volume {COPY} is not ours" in line
    assert line.endswith(f"run: storpool volume {COPY} tag nloc=one update")
    lab.storpool(f"VolumeUpdate/{COPY}", {"tags": {"nloc": "one"}})
    cloud.succeeds(lab, command, times=2)
    wanted = {"virt": "one", "nloc": "one", "nvm": "42", "type": "NPERS", "diskid": "0"}
    assert cloud.tags(lab, COPY) == wanted


def test_marks_beside_links_go_with_the_disk(lab: Lab) -> None:
    """`disk.N.monitor` says to the bash addon whose the link is."""
    vm = deployed(lab, lab.give_image(), lab.give_image())
    assert {"disk.0.monitor", "disk.1.monitor"} <= set(cloud.files(lab, "node1"))
    lab.do(lab.vms.detach_disk(vm, 1))
    assert "disk.0.monitor" in cloud.files(lab, "node1")
    assert "disk.1.monitor" not in cloud.files(lab, "node1")
    lab.do(lab.vms.terminate(vm))
    assert not cloud.files(lab, "node1") and not cloud.links(lab, "node1")
