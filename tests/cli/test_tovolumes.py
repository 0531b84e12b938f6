"""storpool-addon to-volumes: disks that were files become volumes, byte for byte, of powered-off VMs only."""

from __future__ import annotations

import itertools
import os
from typing import Any, Callable

import pytest

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.simulator.faults import Fault, Verdict
from tests import tool
from tests.sweep import scene
from tests.tm import cloud

RAW, SWAP, ISO = "one-sys-42-0-raw", "one-sys-42-1-swap", "one-sys-42-3-iso"
CONTENT = {
    "disk.0": b"volatile" + bytes(1 << 20) + b"end",
    "disk.1": bytes(4086) + b"SWAPSPACE2",
    "disk.3": b"an ISO" * 1001,
}
TAGS = {"virt": "one", "nloc": "one", "nvm": "42"}


def run(lab: Lab, *words: str) -> tuple[int, str, str]:
    """The administrator's command: exit code, output, errors."""
    return tool.run(lab, "to-volumes", *words)


def machine(lab: Lab) -> Vm:
    """A VM that another driver ran: what is not an image's lies in its directory as files."""
    vm = scene.machine(lab, Volatile(4), Volatile(8, "swap"), lab.give_image(content=b"hello"))
    lab.vms.poweroff(vm)
    node = lab.hosts.nodes["node1"]
    for name, volume in (("disk.0", f"one-sys-{vm.id}-0-raw"), ("disk.1", f"one-sys-{vm.id}-1-swap"),
                         ("disk.3", f"one-sys-{vm.id}-3-iso")):  # fmt: skip
        cloud.attach(lab, volume)
        lab.storpool(f"VolumeDelete/{volume}", {})
        os.unlink(node.path(f"{vm.home}/{name}"))
        node.write(f"{vm.home}/{name}", CONTENT[name])
    return vm


def moved(lab: Lab) -> bool:
    """Whether all is as if this driver had always had the disks."""
    for name, volume, size in (("disk.0", RAW, 4 << 20), ("disk.1", SWAP, 8 << 20), ("disk.3", ISO, 6144)):
        found = lab.read_volume(volume)
        assert found == CONTENT[name].ljust(size, b"\0"), volume
        assert cloud.volume(lab, volume)["templateName"] == "one-ds-100"
    assert cloud.tags(lab, RAW) == {**TAGS, "type": "VOL", "diskid": "0"}
    assert cloud.tags(lab, ISO) == {**TAGS, "type": "CNTXT", "diskid": "3"}
    assert set(cloud.files(lab, "node1")) == {"deployment.0"}
    volumes = {"disk.0": RAW, "disk.1": SWAP, "disk.2": "one-img-7-42-2", "disk.3": ISO}
    attached = {volume: {"node1": "rw"} for volume in volumes.values()}
    return cloud.links(lab, "node1") == volumes and cloud.attached(lab) == attached


def test_disks_become_volumes(lab: Lab) -> None:
    vm = machine(lab)
    before = cloud.picture(lab)
    code, plan, err = run(lab, "42", "--dry-run")
    assert (code, err, len(plan.splitlines())) == (0, "", 3)
    assert not cloud.differences(before, cloud.picture(lab))
    assert f"node1:{cloud.HOME}/disk.0 (4194304 bytes) to volume {RAW}" in plan
    assert run(lab, "42") == (0, plan, "") and moved(lab)
    assert run(lab, "42") == (0, "", "") and moved(lab)
    lab.do(lab.vms.migrate(vm, "node2"))
    lab.do(lab.vms.terminate(vm))
    assert cloud.volumes(lab) == {"one-img-7"}


def test_it_goes_on_wherever_it_was_ended(lab: Lab) -> None:
    """Whichever call fails for good, and at the places where only a kill can end it."""
    machine(lab)
    for call in ("VolumeCreate", "VolumeUpdate"):
        lab.simulator.faults.set([Fault(Verdict.error("serverError"), call, times=0)])
        code, _, err = run(lab, "42")
        assert code == 1 and "VM 42: " in err and len(cloud.files(lab, "node1")) >= 4
    lab.simulator.faults.set([])
    node, home = lab.hosts.nodes["node1"], cloud.HOME
    assert run(lab, "42")[0] == 0 and moved(lab)
    # Ended before the link, and before the file was removed.
    node.run(f"rm {home}/disk.0; ln {home}/deployment.0 {home}/x")
    node.write(f"{home}/disk.0", CONTENT["disk.0"])
    node.run(f"ln {home}/disk.0 {home}/disk.0.before-volume; rm {home}/x")
    node.write(f"{home}/disk.1.before-volume", CONTENT["disk.1"])
    assert run(lab, "42")[0] == 0 and moved(lab)


def test_a_vm_that_starts_meanwhile_keeps_its_file(lab: Lab) -> None:
    """It may have opened the file before the link was there."""
    vm = machine(lab)
    for look, kept in ((2, "disk.3"), (3, "disk.3.before-volume")):
        vm.document = starting(vm, look)  # type: ignore[method-assign]
        code, _, err = run(lab, "42")
        assert code == 1 and "is not powered off but in state ACTIVE" in err
        assert ("disk.3.before-volume, which is kept" in err) == (look == 3)
        assert cloud.files(lab, "node1")[kept] == CONTENT["disk.3"]
        del vm.document
        lab.vms.poweroff(vm)
    assert run(lab, "42")[0] == 0 and moved(lab)


def starting(vm: Vm, look: int) -> Callable[..., str]:
    """The document of a VM that has started when oned is asked for it for that time."""
    document, asked = vm.document, itertools.count(1)

    def given(*args: Any, **options: Any) -> str:
        if next(asked) == look:
            vm.state, vm.lcm_state = 3, 3
        return document(*args, **options)

    return given


def test_a_file_that_differs_from_the_volume_stays(lab: Lab) -> None:
    machine(lab)
    assert run(lab, "42")[0] == 0
    node, home = lab.hosts.nodes["node1"], cloud.HOME
    node.run(f"rm {home}/disk.0")
    node.write(f"{home}/disk.0", b"another")
    code, _, err = run(lab, "42")
    assert code == 1 and f"volume {RAW} holds something else than node1:{home}/disk.0" in err
    assert cloud.files(lab, "node1")["disk.0"] == b"another"


def test_one_bad_vm_does_not_stop_the_rest(lab: Lab) -> None:
    machine(lab)
    bad = machine_of(lab, "QFI\xfb a qcow2 image")
    running = scene.machine(lab, Volatile(4))
    code, out, err = run(lab, "--all")
    assert code == 1 and moved_of(lab, 42)
    assert f"VM {bad.id}: " in err and "is a qcow2 image" in err and "1 VMs could not be done" in err
    assert f"VM {running.id}" not in out + err
    code, _, err = run(lab, str(running.id), "99")
    assert code == 1 and f"VM {running.id} is not powered off but in state ACTIVE" in err and "99" in err


def machine_of(lab: Lab, text: str) -> Vm:
    """A powered-off VM with a volatile disk that is a file of this text."""
    vm = scene.machine(lab, Volatile(4), context=False)
    lab.vms.poweroff(vm)
    node = lab.hosts.nodes["node1"]
    os.unlink(node.path(f"{vm.home}/disk.0"))
    node.write(f"{vm.home}/disk.0", text.encode("latin-1"))
    return vm


def moved_of(lab: Lab, vm_id: int) -> bool:
    """Whether no disk of the VM is a file any more."""
    return set(cloud.files(lab, "node1", f"/var/lib/one/datastores/100/{vm_id}")) == {"deployment.0"}


@pytest.mark.parametrize("words", [(), ("42", "--all")])
def test_what_is_asked_for(lab: Lab, words: tuple[str, ...]) -> None:
    code, _, err = run(lab, *words)
    assert code == 2 and "needs ids of VMs, or --all" in err
