"""Reverting a whole VM: everything is looked at first, all of it is reverted or nothing, and a guest runs."""

from __future__ import annotations

from storpool_addon.lab.command import Command
from storpool_addon.lab.conductor import AFTER, KILL, Call, Fault
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.simulator.faults import Fault as Refuse
from storpool_addon.simulator.faults import Verdict
from storpool_addon.simulator.switches import Switches
from tests.sweep import scene
from tests.tm import cloud
from tests.vmm.guest import Guest
from tests.vmm.test_snapshots import CDROM, CONTEXT, COPY, EVERYTHING, ID, NVRAM, STATE, TPM, command, machine

RAW = "one-sys-42-1-raw"
DOMAIN = f".{ID}-0.xml"


def two_disks(lab: Lab) -> Vm:
    """A VM that runs and has two disks, with a snapshot; both were written to since."""
    vm = scene.machine(lab, lab.give_image(content=b"first"), Volatile(4), context=False)
    write(lab, RAW, b"FIRST")
    lab.do(lab.vm_snapshots.create(vm))
    write(lab, COPY, b"later")
    write(lab, RAW, b"LATER")
    return vm


def write(lab: Lab, volume: str, content: bytes) -> None:
    """As the guest would."""
    with open(lab.hosts.nodes["node1"].device(volume), "r+b") as device:
        device.write(content)


def held(lab: Lab, *volumes: str) -> list[bytes]:
    """What these volumes hold, each attached to node1 alone."""
    assert cloud.attached(lab, *volumes) == {each: {"node1": "rw"} for each in volumes}
    found = []
    for each in volumes:
        with open(lab.hosts.nodes["node1"].device(each), "rb") as device:
            found.append(device.read(5))
    return found


def left(lab: Lab) -> dict[str, str]:
    """What is there beside the VM snapshots: name to the volume that it was of."""
    names = {name: each for name, each in cloud.snapshots(lab).items() if not name.endswith(ID)}
    names.update({name: each for name, each in cloud.snapshots(lab).items() if "SPTMP" in name})
    return {name: each["tags"].get("deleted", "") for name, each in names.items()}


def test_a_vm_becomes_what_it_was(lab: Lab) -> None:
    """And what it held since can be had back; each revert keeps what it throws away."""
    vm = two_disks(lab)
    guest = Guest(lab, vm)
    before = {name: cloud.volume(lab, name) for name in (COPY, RAW)}
    asked = command(lab.vm_snapshots.revert(vm, 0))
    result = cloud.succeeds(lab, asked)
    assert held(lab, COPY, RAW) == [b"first", b"FIRST"] and guest.memory == "booted"
    assert guest.words == ["dumpxml", "destroy", "create"]
    for name, was in before.items():
        now = cloud.volume(lab, name)
        assert [now[key] for key in ("globalId", "size", "tags", "templateName")] == [
            was[key] for key in ("globalId", "size", "tags", "templateName")
        ]
    assert sorted(left(lab).values()) == [COPY, RAW] and "SPTMP" not in "".join(left(lab))
    assert not cloud.asks_for_lists(result) and DOMAIN not in cloud.files(lab, "node1")
    write(lab, COPY, b"third")
    cloud.succeeds(lab, asked)
    assert held(lab, COPY, RAW) == [b"first", b"FIRST"] and len(left(lab)) == 4
    contents = set()
    for number, name in enumerate(name for name, of in left(lab).items() if of == COPY):
        lab.storpool("VolumeCreate", {"name": f"look{number}", "parent": name})
        contents.add(lab.read_volume(f"look{number}", 5))
    assert contents == {b"later", b"third"}
    lab.configure(DELAY_DELETE="")
    cloud.succeeds(lab, asked)
    assert len(left(lab)) == 4, "nothing is kept without DELAY_DELETE"


def rename(lab: Lab, name: str, new_name: str) -> None:
    """A snapshot is there under another name."""
    lab.storpool(f"SnapshotUpdate/{name}", {"rename": new_name})


def test_nothing_is_touched_while_a_part_is_missing(lab: Lab) -> None:
    """D-5: the guest runs on, and the message says which disk it is."""
    vm = two_disks(lab)
    guest = Guest(lab, vm)
    asked = command(lab.vm_snapshots.revert(vm, 0))
    rename(lab, f"{RAW}-{ID}", "gone")
    assert f"disk 1 of VM 42 has no part in VM snapshot {ID}" in cloud.refused(lab, asked)
    rename(lab, f"{COPY}-{ID}", "gone-too")
    assert "disk 0 of VM 42 has no part" in cloud.refused(lab, asked)
    rename(lab, "gone-too", f"{COPY}-{ID}")
    rename(lab, "gone", f"{RAW}-{ID}")
    lab.storpool(f"SnapshotUpdate/{COPY}-{ID}", {"tags": {"nvm": "43"}})
    assert f"{COPY}-{ID} is of VM 43" in cloud.refused(lab, asked)
    lab.storpool(f"SnapshotUpdate/{COPY}-{ID}", {"tags": {"nloc": "two"}})
    assert "is not ours" in cloud.refused(lab, asked)
    assert guest.words == [] and guest.memory == "first"


def test_what_belongs_to_the_vm(lab: Lab) -> None:
    """UEFI variables and TPM become what they were; the bash addon's snapshots have no such variables."""
    vm = machine(lab)
    node = lab.hosts.nodes["node1"]
    Guest(lab, vm)
    write(lab, NVRAM, b"first")
    lab.do(lab.vm_snapshots.create(vm))
    asked = command(lab.vm_snapshots.revert(vm, 0))
    write(lab, NVRAM, b"later")
    node.write(STATE, "later\n")
    cloud.succeeds(lab, asked)
    assert held(lab, NVRAM) == [b"first"] and node.run(f"cat {STATE}").stdout == "first\n"
    assert set(left(lab).values()) == {*EVERYTHING} - {CDROM, CONTEXT}
    assert cloud.attached(lab, TPM) == {TPM: {}} and len(cloud.attached(lab, *EVERYTHING)) == 7
    write(lab, NVRAM, b"later")
    rename(lab, f"{NVRAM}-{ID}", "gone")
    assert "volume one-sys-42-NVRAM of VM 42 has no part" in cloud.refused(lab, asked)
    for volume in {*EVERYTHING} - {NVRAM}:
        lab.storpool(f"SnapshotUpdate/{volume}-{ID}", {"tags": {"vmsnap": ""}})
    cloud.succeeds(lab, asked)
    assert held(lab, NVRAM) == [b"later"]


def fail_revert(lab: Lab) -> None:
    """StorPool reverts the first disk, and refuses the second one once."""
    refusal = Verdict.error("insufficientResources", "not now")
    lab.simulator.faults.set([Refuse(refusal, "VolumeRevert", RAW)])


def test_all_disks_or_none(lab: Lab) -> None:
    """D-5: the second disk cannot be reverted, or the guest not be started: all is as it was, and it runs."""
    vm = two_disks(lab)
    guest = Guest(lab, vm)
    asked = command(lab.vm_snapshots.revert(vm, 0))
    guest.refuses("create")
    line = cloud.fails(lab, asked)
    assert "starting domain" in line and "could not undo" not in line
    assert held(lab, COPY, RAW) == [b"later", b"LATER"] and guest.memory == "booted"
    fail_revert(lab)
    line = cloud.fails(lab, asked)
    assert RAW in line and "not now" in line and "could not undo" not in line
    assert held(lab, COPY, RAW) == [b"later", b"LATER"] and guest.memory == "booted"
    guest.refuses("destroy")
    assert "ending domain" in cloud.fails(lab, asked)
    assert held(lab, COPY, RAW) == [b"later", b"LATER"] and left(lab) == {}
    assert DOMAIN not in cloud.files(lab, "node1")


def kill(lab: Lab, asked: Command, calls: list[Call]) -> None:
    """The script is killed when the first disk is reverted."""
    at = next(number for number, call in enumerate(calls, 1) if "VolumeRevert" in call.what)
    assert lab.run(asked, Fault(at, AFTER, KILL)).exit_code == -9
    # Nobody starts a guest on one disk of then and one of now.
    assert cloud.attached(lab, COPY, RAW) == {COPY: {}, RAW: {}}


def test_what_a_killed_revert_leaves(lab: Lab) -> None:
    """A further run completes it, or puts back what was there before the first; unless a guest ran since.

    Not certain of StorPool: whether a revert takes tags and limits.
    """
    vm = two_disks(lab)
    lab.simulator.cluster.switches = Switches(revert_keeps_tags=False, revert_keeps_limits=False)
    was = cloud.tags(lab, COPY)
    guest = Guest(lab, vm)
    asked = command(lab.vm_snapshots.revert(vm, 0))
    calls = cloud.succeeds(lab, asked).calls
    write(lab, COPY, b"later")
    write(lab, RAW, b"LATER")
    kill(lab, asked, calls)
    fail_revert(lab)
    assert "could not undo" not in cloud.fails(lab, asked)
    assert held(lab, COPY, RAW) == [b"later", b"LATER"] and guest.memory == "booted"
    kill(lab, asked, calls)
    cloud.succeeds(lab, asked)
    assert held(lab, COPY, RAW) == [b"first", b"FIRST"] and guest.memory == "booted"
    kill(lab, asked, calls)
    scene.attach(lab, (COPY, RAW), "node1")
    guest = Guest(lab, vm)
    write(lab, COPY, b"newer")
    write(lab, RAW, b"NEWER")
    fail_revert(lab)
    cloud.fails(lab, asked)
    assert held(lab, COPY, RAW) == [b"newer", b"NEWER"] and guest.memory == "booted"
    assert cloud.tags(lab, COPY) == was
    assert not [name for name in left(lab) if "SPTMP" in name]
