"""Snapshots: alone, in groups, bound, with an end, and their slow deletion."""

from __future__ import annotations

from typing import Any

import pytest

from storpool_addon.simulator import Simulator
from tests.simulator.conftest import Clock
from tests.simulator.plainapi import Failure, PlainApi

MIB = 1 << 20


def refused(error: str, call: Any, *args: Any) -> str:
    with pytest.raises(Failure) as caught:
        call(*args)
    assert caught.value.name == error
    return str(caught.value.descr)


@pytest.fixture(autouse=True)
def volume(api: PlainApi) -> None:
    api.create("v", tags={"virt": "one"})


def test_named(api: PlainApi) -> None:
    made = api.post("VolumeSnapshot/v", {"name": "s", "tags": {"a": "b"}})
    assert "autoName" not in made
    snapshot = api.snapshot("s")
    assert (snapshot["globalId"], snapshot["id"]) == (
        made["snapshotGlobalId"],
        made["snapshotVisibleVolumeId"],
    )
    assert (snapshot["tags"], snapshot["onVolume"], snapshot["autoName"]) == ({"a": "b"}, "v", False)
    assert api.volume("v")["parentName"] == "s"
    assert api.volume("v")["tags"] == {"virt": "one"}


def test_anonymous(api: PlainApi) -> None:
    made = api.post("VolumeSnapshot/v")
    assert made["autoName"] == f"v@{made['snapshotVisibleVolumeId']}"
    assert api.snapshot(made["autoName"])["autoName"] is True


def test_snapshots_form_a_chain(api: PlainApi) -> None:
    for name in ("s1", "s2"):
        api.post("VolumeSnapshot/v", {"name": name})
    assert (api.snapshot("s2")["parentName"], api.snapshot("s1")["parentName"]) == ("s1", "")
    assert (api.snapshot("s2")["onVolume"], api.snapshot("s1")["onVolume"]) == ("v", "-")


def test_name_is_shared_with_volumes(api: PlainApi) -> None:
    refused("objectExists", api.post, "VolumeSnapshot/v", {"name": "v"})
    api.post("VolumeSnapshot/v", {"name": "s"})
    refused("objectExists", api.create, "s")
    refused("objectDoesNotExist", api.volume, "s")
    refused("objectDoesNotExist", api.snapshot, "v")


def test_deletion_takes_its_time_and_frees_the_name(api: PlainApi, clock: Clock) -> None:
    gid = api.post("VolumeSnapshot/v", {"name": "s"})["snapshotGlobalId"]
    api.post("SnapshotDelete/s")
    (listed,) = api.get("SnapshotsList")
    assert (listed["name"], listed["deleted"], listed["globalId"]) == ("*s", True, gid)
    refused("objectDoesNotExist", api.post, "SnapshotDelete/s")
    refused("objectDoesNotExist", api.post, "VolumeCreate", {"name": "x", "parent": f"~{gid}"})
    api.post("VolumeSnapshot/v", {"name": "s"})
    clock.now += 2
    assert [each["name"] for each in api.get("SnapshotsList")] == ["s"]


def test_children_of_a_deleted_snapshot_get_its_parent(api: PlainApi, clock: Clock) -> None:
    for name in ("s1", "s2"):
        api.post("VolumeSnapshot/v", {"name": name})
    api.post("SnapshotDelete/s2")
    clock.now += 2
    assert api.volume("v")["parentName"] == "s1"


def test_snapshot_with_several_children_lingers_until_one_is_left(api: PlainApi, clock: Clock) -> None:
    api.post("VolumeSnapshot/v", {"name": "s"})
    api.post("VolumeCreate", {"name": "clone", "parent": "s"})
    api.post("SnapshotDelete/s")
    clock.now += 60
    (listed,) = api.get("SnapshotsList")
    assert (listed["name"], listed["deleteBlocked"]) == ("*s", "multiple children")
    api.post("VolumeDelete/clone")
    assert api.get("SnapshotsList") == []


def test_delete_by_id(api: PlainApi) -> None:
    gid = api.post("VolumeSnapshot/v", {"name": "s"})["snapshotGlobalId"]
    api.post(f"SnapshotDeleteById/{gid}")
    assert api.get("SnapshotsList")[0]["deleted"]
    refused("objectDoesNotExist", api.post, "SnapshotDeleteById/d.n.zzz")


def test_bound_snapshot_goes_when_childless_and_detached(sim: Simulator, api: PlainApi) -> None:
    api.post("VolumeSnapshot/v", {"name": "s", "bind": True})
    api.reassign({"snapshot": "s", "ro": [11]})
    api.post("VolumeDelete/v")
    api.get("SnapshotsList")
    assert set(sim.cluster.snapshots) == {"s"}
    api.reassign({"snapshot": "s", "detach": "all"})
    api.get("SnapshotsList")
    assert sim.cluster.snapshots == {}


def test_delete_after(sim: Simulator, api: PlainApi, clock: Clock) -> None:
    api.post("VolumeSnapshot/v", {"name": "s", "deleteAfter": 3600})
    assert api.snapshot("s")["targetDeleteDate"] == int(clock.now) + 3600
    clock.now += 3599
    assert [each["name"] for each in api.get("SnapshotsList")] == ["s"]
    clock.now += 1
    assert [each["name"] for each in api.get("SnapshotsList")] == ["*s"]
    clock.now += 2
    assert api.get("SnapshotsList") == []


def test_delete_date_waits_for_detach(api: PlainApi, clock: Clock) -> None:
    api.post("VolumeSnapshot/v", {"name": "s", "deleteAfter": 10})
    api.reassign({"snapshot": "s", "ro": [11]})
    clock.now += 60
    assert [each["name"] for each in api.get("SnapshotsList")] == ["s"]
    api.reassign({"snapshot": "s", "detach": "all"})
    assert [each["name"] for each in api.get("SnapshotsList")] == ["*s"]


@pytest.mark.parametrize("cancel", [{"deleteAfter": 0}, {"targetDeleteDate": 0}])
def test_delete_date_can_be_taken_back(api: PlainApi, clock: Clock, cancel: dict[str, int]) -> None:
    api.post("VolumeSnapshot/v", {"name": "s", "deleteAfter": 10})
    api.post("SnapshotUpdate/s", cancel)
    clock.now += 60
    assert [each["name"] for each in api.get("SnapshotsList")] == ["s"]


def test_delete_date_in_the_past_is_refused(api: PlainApi) -> None:
    refused("invalidParam", api.post, "VolumeSnapshot/v", {"name": "s", "targetDeleteDate": 1})


@pytest.mark.parametrize(
    ("update", "field", "value"),
    [
        ({"rename": "t"}, "name", "t"),
        ({"tags": {"x": "y"}}, "tags", {"a": "b", "x": "y"}),
        ({"tags": {"a": ""}}, "tags", {}),
        ({"bind": True}, "bound", True),
        ({"template": "one-ds-1"}, "templateName", "one-ds-1"),
        ({"iops": 5}, "iops", 5),
    ],
)
def test_update(api: PlainApi, update: dict[str, Any], field: str, value: object) -> None:
    gid = api.post("VolumeSnapshot/v", {"name": "s", "tags": {"a": "b"}})["snapshotGlobalId"]
    api.post("SnapshotUpdate/s", update)
    assert api.snapshot(f"~{gid}")[field] == value


def test_named_again_it_is_not_anonymous_any_more(api: PlainApi) -> None:
    auto = api.post("VolumeSnapshot/v")["autoName"]
    api.post(f"SnapshotUpdate/{auto}", {"rename": "kept"})
    assert api.snapshot("kept")["autoName"] is False


def test_group(api: PlainApi) -> None:
    api.create("w")
    items = [{"volume": "v", "name": "vs"}, {"volume": "w", "name": "ws", "tags": {"x": "y"}}]
    answer = api.post("VolumesGroupSnapshot", {"volumes": items, "tags": {"nvm": "42"}})
    assert answer["ok"] is True
    assert [(each["volume"], each["snapshot"]) for each in answer["snapshots"]] == [("v", "vs"), ("w", "ws")]
    assert (api.snapshot("vs")["tags"], api.snapshot("ws")["tags"]) == (
        {"nvm": "42"},
        {"nvm": "42", "x": "y"},
    )
    assert answer["snapshots"][0]["snapshotGlobalId"] == api.snapshot("vs")["globalId"]
    assert answer["snapshots"][0]["volumeGlobalId"] == api.volume("v")["globalId"]


@pytest.mark.parametrize(
    ("second", "error"),
    [
        ({"volume": "none", "name": "ws"}, "objectDoesNotExist"),
        ({"volume": "w", "name": "vs"}, "objectExists"),
        ({"name": "ws"}, "invalidParam"),
        ({"volume": "w", "name": "ws", "deleteAfter": 5}, "invalidParam"),
    ],
)
def test_group_is_all_or_nothing(api: PlainApi, second: dict[str, Any], error: str) -> None:
    api.create("w")
    items = [{"volume": "v", "name": "vs"}, second]
    refused(error, api.post, "VolumesGroupSnapshot", {"volumes": items})
    assert api.get("SnapshotsList") == []
    assert api.volume("v")["parentName"] == ""


def test_empty_group_is_refused(api: PlainApi) -> None:
    refused("invalidParam", api.post, "VolumesGroupSnapshot", {"volumes": []})


def test_attached_snapshot_is_not_deleted(api: PlainApi) -> None:
    api.post("VolumeSnapshot/v", {"name": "s"})
    api.reassign({"snapshot": "s", "ro": [12]})
    assert "client 12" in refused("busy", api.post, "SnapshotDelete/s")


def test_describe_and_info(api: PlainApi) -> None:
    api.post("VolumeSnapshot/v", {"name": "s"})
    assert api.get("SnapshotGetInfo/s")["disksCount"] == 3
    assert api.get("SnapshotDescribe/s")["objects"] == [[101, 102, 103]]


def test_rebase(api: PlainApi) -> None:
    for name in ("s1", "s2"):
        api.post("VolumeSnapshot/v", {"name": name})
    api.post("SnapshotRebase/s2", {})
    assert api.snapshot("s2")["parentName"] == ""
