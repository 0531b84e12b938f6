"""SHAREABLE and IMMUTABLE images: many VMs have one volume, and none loses it when another leaves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from storpool_addon.lab.command import Command, StepFailed
from storpool_addon.lab.lab import ENVIRONMENT, HOME, Lab
from storpool_addon.lab.machine import Vm
from storpool_addon.lab.objects import Image
from storpool_addon.simulator.switches import Switches
from tests.tm import cloud

IMAGE = "one-img-7"
OURS = {"virt": "one", "nloc": "one"}


def shareable(lab: Lab, kind: str = "SHAREABLE", content: bytes = b"hello") -> Image:
    image = lab.give_image(persistent=True, content=content)
    image.attributes["PERSISTENT_TYPE"] = kind
    return image


def running(lab: Lab, image: Image, host: str) -> Vm:
    """A VM whose only disk is the image."""
    vm = lab.vms.create(image, context=False)
    lab.do(lab.vms.deploy(vm, host))
    return vm


def prolog(lab: Lab, image: Image, host: str = "node1") -> Command:
    return lab.until(lab.vms.deploy(lab.vms.create(image, context=False), host), "ln")


def users(lab: Lab) -> dict[str, str]:
    """The tags by which VMs say that they use the image, and its type."""
    return {key: text for key, text in cloud.tags(lab, IMAGE).items() if key not in ("virt", "nloc")}


def where(lab: Lab) -> dict[str, str]:
    return cloud.attached(lab, IMAGE)[IMAGE]


def write(lab: Lab, host: str, vm: Vm, content: bytes) -> None:
    """What a guest writes through the link in its VM's directory."""
    link = Path(lab.hosts.nodes[host].path(f"{vm.home}/disk.0"))
    with open(lab.hosts.nodes[host].device(link.readlink().name), "r+b") as device:
        device.write(content)


@pytest.mark.parametrize(("kind", "tag", "mode"), [("SHAREABLE", "PERS", "rw"), ("IMMUTABLE", "IMMUT", "ro")])
def test_from_the_first_vm_to_the_last(lab: Lab, kind: str, tag: str, mode: str) -> None:
    image = shareable(lab, kind)
    first, second, third = (running(lab, image, host) for host in ("node1", "node2", "node1"))
    assert cloud.volumes(lab) == {IMAGE}
    assert where(lab) == {"node1": mode, "node2": mode}
    assert users(lab) == {"nvm-42-0": "11", "nvm-43-0": "12", "nvm-44-0": "11", "type": tag}
    if mode == "rw":
        write(lab, "node1", first, b"HELLO")
        with open(lab.hosts.nodes["node2"].device(IMAGE), "rb") as device:
            assert device.read(5) == b"HELLO"
    lab.do(lab.vms.terminate(first))
    assert where(lab) == {"node1": mode, "node2": mode}
    lab.do(lab.vms.terminate(second))
    assert where(lab) == {"node1": mode}
    lab.do(lab.vms.terminate(third))
    assert (where(lab), users(lab)) == ({}, {})
    assert lab.read_volume(IMAGE, 5) == (b"HELLO" if mode == "rw" else b"hello")


def test_one_vm_that_only_reads_does_not_keep_others_on_its_host_from_writing(lab: Lab) -> None:
    lab.configure(READONLY_MODE="ro")
    image = shareable(lab)
    running(lab, image, "node1")
    vm = lab.vms.create(image, context=False)
    vm.disks[0]["READONLY"] = "YES"
    lab.do(lab.vms.deploy(vm, "node1"))
    assert where(lab) == {"node1": "rw"}


@pytest.mark.parametrize(
    ("kind", "verb", "script"),
    [
        ("SHAREABLE", "terminate", "mvds"),
        ("IMMUTABLE", "terminate", "delete"),
        ("SHAREABLE", "recreate", "delete"),
    ],
)
def test_a_vm_that_leaves_takes_nothing_from_another_on_its_host(
    lab: Lab, kind: str, verb: str, script: str
) -> None:
    """Though the device is open there: the other VM's guest runs."""
    image = shareable(lab, kind)
    leaving, staying = running(lab, image, "node1"), running(lab, image, "node1")
    lab.simulator.mark_open(11, IMAGE)
    cloud.succeeds(lab, lab.until(getattr(lab.vms, verb)(leaving), script), times=3)
    assert where(lab) == {"node1": "ro" if kind == "IMMUTABLE" else "rw"}
    assert "nvm-42-0" not in users(lab) and users(lab)["nvm-43-0"] == "11"
    assert cloud.links(lab, "node1") == {}
    assert cloud.links(lab, "node1", f"/var/lib/one/datastores/100/{staying.id}") == {"disk.0": IMAGE}


def test_a_vm_that_never_got_it_takes_nothing(lab: Lab) -> None:
    image = shareable(lab)
    running(lab, image, "node1")
    late = lab.vms.create(image, context=False)
    lab.until(lab.vms.deploy(late, "node1"), "ln")
    lab.do(lab.vms.cancel_prolog(late))
    assert (where(lab), users(lab)) == ({"node1": "rw"}, {"nvm-42-0": "11", "type": "PERS"})


def test_live_migration_of_one_of_three(lab: Lab) -> None:
    image = shareable(lab)
    moving, _, third = (
        running(lab, image, "node1"),
        running(lab, image, "node2"),
        running(lab, image, "node1"),
    )
    command = lab.until(lab.vms.live_migrate(moving, "node2"), "premigrate")
    cloud.succeeds(lab, command, times=2)
    assert users(lab)["nvm-42-0"] == "11.12"
    moving.history.pop()
    lab.do(lab.vms.live_migrate(moving, "node2"))
    assert users(lab)["nvm-42-0"] == "12"
    assert where(lab) == {"node1": "rw", "node2": "rw"}
    lab.do(lab.vms.live_migrate(third, "node2"))
    assert where(lab) == {"node2": "rw"}
    assert users(lab) == {"nvm-42-0": "12", "nvm-43-0": "12", "nvm-44-0": "12", "type": "PERS"}


def test_a_live_migration_that_fails(lab: Lab) -> None:
    image = shareable(lab)
    moving = running(lab, image, "node1")
    lab.do(lab.vms.live_migrate(moving, "node2", fails=True))
    assert (where(lab), users(lab)["nvm-42-0"]) == ({"node1": "rw"}, "11")


def test_the_running_side_is_never_detached(lab: Lab) -> None:
    """I4: the guest is on the target after all, and oned believes that the migration failed."""
    image = shareable(lab)
    moving = running(lab, image, "node1")
    lab.simulator.mark_open(12, IMAGE)
    with pytest.raises(StepFailed, match="is open at client 12"):
        lab.do(lab.vms.live_migrate(moving, "node2", fails=True))
    assert (where(lab), users(lab)["nvm-42-0"]) == ({"node1": "rw", "node2": "rw"}, "11.12")


def test_cold_moves_leave_the_other_where_it_is(lab: Lab) -> None:
    image = shareable(lab)
    moving, _ = running(lab, image, "node1"), running(lab, image, "node1")
    lab.simulator.mark_open(11, IMAGE)
    lab.vms.poweroff(moving)
    lab.do(lab.vms.migrate(moving, "node2"))
    assert (where(lab), users(lab)["nvm-42-0"]) == ({"node1": "rw", "node2": "rw"}, "12")
    lab.do(lab.vms.undeploy(moving))
    assert (where(lab), users(lab)) == ({"node1": "rw"}, {"nvm-43-0": "11", "type": "PERS"})
    lab.do(lab.vms.resume(moving, "node1"))
    lab.do(lab.vms.stop(moving))
    assert where(lab) == {"node1": "rw"}
    lab.do(lab.vms.resume(moving, "node2"))
    assert (where(lab), users(lab)["nvm-42-0"]) == ({"node1": "rw", "node2": "rw"}, "12")


def test_rescue_from_a_dead_host(lab: Lab) -> None:
    """The dead host loses the volume with the last of its VMs."""
    image = shareable(lab)
    first, second = running(lab, image, "node1"), running(lab, image, "node1")
    lab.power_off("node1")
    lab.do(lab.vms.evacuate(first, "node2"))
    assert where(lab) == {"node1": "rw", "node2": "rw"}
    lab.do(lab.vms.evacuate(second, "node2"))
    assert (where(lab), users(lab)) == (
        {"node2": "rw"},
        {"nvm-42-0": "12", "nvm-43-0": "12", "type": "PERS"},
    )


def test_it_grows_under_all(lab: Lab) -> None:
    image = shareable(lab)
    first, _ = running(lab, image, "node1"), running(lab, image, "node2")
    lab.do(lab.vms.resize_disk(first, 0, 8))
    assert cloud.volume(lab, IMAGE)["size"] == 8 * cloud.MIB


def test_its_class_is_its_own(lab: Lab) -> None:
    image = shareable(lab)
    image.attributes["SP_QOSCLASS"] = "gold"
    vm = lab.vms.create(image, context=False, SP_QOSCLASS="silver", VC_POLICY="daily")
    lab.do(lab.vms.deploy(vm, "node1"))
    assert users(lab) == {"nvm-42-0": "11", "type": "PERS", "qc": "gold"}


def test_no_vm_gets_for_itself_what_others_share(lab: Lab) -> None:
    image = shareable(lab)
    running(lab, image, "node1")
    del image.attributes["PERSISTENT_TYPE"]
    command = prolog(lab, image, "node2")
    line = cloud.refused(lab, command)
    assert "is shared by nvm-42-0" in line and IMAGE in line
    delete = Command("tm/storpool/delete", (f"node2:{lab.oned.vms[43].home}/disk.0", "43", "101"))
    cloud.succeeds(lab, delete)
    assert where(lab) == {"node1": "rw"}


def test_no_vm_shares_what_another_has_for_itself(lab: Lab) -> None:
    image = lab.give_image(persistent=True)
    running(lab, image, "node1")
    image.attributes["PERSISTENT_TYPE"] = "SHAREABLE"
    assert "in use by VM 42, which has it for itself" in cloud.refused(lab, prolog(lab, image, "node2"))


def test_it_is_shared_in_one_manner(lab: Lab) -> None:
    image = shareable(lab)
    running(lab, image, "node1")
    image.attributes["PERSISTENT_TYPE"] = "IMMUTABLE"
    command = prolog(lab, image, "node2")
    assert "in use as PERS, not as IMMUT" in cloud.refused(lab, command)
    lab.storpool(f"VolumeUpdate/{IMAGE}", {"tags": {"type": ""}})
    cloud.succeeds(lab, command)


def test_a_host_of_another_cluster_is_refused(lab: Lab) -> None:
    """In a multicluster: client 12 there is another one than client 12 here."""
    lab.oned.datastores[101].attributes["SP_MULTICLUSTER"] = "d.m"
    lab.oned.host("node2").attributes["SP_CLUSTER_ID"] = "d.m"
    line = cloud.refused(lab, prolog(lab, shareable(lab), "node2"))
    assert f"volume {IMAGE}" in line and "client 12 is of StorPool cluster d.m" in line


def test_a_tag_of_no_sense_is_named(lab: Lab) -> None:
    image = shareable(lab)
    lab.storpool(f"VolumeUpdate/{IMAGE}", {"tags": {"nvm-43-0": "node1"}})
    assert "tag nvm-43-0 is 'node1'" in cloud.refused(lab, prolog(lab, image))


def test_what_is_detached_already_is_no_error(lab: Lab) -> None:
    """Where StorPool refuses to detach what is not attached, it is asked whether it is."""
    image = shareable(lab)
    leaving, _ = running(lab, image, "node1"), running(lab, image, "node2")
    cloud.attach(lab, IMAGE, "node2")
    lab.simulator.switches = Switches(detach_unattached="error")
    lab.do(lab.vms.terminate(leaving))
    assert (where(lab), users(lab)) == ({"node2": "rw"}, {"nvm-43-0": "12", "type": "PERS"})


def test_no_list_of_the_cluster_is_asked_for(lab: Lab) -> None:
    image = shareable(lab)
    running(lab, image, "node2")
    result = cloud.succeeds(lab, prolog(lab, image), times=2)
    assert not cloud.asks_for_lists(result)


def at_once(lab: Lab, commands: list[Command]) -> list[str]:
    """Run all at the same time; what they had to say."""
    started = [
        subprocess.Popen(
            lab.hosts.action_argv(each.argv, ENVIRONMENT, HOME),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for each in commands
    ]
    return [each.communicate(timeout=60)[0] for each in started]


def test_some_come_while_others_go(lab: Lab) -> None:
    """C2: the volume is on each host that somebody came to, though all who were there have left."""
    image = shareable(lab)
    going = [running(lab, image, host) for host in ("node1", "node2", "node1")]
    coming = [lab.vms.create(image, context=False) for _ in range(3)]
    commands = [lab.until(lab.vms.terminate(vm), "mvds") for vm in going]
    commands += [
        lab.until(lab.vms.deploy(vm, host), "ln") for vm, host in zip(coming, ("node1", "node2", "node1"))
    ]
    assert at_once(lab, commands) == [""] * 6
    assert where(lab) == {"node1": "rw", "node2": "rw"}
    assert users(lab) == {"nvm-45-0": "11", "nvm-46-0": "12", "nvm-47-0": "11", "type": "PERS"}
