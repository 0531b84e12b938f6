"""Datastores and hosts of a StorPool multicluster: a volume is worked on wherever it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm, Volatile
from tests import chains
from tests.second import Second
from tests.sweep import scene
from tests.tm import cloud
from tests.vmm.guest import Guest

COPY = "one-img-7-42-0"
RAW = "one-sys-42-1-raw"


@pytest.fixture
def second(lab: Lab, tmp_path: Path) -> Iterator[Second]:
    """The other cluster: node2 is its client, under the id that node1 has in the first."""
    with Second(lab, tmp_path, {"node2": 11}) as running:
        lab.simulator.federate(running.simulator)
        del lab.oned.datastores[running.datastore.id]
        for datastore in lab.oned.datastores.values():
            datastore.attributes["SP_MULTICLUSTER"] = "d.m"
        for name, cluster, number in (("node1", "d.n", 11), ("node2", "d.m", 11)):
            lab.oned.host(name).attributes["SP_CLUSTER_ID"] = cluster
            lab.oned.host(name).client_id = number
        conf = lab.storpool_conf().replace("[node2]\nSP_OURID=12", "[node2]\nSP_OURID=11")
        lab.hosts.frontend.write("/etc/storpool.conf", conf, 0o640)
        yield running


def use(second: Second, **switches: str) -> None:
    for simulator in (second.lab.simulator, second.simulator):
        simulator.switches = simulator.switches.set(dict(switches))


def where(lab: Lab) -> dict[str, dict[str, str]]:
    """The attached volumes, with the hosts that have each."""
    hosts = {("d.n", 11): "node1", ("d.m", 11): "node2"}
    found: dict[str, dict[str, str]] = {}
    for each in lab.storpool("MultiCluster/AttachmentsList"):
        found.setdefault(each["volume"], {})[hosts[each["clusterId"], each["client"]]] = each["rights"]
    return found


def deployed(lab: Lab, host: str = "node1") -> Vm:
    vm = lab.vms.create(lab.give_image(content=b"hello"), Volatile(4), context=False)
    lab.do(lab.vms.deploy(vm, host))
    return vm


def read(lab: Lab, host: str, vm: Vm, disk_id: int = 0) -> bytes:
    """The first bytes of a disk, through the link in the VM's directory."""
    node = lab.hosts.nodes[host]
    link = Path(node.path(f"{vm.home}/disk.{disk_id}")).readlink()
    assert link.parent == Path("/dev/storpool-byid")
    return Path(lab.devices, host, "storpool-byid", link.name).read_bytes()[:5]


# Not certain of StorPool: whose clients it takes for "all", and whether it finds names of other clusters.
@pytest.mark.parametrize(("detach", "names"), [("here", "local"), ("everywhere", "all")])
def test_a_whole_life(lab: Lab, second: Second, detach: str, names: str) -> None:
    use(second, multicluster_detach=detach, multicluster_names=names)
    vm = deployed(lab)
    assert where(lab) == {COPY: {"node1": "rw"}, RAW: {"node1": "rw"}}
    assert read(lab, "node1", vm) == b"hello"
    lab.do(lab.vms.live_migrate(vm, "node2"))
    assert where(lab) == {COPY: {"node2": "rw"}, RAW: {"node2": "rw"}}
    assert read(lab, "node2", vm) == b"hello"
    lab.do(lab.vms.undeploy(vm))
    assert where(lab) == {}
    lab.do(lab.vms.resume(vm, "node2"))
    assert second.names() == {COPY, RAW} and cloud.volumes(lab) == {"one-img-7"}
    assert read(lab, "node2", vm) == b"hello"
    lab.do(lab.vms.resize_disk(vm, 0, 8))
    (shown,) = second.ask(f"Volume/{COPY}")
    assert shown["size"] == 8 << 20
    lab.vms.poweroff(vm)
    lab.do(lab.vms.migrate(vm, "node1"))
    assert where(lab) == {COPY: {"node1": "rw"}, RAW: {"node1": "rw"}}
    lab.do(lab.vms.migrate(vm, "node2"))
    lab.do(lab.vms.terminate(vm))
    assert (cloud.volumes(lab), second.names()) == ({"one-img-7"}, set())


def test_a_volume_that_was_moved_by_hand_is_found(lab: Lab, second: Second) -> None:
    """Nothing is taken for absent, and no second volume is made beside it."""
    vm = lab.vms.create(lab.give_image(content=b"hello"), context=False)
    command = scene.upto(lab.vms.deploy(vm, "node2"), "clone")
    result = cloud.succeeds(lab, command)
    assert second.names() == {COPY} and where(lab) == {COPY: {"node2": "rw"}}
    cloud.succeeds(lab, command)
    assert second.names() == {COPY} and cloud.volumes(lab) == {"one-img-7"}
    assert not cloud.asks_for_lists(result)


@pytest.mark.parametrize("nloc", ["one", "two"])
def test_one_name_in_two_clusters(lab: Lab, second: Second, nloc: str) -> None:
    """The one that is ours is meant; of two that are, neither is touched."""
    vm = deployed(lab)
    tags = {"virt": "one", "nloc": nloc}
    second.ask("VolumeCreate", {"name": COPY, "size": 4 << 20, "template": "one-ds-100", "tags": tags})
    command = scene.upto(lab.vms.resize_disk(vm, 0, 8), "resize")
    if nloc == "two":
        cloud.succeeds(lab, command)
        assert cloud.volume(lab, COPY)["size"] == 8 << 20
    else:
        line = cloud.refused(lab, command)
        assert (
            f"volume {COPY} is in several clusters of the multicluster: the datastore's own and d.m" in line
        )
    assert second.ask(f"Volume/{COPY}")[0]["size"] == 4 << 20


def test_a_guest_that_runs_in_the_other_cluster_keeps_its_disk(lab: Lab, second: Second) -> None:
    vm = deployed(lab, "node2")
    second.simulator.mark_open(11, COPY)
    command = cloud.mv(vm, "node2", "node1")
    vm.lcm_state = 8
    assert "is open at client" in cloud.fails(lab, command)
    assert where(lab)[COPY] == {"node2": "rw"}


def test_while_the_other_cluster_cannot_be_asked(lab: Lab, second: Second) -> None:
    """What is found here is worked on; nothing is taken for absent, and nothing is made that may be there."""
    vm, image = deployed(lab), lab.give_image()
    for datastore in lab.oned.datastores.values():
        datastore.attributes["SP_MULTICLUSTER"] = "d.x"
    lab.do(lab.vms.resize_disk(vm, 0, 8))
    made = lab.vms.create(image, context=False)
    assert "cluster d.x cannot be asked" in cloud.refused(
        lab, scene.upto(lab.vms.deploy(made, "node1"), "clone")
    )
    gone = next(lab.images.delete(image))
    lab.storpool(f"VolumeDelete/one-img-{image.id}", {})
    assert "is SP_MULTICLUSTER right?" in cloud.refused(lab, gone)


def test_off_costs_nothing(lab: Lab) -> None:
    vm = lab.vms.create(lab.give_image(), context=False)
    result = cloud.succeeds(lab, scene.upto(lab.vms.deploy(vm, "node1"), "clone"))
    assert [call.what.split()[0] for call in result.calls if call.kind == "api"] == [
        "VolumeCreate",
        "VolumesReassignWait",
    ]
    assert not any("MultiCluster" in each.path for each in lab.simulator.requests)


def test_a_revert(lab: Lab, second: Second) -> None:
    vm = deployed(lab)
    lab.vms.poweroff(vm)
    lab.do(lab.disk_snapshots.create(vm, 0))
    lab.do(lab.disk_snapshots.revert(vm, 0, 0))
    assert read(lab, "node1", vm) == b"hello"


@pytest.mark.needs("qemu-img")
@pytest.mark.parametrize("revert", ["allow", "refuse"])
def test_a_restore(lab: Lab, second: Second, tmp_path: Path, revert: str) -> None:
    """At a host of the other cluster, where devices are found by id."""
    use(second, revert_foreign=revert)
    vm = deployed(lab, "node2")
    lab.vms.poweroff(vm)
    content = b"as it was".ljust(2 << 20, b"x")
    image = lab.backups.record(lab.backups.add_datastore(), vm, "abc0", [0], incremental=True)
    lab.backups.keep(image.datastore, vm, "abc0", dict(chains.files(tmp_path / "0", 0, [content])))
    lab.do(lab.backups.restore(vm, image))
    assert read(lab, "node2", vm) == b"as it"
    assert where(lab) == {COPY: {"node2": "rw"}, RAW: {"node2": "rw"}}


def test_a_snapshot_of_the_whole_vm(lab: Lab, second: Second) -> None:
    """Its volumes are in the cluster of its host, and so are their snapshots."""
    vm = deployed(lab, "node2")
    guest = Guest(lab, vm)
    number = lab.do(lab.vm_snapshots.create(vm))
    device = lab.hosts.nodes["node2"].path(f"{vm.home}/disk.0")
    name = Path(device).readlink().name
    with open(os.path.realpath(f"{lab.devices}/node2/storpool-byid/{name}"), "r+b") as file:
        file.write(b"later")
    lab.do(lab.vm_snapshots.revert(vm, number))
    assert read(lab, "node2", vm) == b"hello" and guest.memory == "booted"
    assert where(lab) == {COPY: {"node2": "rw"}, RAW: {"node2": "rw"}}
    lab.do(lab.vm_snapshots.delete(vm, number))
    left = [each["name"] for each in second.ask("SnapshotsList") if "ONESNAP" in each["name"]]
    assert not [each for each in left if not each.startswith("*")]
