"""Templates, placement groups, the key-value store, maintenance, clients, disks."""

from __future__ import annotations

from typing import Any

import pytest

from storpool_addon.simulator import Simulator
from tests.simulator.conftest import Clock
from tests.simulator.plainapi import Failure, PlainApi

MIB = 1 << 20


def test_template(api: PlainApi) -> None:
    api.post("VolumeTemplateCreate", {"name": "t", "placeAll": "hdd", "placeTail": "ssd", "iops": 10})
    template = api.get("VolumeTemplateDescribe/t")
    assert (template["placeAll"], template["placeTail"], template["placeHead"]) == ("hdd", "ssd", "hdd")
    assert (template["size"], template["iops"], template["bw"], template["parentName"]) == ("-", 10, "-", "")
    api.create("v", template="t")
    assert api.volume("v")["placeTail"] == "ssd"


@pytest.mark.parametrize(("propagate", "iops"), [(False, 10), (True, 20)])
def test_template_update_reaches_volumes_only_when_told(api: PlainApi, propagate: bool, iops: int) -> None:
    api.post("VolumeTemplateCreate", {"name": "t", "iops": 10})
    api.create("old", template="t")
    api.post("VolumeTemplateUpdate/t", {"rename": "u", "iops": 20, "propagate": propagate})
    api.create("new", template="u")
    assert (api.volume("old")["iops"], api.volume("new")["iops"]) == (iops, 20)
    assert api.volume("old")["templateName"] == "u"


def test_template_with_parent(api: PlainApi) -> None:
    api.create("golden", 2 * MIB)
    api.post("VolumeSnapshot/golden", {"name": "image"})
    api.post("VolumeTemplateCreate", {"name": "t", "parent": "image"})
    api.post("VolumeCreate", {"name": "v", "template": "t"})
    assert (api.volume("v")["parentName"], api.volume("v")["size"]) == ("image", 2 * MIB)


@pytest.mark.parametrize(
    ("query", "body", "error"),
    [
        ("VolumeTemplateCreate", {"name": "one-ds-1"}, "objectExists"),
        ("VolumeTemplateCreate", {"name": "a.b"}, "invalidParam"),
        ("VolumeTemplateCreate", {}, "invalidParam"),
        ("VolumeTemplateCreate", {"name": "t", "placeAll": "none"}, "objectDoesNotExist"),
        ("VolumeTemplateCreate", {"name": "t", "parent": "none"}, "objectDoesNotExist"),
        ("VolumeTemplateUpdate/none", {"size": 512}, "objectDoesNotExist"),
        ("VolumeTemplateUpdate/one-ds-1", {"rename": "other"}, "objectExists"),
        ("VolumeTemplateDelete/none", {}, "objectDoesNotExist"),
        ("VolumeTemplateDelete/one-ds-1", {}, "busy"),
    ],
)
def test_template_refusals(api: PlainApi, query: str, body: dict[str, Any], error: str) -> None:
    api.post("VolumeTemplateCreate", {"name": "other"})
    api.create("v", template="one-ds-1")
    with pytest.raises(Failure, match=error):
        api.post(query, body)


def test_template_status_counts(api: PlainApi) -> None:
    api.create("v", MIB, template="one-ds-1")
    api.create("w", 2 * MIB, template="one-ds-1")
    for name in ("s", "t"):
        api.post("VolumeSnapshot/v", {"name": name})
    api.post("SnapshotDelete/t")
    (status,) = api.get("VolumeTemplatesStatus")
    counts = ("volumesCount", "snapshotsCount", "removingSnapshotsCount", "volumesSize")
    assert [status[each] for each in counts] == [2, 2, 1, 3 * MIB]
    assert status["stored"]["capacity"] == status["stored"]["free"]


def test_placement_groups(api: PlainApi) -> None:
    api.post("PlacementGroupUpdate/nvme", {"addDisks": ["101", 102]})
    api.post("PlacementGroupUpdate/nvme", {"rmDisks": [101], "rename": "fast"})
    assert api.get("PlacementGroupDescribe/fast")["disks"] == [102]
    assert set(api.get("PlacementGroupsList")) == {"default", "hdd", "ssd", "fast"}
    api.post("PlacementGroupDelete/fast")
    with pytest.raises(Failure, match="objectDoesNotExist"):
        api.get("PlacementGroupDescribe/fast")
    assert api.get("FaultSetsList") == {}


def test_key_value_store(api: PlainApi) -> None:
    api.post("KV/Create/b")
    api.post("KV/Set/b", {"set": {"k": "1", "l": "2"}})
    api.post("KV/Set/b", {"runIfVersionIs": 1, "set": {"l": ""}})
    assert api.get("KV/List/b") == {"name": "b", "version": 2, "pairs": {"k": "1"}}
    assert api.get("KV/Get/b/k")["pairs"] == {"k": "1"}
    assert api.get("KV") == {"buckets": {"b": 2}}
    api.post("KV/Delete/b")
    assert api.get("KV") == {"buckets": {}}


@pytest.mark.parametrize(
    ("method", "query", "body", "error"),
    [
        ("POST", "KV/Create/b", None, "objectExists"),
        ("POST", "KV/Set/b", {"runIfVersionIs": 5, "set": {}}, "runIfVersionIsMismatch"),
        ("POST", "KV/Set/b", {"set": {"k": 1}}, "invalidParam"),
        ("POST", "KV/Set/b", {}, "invalidParam"),
        ("POST", "KV/Set/none", {"set": {}}, "objectDoesNotExist"),
        ("GET", "KV/Get/b/none", None, "objectDoesNotExist"),
        ("GET", "KV/List/none", None, "objectDoesNotExist"),
        ("POST", "KV/Delete/none", None, "objectDoesNotExist"),
    ],
)
def test_key_value_refusals(api: PlainApi, method: str, query: str, body: Any, error: str) -> None:
    api.post("KV/Create/b")
    with pytest.raises(Failure, match=error):
        api.call(method, query, body)


def test_maintenance(api: PlainApi, clock: Clock) -> None:
    api.post("MaintenanceSet", {"nodeId": 3, "duration": 60, "description": "disks"})
    clock.now += 50
    (node,) = api.get("MaintenanceList")["nodes"]
    assert (node["nodeId"], node["remaining"], node["overrun"]) == (3, 10, False)
    clock.now += 50
    assert api.get("MaintenanceList")["nodes"][0]["overrun"] is True
    api.post("MaintenanceComplete", {"nodeId": 3})
    assert api.get("MaintenanceList") == {"nodes": []}
    for query, body in (("MaintenanceComplete", {"nodeId": 3}), ("MaintenanceSet", {"nodeId": 3})):
        with pytest.raises(Failure):
            api.post(query, body)


def test_services(sim: Simulator, api: PlainApi) -> None:
    services = api.get("ServicesList")
    assert services["clusterStatus"] == "running"
    assert [each["active"] for each in services["mgmt"].values()] == [True]
    assert set(services["clients"]) == {"11", "12"}
    assert api.get("ServersList")["clients"] == {}
    assert api.get("TasksList") == []
    assert api.get("ClientActiveRequests/11") == {"clientId": 11, "requests": []}
    assert {disk["generationLeft"] for disk in api.get("DisksList").values()} == {-1}
    sim.switches = sim.switches._replace(cluster_status="waiting")
    with pytest.raises(Failure):
        api.get("ServersList")
    assert api.get("ServersListBlocked")["clusterStatus"] == "waiting"


@pytest.mark.parametrize("client", ["99", "node1"])
def test_unknown_client(api: PlainApi, client: str) -> None:
    with pytest.raises(Failure, match="No such client"):
        api.get(f"ClientConfigWait/{client}")
