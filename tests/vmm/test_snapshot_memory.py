"""VM snapshots with the guest's memory: it goes on, whatever fails, and a revert goes on from there."""

from __future__ import annotations

import time

from storpool_addon.lab.conductor import AFTER, KILL, Fault
from storpool_addon.lab.lab import Lab
from storpool_addon.simulator.faults import Fault as Refuse
from storpool_addon.simulator.faults import Verdict
from tests.sweep import scene
from tests.tm import cloud
from tests.vmm.guest import Guest
from tests.vmm.test_snapshot_revert import held, write
from tests.vmm.test_snapshots import COPY, ID, command, of, parts

MEMORY = "one-sys-42"


def test_the_guest_goes_on_and_comes_back(lab: Lab) -> None:
    vm = scene.machine(lab, lab.give_image(content=b"first"), context=False)
    vm.user_attributes["VMSNAPSHOT_WITH_CHECKPOINT"] = "YES"
    guest = Guest(lab, vm)
    asked = command(lab.vm_snapshots.create(vm))
    result = lab.run(asked)
    assert (result.exit_code, result.stdout) == (0, f"{ID}\n"), result
    assert lab.run(asked).stdout == f"{ID}\n"
    assert guest.words == ["save", "restore"] and guest.memory == "first"
    assert parts(lab) == of(COPY, MEMORY) and MEMORY not in cloud.volumes(lab)
    assert {each["tags"]["vmsnap"] for each in cloud.snapshots(lab).values()} == {"2"}
    vm.snapshots[0]["HYPERVISOR_ID"] = ID
    write(lab, COPY, b"later")
    guest.remembers("later")
    cloud.succeeds(lab, command(lab.vm_snapshots.revert(vm, 0)))
    assert held(lab, COPY) == [b"first"] and guest.memory == "first"
    assert guest.restored_from == "<domain><disk file='/x/100/42/disk.0'/></domain>"
    name = f"{MEMORY}-{ID}"
    attached = lab.storpool("AttachmentsList")
    assert name in cloud.snapshots(lab) and name not in {each["volume"] for each in attached}
    # A guest that cannot come back there runs on the disks as they were.
    write(lab, COPY, b"later")
    guest.refuses("restore", 3)
    assert "restoring domain" in cloud.fails(lab, command(lab.vm_snapshots.revert(vm, 0)))
    assert held(lab, COPY) == [b"later"] and guest.memory == "booted"
    cloud.succeeds(lab, command(lab.vm_snapshots.delete(vm, 0)))
    assert parts(lab) == set()


def test_whatever_fails_the_guest_goes_on(lab: Lab) -> None:
    vm = scene.machine(lab, lab.give_image(content=b"first"), context=False)
    vm.user_attributes["VMSNAPSHOT_WITH_CHECKPOINT"] = "YES"
    guest = Guest(lab, vm)
    asked = command(lab.vm_snapshots.create(vm))
    refusal = Verdict.error("insufficientResources", "not now")
    lab.simulator.faults.set([Refuse(refusal, "VolumesGroupSnapshot")])
    assert "not now" in cloud.fails(lab, asked)
    assert guest.memory == "first" and parts(lab) == set() and MEMORY not in cloud.volumes(lab)
    guest.refuses("save")
    assert "save was refused" in cloud.fails(lab, asked)
    assert guest.memory == "first" and MEMORY not in cloud.volumes(lab)
    # Another save of the guest is under way at first, and libvirt is being restarted when it is to go on.
    guest.is_busy(2)
    guest.refuses("uri", 3)
    result = lab.run(asked)
    assert result.stdout == f"{ID}\n" and guest.memory == "first", result
    # Killed with the memory on its volume and the guest gone: its host brings it back.
    for name in parts(lab):
        lab.storpool(f"SnapshotDelete/{name}", {})
    at = next(number for number, call in enumerate(result.calls, 1) if "VolumesGroupSnapshot" in call.what)
    assert lab.run(asked, Fault(at, AFTER, KILL)).exit_code == -9
    end = time.monotonic() + 20
    while guest.memory != "first" and time.monotonic() < end:
        time.sleep(0.05)
    assert guest.memory == "first" and MEMORY in cloud.volumes(lab)
    assert lab.run(asked).stdout == f"{ID}\n"
    assert parts(lab) == of(COPY, MEMORY) and MEMORY not in cloud.volumes(lab)
    system = vm.here.system
    system.attributes.update(SP_API_HTTP_HOST="127.0.0.9", SP_AUTH_TOKEN="1")
    vm.snapshots.clear()
    line = cloud.refused(lab, command(lab.vm_snapshots.create(vm)))
    assert "system datastore 100 is not in the StorPool cluster of its disks" in line
