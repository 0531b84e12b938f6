"""VMs of the kinds that are rare: each moves as any other does, or one line says why it does not."""

from __future__ import annotations

import base64
import re
from typing import Callable

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.opennebula.states import LcmState
from storpool_addon.opennebula.vm import Vm as Record
from storpool_addon.tm.plans import PLANS, plan_of
from tests.sweep import scene
from tests.tm import cloud


def premigrate(lab: Lab, vm: Vm) -> Command:
    return scene.upto(lab.vms.live_migrate(vm, "node2"), "premigrate")


def attaching(calls: list[str]) -> int:
    return sum("VolumesReassignWait" in what for what in calls)


def test_only_the_states_of_the_table_move_anything() -> None:
    document = "<VM><ID>42</ID><STATE>3</STATE><LCM_STATE>{}</LCM_STATE></VM>"
    for state in (*map(int, LcmState), 13, 14, 55, 58, 72, 999):
        vm = Record.parse(document.format(state).encode())
        if state in {int(each) for each in PLANS}:
            assert plan_of(vm)
        else:
            with pytest.raises(Exception, match=rf"VM 42 is in LCM state {state},"):
                plan_of(vm)


def test_thirty_disks_with_holes_in_their_numbers(lab: Lab) -> None:
    """One call attaches them all, and one detaches them; vdaa and disk.130 are disks like others."""
    image = lab.give_image(size_mib=1)
    vm = lab.vms.create(context=False)
    for disk_id in (*range(0, 56, 2), 99, 130):
        vm.next_disk = disk_id
        lab.vms.pool.add_disk(vm, image)
    scene.settle(lab.vms.deploy(vm, "node1"))
    names = [f"one-img-7-42-{disk_id}" for disk_id in vm.disks]
    for make in scene.volumes(lab, vm).values():
        make()
    scene.attach(lab, names, "node1")
    assert len(names) == 30 and vm.disks[130]["TARGET"] == "vdea"
    command = premigrate(lab, vm)
    pre = cloud.succeeds(lab, command)
    assert cloud.attached(lab) == {name: {"node1": "rw", "node2": "rw"} for name in names}
    assert cloud.links(lab, "node2") == {f"disk.{disk_id}": f"one-img-7-42-{disk_id}" for disk_id in vm.disks}
    post = cloud.succeeds(lab, command._replace(script="tm/storpool/postmigrate"))
    assert cloud.attached(lab) == {name: {"node2": "rw"} for name in names}
    assert [attaching([call.what for call in each.calls]) for each in (pre, post)] == [1, 1]
    vm.lcm_state = 43
    cloud.succeeds(lab, cloud.mv(vm, "node2", "node1", 130))
    assert cloud.attached(lab, names[-1]) == {names[-1]: {"node1": "rw"}}


def changed(vm: Vm, change: Callable[[str], str]) -> None:
    """Let oned write the VM's document in another way."""
    plain = type(vm).document
    vm.document = lambda *args, **kwargs: change(plain(vm, *args, **kwargs))  # type: ignore[method-assign]


def harmless(text: str) -> str:
    """A lock, what a newer oned may add, and what users write into attributes."""
    text = text.replace("<PERMISSIONS>", "<LOCK><LOCKED>4</LOCKED><OWNER>2</OWNER></LOCK><PERMISSIONS>")
    text = text.replace("<TEMPLATE>", "<NEW><A>1</A></NEW><TEMPLATE><NEW><![CDATA[x]]></NEW>")
    note = "<NOTE><![CDATA[a\nb ]]]]><![CDATA[> ü]]></NOTE>"
    return text.replace("<USER_TEMPLATE>", f"<USER_TEMPLATE>{note}")


@pytest.mark.parametrize("deploy_id", ["<DEPLOY_ID/>", "<DEPLOY_ID></DEPLOY_ID>"])
def test_what_does_not_matter_does_not_matter(lab: Lab, deploy_id: str) -> None:
    vm = scene.machine(lab, lab.give_image(), Volatile(1))
    written = r"<DEPLOY_ID>.*?</DEPLOY_ID>|<DEPLOY_ID/>"
    changed(vm, lambda text: harmless(re.sub(written, deploy_id, text)))
    command = premigrate(lab, vm)
    assert b"<LOCK>" in base64.b64decode(command.stdin)
    for script, hosts in (("premigrate", {"node1": "rw", "node2": "rw"}), ("failmigrate", {"node1": "rw"})):
        cloud.succeeds(lab, command._replace(script=f"tm/storpool/{script}"))
        assert cloud.attached(lab) == dict.fromkeys(scene.volumes(lab, vm), hosts)
    vm.lcm_state = 43
    cloud.succeeds(lab, cloud.mv(vm, "node1", "node2", 0))
    assert cloud.attached(lab, "one-img-7-42-0") == {"one-img-7-42-0": {"node2": "rw"}}


WRONG = {
    "DATASTORE_ID": ("<DATASTORE_ID>[^/]*</DATASTORE_ID>", "disk 0 of VM 42 has no DATASTORE_ID"),
    "SOURCE": (r"<SOURCE>[^/]*/[^/]*</SOURCE>", "disk 0 of VM 42 has no SOURCE"),
    "HISTORY_RECORDS": ("<HISTORY_RECORDS>.*</HISTORY_RECORDS>", ""),
}


@pytest.mark.parametrize("without", WRONG)
def test_what_is_missing_is_named_and_nothing_is_half_done(lab: Lab, without: str) -> None:
    vm = scene.machine(lab, lab.give_image(), lab.give_image(persistent=True))
    pattern, message = WRONG[without]
    args = premigrate(lab, vm).args
    changed(vm, lambda text: re.sub(pattern, "", text))
    commands = [premigrate(lab, vm)._replace(args=args)]
    if without != "DATASTORE_ID":
        # oned gives that as an argument to mv, and so it does for a delete.
        commands.append(cloud.mv(vm, "node1", "node2"))
    vm.lcm_state = 43
    for command in commands:
        if message:
            assert message in cloud.refused(lab, command)
        else:
            cloud.succeeds(lab, command)


def test_a_vm_that_was_never_deployed_leaves_nothing(lab: Lab) -> None:
    """`onevm recover --delete` of one: there is neither history nor volume."""
    vm = lab.vms.create(lab.give_image(), context=False)
    home = "node1:/var/lib/one/datastores/100/42"
    for path, datastore in ((f"{home}/disk.0", "101"), (home, "100")):
        cloud.succeeds(lab, Command("tm/storpool/delete", (path, str(vm.id), datastore)), times=2)
    assert cloud.volumes(lab) == {"one-img-7"}


@pytest.mark.parametrize("script", ["premigrate", "mv"])
def test_a_volume_that_somebody_renamed(lab: Lab, script: str) -> None:
    vm = scene.machine(lab, lab.give_image())
    lab.storpool("VolumeUpdate/one-img-7-42-0", {"rename": "mine"})
    vm.lcm_state = 43
    command = premigrate(lab, vm) if script == "premigrate" else cloud.mv(vm, "node1", "node2")
    vm.lcm_state = 43
    assert "volume one-img-7-42-0 does not exist in StorPool" in cloud.refused(lab, command)
