"""A VM whose disks are on two StorPool clusters: each is handled where it is, and both or none are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from storpool_addon.lab.command import Command, Result, StepFailed
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from storpool_addon.simulator.faults import Fault, Verdict
from tests.second import Second
from tests.sweep import scene
from tests.tm import cloud

HERE = {"one-img-7-42-0"}
THERE = {"one-img-8", "one-sys-42-2-raw"}


@pytest.fixture
def second(lab: Lab, tmp_path: Path) -> Iterator[Second]:
    """It keeps an image and all that is the VM's own; the hosts have other client ids there."""
    with Second(lab, tmp_path, {"node1": 21, "node2": 22}) as running:
        for datastore in (running.datastore, lab.oned.datastores[100]):
            datastore.attributes.update(running.address, SP_CLUSTER_ID="d.m")
        for host in lab.oned.hosts.values():
            number = running.clients[host.name]
            host.attributes.update(SP_CLUSTER_ID="d.n", SP_OURID_D_M=str(number))
        yield running


def create(lab: Lab, second: Second) -> Vm:
    image, persistent = lab.give_image(content=b"hello"), second.give_image(persistent=True)
    return lab.vms.create(image, persistent, Volatile(4), context=False)


def deployed(lab: Lab, second: Second) -> Vm:
    vm = create(lab, second)
    lab.do(lab.vms.deploy(vm, "node1"))
    return vm


def is_on(lab: Lab, second: Second, *hosts: str) -> bool:
    """Whether each cluster's disks are on these hosts, and nothing else is anywhere."""
    wanted = (everywhere(names, *hosts) for names in (HERE, THERE))
    return [cloud.attached(lab), second.attached()] == list(wanted)


def everywhere(names: Iterable[str], *hosts: str) -> dict[str, dict[str, str]]:
    modes = dict.fromkeys(hosts, "rw")
    return dict.fromkeys(names, modes) if hosts else {}


def moves(lab: Lab, second: Second, command: Command) -> tuple[int, int]:
    """How many calls about attachments a script makes to each cluster."""
    seen = [len(each.requests) for each in (lab.simulator, second.simulator)]
    cloud.succeeds(lab, command)
    made = zip((lab.simulator, second.simulator), seen)
    here, there = (
        sum("Reassign" in each.path for each in simulator.requests[before:]) for simulator, before in made
    )
    return here, there


def test_a_whole_life(lab: Lab, second: Second) -> None:
    vm = deployed(lab, second)
    assert is_on(lab, second, "node1")
    assert set(cloud.links(lab, "node1").values()) == HERE | THERE
    lab.do(lab.vms.resize_disk(vm, 1, 8))
    lab.do(lab.vms.live_migrate(vm, "node2"))
    assert is_on(lab, second, "node2")
    lab.do(lab.vms.undeploy(vm))
    assert is_on(lab, second)
    lab.do(lab.vms.resume(vm, "node1"))
    assert is_on(lab, second, "node1")
    lab.vms.poweroff(vm)
    lab.do(lab.vms.migrate(vm, "node2"))
    assert is_on(lab, second, "node2")
    lab.do(lab.vms.terminate(vm))
    assert is_on(lab, second)
    (image,) = second.ask("Volume/one-img-8")
    assert image["size"] == 8 << 20 and not image["tags"].get("nvm")
    assert (cloud.volumes(lab), second.names()) == ({"one-img-7"}, {"one-img-8"})


def test_a_live_migration_is_one_call_to_each(lab: Lab, second: Second) -> None:
    vm = deployed(lab, second)
    command = scene.upto(lab.vms.live_migrate(vm, "node2"), "premigrate")
    assert moves(lab, second, command) == (1, 1)
    assert is_on(lab, second, "node1", "node2")
    assert moves(lab, second, command._replace(script="tm/storpool/postmigrate")) == (1, 1)
    assert is_on(lab, second, "node2")


@pytest.mark.parametrize("refuses", ["first", "second"])
def test_one_refuses_and_the_other_takes_back(lab: Lab, second: Second, refuses: str) -> None:
    vm = deployed(lab, second)
    command = scene.upto(lab.vms.live_migrate(vm, "node2"), "premigrate")
    simulator = lab.simulator if refuses == "first" else second.simulator
    simulator.faults.add([Fault(Verdict.error("invalidParam", "not today"), query="VolumesReassignWait")])
    assert "not today" in cloud.fails(lab, command)
    assert is_on(lab, second, "node1")
    cloud.succeeds(lab, command)


def test_a_cluster_that_is_away_fails_its_own_disk_alone(lab: Lab, second: Second) -> None:
    """The other disks go through; what failed can be repeated when it is back."""
    vm = create(lab, second)
    lab.configure(SP_API_DEADLINE=1)
    steps = lab.vms.deploy(vm, "node1")
    second.datastore.attributes["SP_API_HTTP_PORT"] = "1"
    results: list[Result] = []
    with pytest.raises(StepFailed):
        lab.do(steps, lambda command, result: results.append(result))
    assert [each.exit_code for each in results] == [0, 1]
    assert "StorPool did not answer" in results[1].stderr
    second.datastore.attributes.update(second.address)
    lab.do(lab.vms.cancel_prolog(vm))
    assert (cloud.volumes(lab), second.names()) == ({"one-img-7"}, {"one-img-8"})
    assert is_on(lab, second)


def test_a_host_that_is_no_client_of_the_cluster(lab: Lab, second: Second) -> None:
    """Its id in another cluster is some other host's here."""
    del lab.oned.host("node1").attributes["SP_OURID_D_M"]
    vm = lab.vms.create(second.give_image(persistent=True), context=False)
    line = cloud.refused(lab, scene.upto(lab.vms.deploy(vm, "node1"), "ln"))
    assert "host node1 is a client of StorPool cluster d.n, and the volume is in d.m" in line
    assert "SP_OURID_D_M" in line
    assert second.attached() == {}


def test_one_cluster_under_two_addresses(lab: Lab) -> None:
    """Right all the same, with a call for each."""
    other = lab.oned.add_image_datastore(102)
    host, port, token = lab.simulator.endpoint
    other.attributes.update(
        SP_API_HTTP_HOST=f"localhost,{host}", SP_API_HTTP_PORT=str(port), SP_AUTH_TOKEN=token
    )
    lab.storpool("VolumeTemplateCreate", {"name": "one-ds-102", "replication": 3, "placeAll": "hdd"})
    image = lab.give_image()
    image.datastore, image.source = other, image.source.replace("101", "102")
    vm = lab.vms.create(image, lab.give_image(persistent=True), context=False)
    lab.do(lab.vms.deploy(vm, "node1"))
    names = ("one-img-7-42-0", "one-img-8")
    command = scene.upto(lab.vms.live_migrate(vm, "node2"), "premigrate")
    result = cloud.succeeds(lab, command, times=2)
    assert sum("Reassign" in call.what for call in result.calls) == 2
    assert cloud.attached(lab) == everywhere(names, "node1", "node2")
    cloud.succeeds(lab, command._replace(script="tm/storpool/postmigrate"))
    assert cloud.attached(lab) == everywhere(names, "node2")


def test_what_is_the_vms_own_is_not_left_on_another_cluster(lab: Lab, second: Second) -> None:
    """Its context image alone may go: it is made anew as the VM starts."""
    vm = lab.vms.create(lab.give_image(content=b"hello"))
    lab.do(lab.vms.deploy(vm, "node1"))
    lab.vms.poweroff(vm)
    variables, context = "one-sys-42-NVRAM", "one-sys-42-1-iso"
    second.ask("VolumeCreate", {"name": variables, "size": 512, "template": "one-ds-100", "tags": scene.OURS})
    vm.user_attributes["T_OS_NVRAM"] = "storpool"
    steps = lab.vms.migrate(vm, "node2", lab.oned.add_system_datastore(110, "other"))
    done: list[tuple[Command, Result]] = []
    with pytest.raises(StepFailed):
        lab.do(steps, lambda command, result: done.append((command, result)))
    command, result = done[-1]
    assert f"{variables} of VM 42 cannot leave the StorPool cluster of system datastore 100;" in result.stderr
    assert second.names() == {variables, context}
    del vm.user_attributes["T_OS_NVRAM"]
    cloud.succeeds(lab, command, times=2)
    assert second.names() == {variables}
