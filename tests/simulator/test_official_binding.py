"""StorPool's own Python binding as the client: it performs each call, and its types check each answer."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storpool_addon.simulator import Simulator
from tests.simulator.conftest import CLIENTS

with contextlib.redirect_stderr(io.StringIO()):  # it complains there when simplejson is missing
    spapi = pytest.importorskip("storpool.spapi")

MIB = 1 << 20


class Binding:
    """spapi.Api, made strict: the binding itself hides what does not fit its types."""

    def __init__(self, sim: Simulator, **more: Any) -> None:
        self.api = spapi.Api(
            host=sim.endpoint.host,
            port=sim.endpoint.port,
            auth=sim.endpoint.token,
            transientRetries=more.pop("transientRetries", 0),
            **more,
        )
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.api, name)
        check = getattr(type(self.api), name).__globals__["returns"]

        def call(*args: Any, **more: Any) -> Any:
            self.called.add(name)
            return check(method(*args, returnRawAPIData=True, **more))

        return call


@pytest.fixture(params=[False, True], ids=["single", "multicluster"])
def binding(sim: Simulator, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Binding]:
    with Simulator(tmp_path / "remote", cluster_id="r.n") as other:
        sim.connect(other, location="backup", known_as="main")
        made = Binding(sim, multiCluster=request.param)
        made.volumeCreate({"name": "v", "size": 10 * MIB, "template": "one-ds-1", "tags": {"virt": "one"}})
        yield made


def test_volumes(binding: Binding) -> None:
    made = binding.volumeCreate({"name": "w", "size": 2 * MIB, "iops": 100, "bw": "-"})
    assert (made.ok, made.name) == (True, "w")
    clone = binding.volumeCreate({"name": "clone", "baseOn": "v"})
    assert clone.autoName.startswith("v@")
    assert {each.name for each in binding.volumesList()} == {"v", "w", "clone"}
    (volume,) = binding.volumeList("v")
    assert (volume.size, volume.templateName, volume.tags) == (10 * MIB, "one-ds-1", {"virt": "one"})
    assert binding.volumeList("~" + volume.globalId)[0].name == "v"
    assert binding.volumeInfo("v").disksCount == 3
    assert binding.volumeDescribe("v").objects == [[101, 102, 103]]
    assert [each.name for each in binding.volumeListSnapshots("v")] == [clone.autoName]
    binding.volumeUpdate("w", {"rename": "x", "size": 4 * MIB, "tags": {"nvm": "7"}})
    assert binding.volumeList("x")[0].size == 4 * MIB
    binding.volumeRebase("clone", {})
    assert binding.volumeList("clone")[0].parentName == ""
    binding.volumeFreeze("clone", {"deleteAfter": 60})
    binding.volumeDelete("x")
    assert {each.name for each in binding.volumesList()} == {"v"}


def test_status_and_space(binding: Binding) -> None:
    binding.snapshotCreate("v", {"name": "s"})
    for status in (binding.volumesStatus(), binding.volumesQuickStatus()):
        assert {name: each.snapshot for name, each in status.items()} == {"v": False, "s": True}
        assert status["v"].status == "up"
    assert [each.storedSize for each in binding.volumesSpace()] == [0]
    assert [each.spaceUsed for each in binding.snapshotsSpace()] == [0]


def test_snapshots(binding: Binding) -> None:
    made = binding.snapshotCreate("v", {"name": "s", "tags": {"a": "b"}, "bind": True, "deleteAfter": 600})
    assert made.autoName is None
    auto = binding.snapshotCreate("v", {}).autoName
    assert {each.name for each in binding.snapshotsList()} == {"s", auto}
    (snapshot,) = binding.snapshotList("s")
    assert (snapshot.globalId, snapshot.bound, snapshot.tags) == (made.snapshotGlobalId, True, {"a": "b"})
    assert binding.snapshotInfo("s").disksCount == 3
    assert binding.snapshotDescribe("s").targetDiskSets == [[101, 102, 103]]
    binding.snapshotUpdate("s", {"rename": "t", "bind": False, "deleteAfter": 0})
    assert binding.snapshotList("t")[0].targetDeleteDate == 0
    binding.snapshotRebase(auto, {})
    binding.volumeRevert("v", {"toSnapshot": "t"})
    assert binding.volumeList("v")[0].parentName == "t"
    binding.snapshotDelete(auto)
    deleted = [each for each in binding.snapshotsList() if each.deleted]
    assert [each.name for each in deleted] == [f"*{auto}"]
    binding.snapshotDeleteById(made.snapshotGlobalId)


def test_group_snapshot(binding: Binding) -> None:
    spec = {"volumes": [{"volume": "v", "name": "s"}], "tags": {"nvm": "42"}}
    (made,) = binding.snapshotCreateGroup(spec).snapshots
    assert (made.volume, made.snapshot) == ("v", "s")
    assert binding.snapshotList("s")[0].tags == {"nvm": "42"}


def test_attachments(sim: Simulator, binding: Binding) -> None:
    binding.snapshotCreate("v", {"name": "s"})
    binding.volumesReassignWait(
        {"reassign": [{"volume": "v", "rw": [11]}, {"snapshot": "s", "ro": [12]}], "attachTimeout": 5}
    )
    listed = {each.volume: each for each in binding.attachmentsList()}
    assert (listed["v"].client, listed["v"].rights, listed["s"].snapshot) == (11, "rw", True)
    binding.volumesReassign([{"volume": "v", "rw": [12], "detach": "all", "force": True}])
    binding.volumesReassignWait({"reassign": [{"snapshot": "s", "detach": [12]}]})
    assert [(each.volume, each.client) for each in binding.attachmentsList()] == [("v", 12)]
    sim.mark_open(12, "v")
    with pytest.raises(spapi.ApiError) as caught:
        binding.volumesReassignWait({"reassign": [{"volume": "v", "detach": "all"}]})
    assert (caught.value.name, caught.value.desc) == ("busy", "'v' is open at client 12")


def test_templates_and_placement(binding: Binding) -> None:
    binding.volumeTemplateCreate({"name": "t", "placeAll": "hdd", "placeTail": "ssd", "replication": 2})
    assert {each.name for each in binding.volumeTemplatesList()} == {"one-ds-1", "t"}
    assert binding.volumeTemplateDescribe("t").size == "-"
    status = {each.name: each for each in binding.volumeTemplatesStatus()}
    assert status["one-ds-1"].volumesCount == 1
    assert status["t"].stored.placeAll.free == status["t"].stored.free
    binding.volumeTemplateUpdate("t", {"rename": "u", "size": 512, "propagate": True})
    assert binding.volumeTemplateDescribe("u").size == 512
    binding.volumeTemplateDelete("u")
    binding.placementGroupUpdate("nvme", {"addDisks": {101}, "rmDisks": set()})
    assert binding.placementGroupDescribe("nvme").disks == {101}
    assert "nvme" in binding.placementGroupsList()
    binding.placementGroupDelete("nvme")
    assert binding.faultSetsList() == {}


def test_cluster(binding: Binding) -> None:
    services = binding.servicesList()
    assert services.clusterStatus == "running"
    assert {number: each.running for number, each in services.clients.items()} == {11: True, 12: True}
    assert [each.active for each in services.mgmt.values()] == [True]
    assert set(binding.serversList().servers) == set(binding.serversListBlocked().servers) == {1, 2, 3}
    assert {each.id for each in binding.clientsConfigDump()} == set(CLIENTS)
    assert binding.clientConfigWait(11)[0].configStatus == "ok"
    assert binding.clientActiveRequests(11).requests == []
    assert binding.tasksList() == []
    assert all(disk.up for disk in binding.disksList().values())


def test_maintenance(binding: Binding) -> None:
    binding.maintenanceSet({"nodeId": 1, "duration": 60, "description": "x"})
    assert [each.nodeId for each in binding.maintenanceList().nodes] == [1]
    binding.maintenanceComplete({"nodeId": 1})
    assert binding.maintenanceList().nodes == []


def test_key_value_store(binding: Binding) -> None:
    binding.kvsCreate("b")
    binding.kvsUpdate("b", {"set": {"k": "1"}})
    assert binding.kvsBuckets().buckets == {"b": 1}
    assert binding.kvsList("b").pairs == binding.kvsGet("b", "k").pairs == {"k": "1"}
    assert binding.api.kvsTryUpdate("b", {"runIfVersionIs": 7, "set": {}}) is False
    binding.kvsDelete("b")


def test_remote(binding: Binding) -> None:
    assert [each.name for each in binding.locationsList()["locations"]] == ["backup"]
    assert [each.location for each in binding.clustersList()["clusters"]] == ["backup"]
    binding.locationAdd({"id": "m", "name": "moon"})
    binding.locationRemove({"location": "moon"})
    backup = binding.volumeBackup({"volume": "v", "location": "backup", "tags": {"del": "y"}})
    group = binding.volumesGroupBackup({"volumes": ["v"], "location": "backup"})
    ids = {backup.remoteId, group.backups["v"].remoteId}
    listed = binding.snapshotsRemoteList()["snapshots"]
    assert {each.remoteId for each in listed} == ids
    source = {"remoteLocation": "backup", "remoteId": backup.remoteId}
    binding.snapshotFromRemote({**source, "name": "copy"})
    assert binding.snapshotList("copy")[0].backupOfGlobalId == backup.remoteId
    binding.volumeFromRemote(
        {"remoteLocation": "backup", "remoteId": group.backups["v"].remoteId, "name": "w"}
    )
    binding.snapshotExport({"snapshot": "copy", "location": "backup"})
    assert [each.snapshot for each in binding.exportsList()["exports"]] == ["copy"]
    binding.snapshotUnexport({"snapshot": "copy", "all": True})
    item = {"location": "backup", "globalSnapshotId": backup.remoteId, "deleteAfter": 60}
    binding.snapshotsRemoteUnexport({"remoteSnapshots": [item]})
    assert len(binding.snapshotsRemoteList()["snapshots"]) == 1


def test_calls_are_forwarded_to_another_cluster(binding: Binding) -> None:
    assert binding.volumesList(clusterName="backup") == []
    binding.volumeCreate({"name": "far", "size": 512}, clusterName="~r.n")
    assert [each.name for each in binding.volumesList(clusterName="backup")] == ["far"]


def test_its_errors_and_retries(sim: Simulator) -> None:
    binding = Binding(sim, transientRetries=3, transientSleep=lambda retry: 0)
    sim.faults.add([_fault("refuse"), _fault("error", transient=True), _fault("lose")])
    with pytest.raises(spapi.ApiError) as caught:
        binding.volumeCreate({"name": "v", "size": 512})
    assert caught.value.name == "objectExists"
    assert [each.fate or each.error for each in sim.requests] == ["refuse", "pass", "lose", "pass"]
    with pytest.raises(spapi.ApiError) as caught:
        Binding(sim).volumeList("none")
    assert (caught.value.name, caught.value.transient) == ("objectDoesNotExist", False)


def _fault(kind: str, **more: Any) -> Any:
    from storpool_addon.simulator import Fault

    return Fault.parse({"kind": kind, "name": "busy", **more})
