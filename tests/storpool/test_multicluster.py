"""The client in a multicluster: names are found in every cluster, calls go by id to where the object is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storpool_addon.errors import StorPoolRefused
from storpool_addon.simulator import LOSE, Fault, Simulator
from storpool_addon.storpool import ClientId, Endpoint, Reassign
from storpool_addon.storpool.multicluster import MulticlusterApi

MIB = 1 << 20
OURS = {"nloc": "one"}


class Pair:
    """here: what the API under test asks; volume "v" is in the other cluster."""

    def __init__(self, here: Simulator, there: Simulator) -> None:
        self.here, self.there = here, there
        host, port, token = here.endpoint
        self.api = MulticlusterApi(
            Endpoint((host,), port, token), others=["d.m"], ours=lambda tags: tags.get("nloc") == "one"
        )
        self.ask(there, "VolumeCreate", {"name": "v", "size": MIB, "tags": OURS})

    def ask(self, simulator: Simulator, query: str, body: Any = None) -> Any:
        route = simulator.route("GET" if body is None else "POST", query.split("/"))
        return simulator.perform(route, body)[0]

    def paths(self) -> list[str]:
        """What the API was asked, without its prefix."""
        return [each.path.replace("/ctrl/1.0/", "") for each in self.here.requests]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    here = Simulator(tmp_path / "here", clients={11: "node1"})
    there = Simulator(tmp_path / "there", clients={11: "node2"}, cluster_id="d.m", token="7")
    with here, there:
        here.federate(there)
        yield Pair(here, there)


def test_a_name_is_looked_up_once(pair: Pair) -> None:
    gid = f"~{pair.api.volume('v').global_id}"
    pair.api.volume_update("v", size=2 * MIB)
    assert pair.api.volume("v").size == 2 * MIB
    assert pair.paths() == [
        "MultiCluster/Volume/v",
        "RemoteCommand/~d.m/Volume/v",
        f"MultiCluster/VolumeUpdate/{gid}",
        f"MultiCluster/Volume/{gid}",
    ]


def test_snapshots_are_changed_where_they_are(pair: Pair) -> None:
    pair.api.volume_snapshot("v", name="s", tags=OURS)
    pair.api.snapshot_update("s", delete_after_s=60)
    made = pair.api.volumes_group_snapshot([("v", "t")], tags=OURS)
    assert [(each.volume, each.snapshot) for each in made] == [("v", "t")]
    pair.api.volume_revert("v", "s")
    assert {each["name"] for each in pair.ask(pair.there, "SnapshotsList")} == {"s", "t"}
    assert any(path.startswith("RemoteCommand/~d.m/SnapshotUpdate/~") for path in pair.paths())
    pair.api.snapshot_delete("s")
    with pytest.raises(StorPoolRefused, match="does not exist in any cluster"):
        pair.api.snapshot("s")


def test_a_name_that_another_cluster_has_is_taken(pair: Pair) -> None:
    for call in (
        lambda: pair.api.volume_create("v", size=MIB),
        lambda: pair.api.volume_snapshot("v", name="v"),
        lambda: pair.api.volume_update("v", rename="v"),
        lambda: pair.api.volumes_group_snapshot([("v", "v")]),
    ):
        with pytest.raises(StorPoolRefused) as error:
            call()
        assert error.value.name == "objectExists" and "d.m" in error.value.descr
    assert pair.ask(pair.here, "VolumesList") == []


@pytest.mark.parametrize("query", ["VolumeCreate", "VolumeUpdate", "VolumeDelete"])
def test_a_lost_answer(pair: Pair, query: str) -> None:
    pair.here.faults.add([Fault(LOSE, query=query)])
    if query == "VolumeCreate":
        made = pair.api.volume_create("w", base_on="v", tags=OURS)
        assert pair.api.volume("w").global_id == made.global_id
    elif query == "VolumeUpdate":
        pair.api.volume_update("v", rename="w")
        assert pair.api.volume("w").size == MIB
    else:
        pair.api.volume_delete("v")
        assert pair.ask(pair.there, "VolumesList") == []


def test_a_host_of_the_other_cluster_gets_a_volume_through_its_own(pair: Pair) -> None:
    there = ClientId(11, "d.m")
    pair.api.volumes_reassign_wait([Reassign(volume="v", rw=[there], detach="all")])
    assert pair.paths()[-1] == "RemoteCommand/~d.m/MultiCluster/VolumesReassignWait"
    assert [each["client"] for each in pair.ask(pair.there, "AttachmentsList")] == [11]
    pair.api.client_config_wait(there)
    assert pair.paths()[-1] == "RemoteCommand/~d.m/ClientConfigWait/11"
    pair.api.volumes_reassign_wait([Reassign(volume="v", detach="all")])
    assert pair.paths()[-2:] == [
        "MultiCluster/VolumesReassignWait",
        "RemoteCommand/~d.m/MultiCluster/VolumesReassignWait",
    ]
    assert pair.ask(pair.there, "AttachmentsList") == []


def test_errors_name_the_volume_and_not_its_id_alone(pair: Pair) -> None:
    pair.api.volume("v")
    with pytest.raises(StorPoolRefused, match=r"VolumeUpdate v \(~d\.m\."):
        pair.api.volume_update("v", size=512)
