"""Two clusters: backup there, copy back, exports, forwarded calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from storpool_addon.simulator import Simulator
from tests.simulator.conftest import Clock
from tests.simulator.plainapi import Failure, PlainApi

MIB = 1 << 20


class Pair(NamedTuple):
    sim: Simulator
    other: Simulator
    here: PlainApi
    there: PlainApi


@pytest.fixture
def pair(sim: Simulator, tmp_path: Path, clock: Clock) -> Iterator[Pair]:
    with Simulator(tmp_path / "remote", cluster_id="r.n", clock=clock, token="7") as other:
        sim.connect(other, location="backup", known_as="main")
        made = Pair(sim, other, PlainApi(sim.endpoint), PlainApi(other.endpoint))
        made.here.create("v", tags={"virt": "one"})
        made.here.reassign({"volume": "v", "rw": [11]})
        Path(sim.state_dir, "dev/node1/storpool/v").write_bytes(b"data" + bytes(MIB - 4))
        yield made


def test_backup_and_copy_back(pair: Pair) -> None:
    request = {"volume": "v", "location": "backup", "tags": {"del": "y"}}
    remote_id = pair.here.post("VolumeBackup", request)["remoteId"]
    copy = pair.there.snapshot(f"~{remote_id}")
    assert (copy["size"], copy["tags"], copy["backup"]) == (MIB, {"del": "y"}, True)
    (listed,) = pair.here.get("SnapshotsRemoteList")["snapshots"]
    assert (listed["location"], listed["remoteId"], listed["onVolume"]) == ("backup", remote_id, "v")
    assert "localSnapshot" not in listed
    Path(pair.sim.state_dir, "dev/node1/storpool/v").write_bytes(bytes(MIB))
    body = {"remoteLocation": "backup", "remoteId": remote_id, "name": "restored", "tags": {"a": "b"}}
    pair.here.post("SnapshotFromRemote", body)
    assert pair.here.snapshot("restored")["tags"] == {"a": "b"}
    assert pair.here.get("SnapshotsRemoteList")["snapshots"][0]["localSnapshot"] == "restored"
    pair.here.reassign({"snapshot": "restored", "ro": [11]})
    assert Path(pair.sim.state_dir, "dev/node1/storpool/restored").read_bytes()[:4] == b"data"
    with pytest.raises(Failure, match="objectExists"):
        pair.here.post("SnapshotFromRemote", {**body, "name": "again"})


def test_volume_from_remote(pair: Pair) -> None:
    remote_id = pair.here.post("VolumeBackup", {"volume": "v", "location": "backup"})["remoteId"]
    body = {"remoteLocation": "backup", "remoteId": remote_id, "name": "w"}
    pair.here.post("VolumeFromRemote", body)
    assert pair.here.volume("w")["size"] == MIB
    with pytest.raises(Failure, match="invalidParam"):
        pair.here.post("VolumeFromRemote", {**body, "name": ""})


def test_group_backup_is_all_or_nothing(pair: Pair) -> None:
    pair.here.create("w")
    answer = pair.here.post("VolumesGroupBackup", {"volumes": ["v", "w"], "location": "backup"})
    assert set(answer["backups"]) == {"v", "w"}
    assert set(answer["backups"]["v"]) == {"remoteId", "snapshotGlobalId"}
    before = pair.there.get("SnapshotsList"), pair.here.get("SnapshotsList")
    with pytest.raises(Failure, match="objectDoesNotExist"):
        pair.here.post("VolumesGroupBackup", {"volumes": ["v", "none"], "location": "backup"})
    assert (pair.there.get("SnapshotsList"), pair.here.get("SnapshotsList")) == before


def test_unknown_location(pair: Pair) -> None:
    with pytest.raises(Failure, match="objectDoesNotExist"):
        pair.here.post("VolumeBackup", {"volume": "v", "location": "moon"})
    pair.here.post("LocationAdd", {"id": "m", "name": "moon"})
    with pytest.raises(Failure, match="invalidParam"):
        pair.here.post("VolumeBackup", {"volume": "v", "location": "moon"})
    pair.here.post("LocationRemove", {"location": "moon"})
    assert [each["name"] for each in pair.here.get("LocationsList")["locations"]] == ["backup"]


def test_exports(pair: Pair) -> None:
    pair.here.post("VolumeSnapshot/v", {"name": "s"})
    gid = pair.here.snapshot("s")["globalId"]
    with pytest.raises(Failure, match="objectDoesNotExist"):
        pair.there.post("SnapshotFromRemote", {"remoteLocation": "main", "remoteId": gid})
    pair.here.post("SnapshotExport", {"snapshot": "s", "location": "backup"})
    assert [each["snapshot"] for each in pair.here.get("ExportsList")["exports"]] == ["s"]
    pair.there.post("SnapshotFromRemote", {"remoteLocation": "main", "remoteId": gid, "name": "copy"})
    pair.here.post("SnapshotUnexport", {"snapshot": "s", "location": "backup"})
    assert pair.here.get("ExportsList")["exports"] == []
    with pytest.raises(Failure, match="objectDoesNotExist"):
        pair.here.post("SnapshotUnexport", {"snapshot": "s", "all": True})


def test_remote_side_is_told_to_delete(pair: Pair, clock: Clock) -> None:
    remote_id = pair.here.post("VolumeBackup", {"volume": "v", "location": "backup"})["remoteId"]
    item = {"location": "backup", "globalSnapshotId": remote_id, "deleteAfter": 60}
    pair.here.post("SnapshotsRemoteUnexport", {"remoteSnapshots": [item]})
    assert pair.here.get("SnapshotsRemoteList")["snapshots"] == []
    clock.now += 60
    assert pair.there.get("SnapshotsList")[0]["deleted"] is True


@pytest.mark.parametrize("name", ["backup", "~r.n"])
def test_calls_are_forwarded(pair: Pair, name: str) -> None:
    pair.here.post(f"RemoteCommand/{name}/VolumeCreate", {"name": "there", "size": 512})
    assert pair.there.volume("there")["globalId"].startswith("r.n.")
    with pytest.raises(Failure, match="objectDoesNotExist"):
        pair.here.volume("there")


def test_forwarding_to_nowhere(pair: Pair) -> None:
    with pytest.raises(Failure, match="objectDoesNotExist"):
        pair.here.get("RemoteCommand/moon/VolumesList")


@pytest.mark.parametrize("query", ["VolumesSpace", "VolumeTemplatesStatus", "SnapshotsList"])
def test_all_clusters(pair: Pair, query: str) -> None:
    clusters = pair.here.get(f"MultiCluster/AllClusters/{query}")["clusters"]
    assert len(clusters) == 2
    assert all(isinstance(each["response"]["data"], list) for each in clusters)


def test_one_failing_cluster_does_not_fail_the_others(pair: Pair) -> None:
    pair.other.switches = pair.other.switches._replace(cluster_status="down")
    clusters = pair.here.get("MultiCluster/AllClusters/ServicesList")["clusters"]
    assert ["response" in each for each in clusters] == [True, False]
    assert clusters[1]["error"]["name"] == "clusterNotOperational"
