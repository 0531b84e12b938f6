"""Two clusters of a multicluster: calls go to the owner, volumes go or are exported to their client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from storpool_addon.simulator import Simulator
from tests.simulator.conftest import Clock
from tests.simulator.plainapi import Failure, PlainApi

MIB = 1 << 20


class Pair(NamedTuple):
    """v is in the first cluster, attached to its node1. gid: v's."""

    sim: Simulator
    other: Simulator
    here: PlainApi
    there: PlainApi
    gid: str

    def use(self, **switches: object) -> None:
        for each in (self.sim, self.other):
            each.switches = each.switches.set(switches)

    def assign(self, api: PlainApi, **item: Any) -> None:
        body = {"reassign": [{"volume": self.gid, **item}], "attachTimeout": 1}
        api.post("MultiCluster/VolumesReassignWait", body)

    def attached(self) -> set[tuple[str, int]]:
        """Cluster and client of each attachment."""
        listed = self.here.get("MultiCluster/AttachmentsList")
        return {(each["clusterId"], each["client"]) for each in listed}

    def homes(self) -> list[str]:
        """The clusters that have v."""
        return [each.cluster.cluster_id for each in (self.sim, self.other) if "v" in each.cluster.names]


@pytest.fixture
def pair(sim: Simulator, tmp_path: Path, clock: Clock) -> Iterator[Pair]:
    with Simulator(
        tmp_path / "other", cluster_id="d.m", clients={21: "far"}, clock=clock, token="7"
    ) as other:
        sim.federate(other)
        here = PlainApi(sim.endpoint)
        gid = "~" + here.create("v", tags={"a": "1"})["globalId"]
        made = Pair(sim, other, here, PlainApi(other.endpoint), gid)
        made.assign(here, rw=[11])
        Path(sim.state_dir, "dev/node1/storpool/v").write_bytes(b"data" + bytes(MIB - 4))
        yield made


def failure(call: Any, *args: Any, **more: Any) -> str:
    with pytest.raises(Failure) as error:
        call(*args, **more)
    return str(error.value.name)


def test_calls_by_id_go_to_the_owner(pair: Pair) -> None:
    pair.there.post(f"MultiCluster/VolumeUpdate/{pair.gid}", {"size": 2 * MIB})
    (shown,) = pair.there.get(f"MultiCluster/Volume/{pair.gid}")
    assert (shown["name"], shown["size"], shown["clusterId"]) == ("v", 2 * MIB, "d.n")
    assert failure(pair.there.get, f"Volume/{pair.gid}") == "objectDoesNotExist"
    assert pair.there.get("RemoteCommand/~d.n/Volume/v")[0]["globalId"] == pair.gid[1:]
    assert [each["name"] for each in pair.there.get("MultiCluster/VolumesList")] == ["v"]


@pytest.mark.parametrize(("setting", "found"), [("local", False), ("all", True)])
def test_names(pair: Pair, setting: str, found: bool) -> None:
    pair.use(multicluster_names=setting)
    if found:
        assert pair.there.get("MultiCluster/Volume/v")[0]["globalId"] == pair.gid[1:]
    else:
        assert failure(pair.there.get, "MultiCluster/Volume/v") == "objectDoesNotExist"


def test_an_idle_volume_moves_to_its_client(pair: Pair) -> None:
    pair.assign(pair.here, detach="all")
    pair.assign(pair.there, rw=[21])
    assert (pair.homes(), pair.attached()) == (["d.m"], {("d.m", 21)})
    assert Path(pair.other.state_dir, "dev/v").read_bytes()[:4] == b"data"
    assert pair.here.get(f"MultiCluster/Volume/{pair.gid}")[0]["tags"] == {"a": "1"}


def test_an_attached_volume_is_exported(pair: Pair) -> None:
    pair.assign(pair.there, rw=[21])
    assert (pair.homes(), pair.attached()) == (["d.n"], {("d.n", 11), ("d.m", 21)})


@pytest.mark.parametrize(
    ("policy", "is_open", "error", "attached"),
    [
        ("fail", False, "busy", {("d.n", 11)}),
        ("detach", False, "", {("d.m", 21)}),
        ("detach", True, "busy", {("d.n", 11)}),
        ("detachForce", True, "", {("d.m", 21)}),
    ],
)
def test_on_remote_attached(
    pair: Pair, policy: str, is_open: bool, error: str, attached: set[tuple[str, int]]
) -> None:
    pair.sim.mark_open(11, "v", is_open)
    item = {"rw": [21], "detach": "all", "onRemoteAttached": policy}
    if error:
        assert failure(pair.assign, pair.there, **item) == error
    else:
        pair.assign(pair.there, **item)
    assert pair.attached() == attached


@pytest.mark.parametrize(("setting", "left"), [("here", {("d.m", 21)}), ("everywhere", set())])
def test_detach_all(pair: Pair, setting: str, left: set[tuple[str, int]]) -> None:
    pair.use(multicluster_detach=setting)
    pair.assign(pair.there, rw=[21])
    pair.assign(pair.here, detach="all")
    assert pair.attached() == left


@pytest.mark.parametrize(("setting", "error"), [("owner", ""), ("refuse", "invalidParam")])
def test_a_clone_of_what_another_cluster_has(pair: Pair, setting: str, error: str) -> None:
    pair.use(multicluster_create=setting)
    body = {"name": "w", "baseOn": pair.gid}
    if error:
        assert failure(pair.there.post, "MultiCluster/VolumeCreate", body) == error
    else:
        pair.there.post("MultiCluster/VolumeCreate", body)
        assert pair.here.volume("w")["size"] == MIB
