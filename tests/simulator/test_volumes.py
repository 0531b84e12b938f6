"""Volumes: what may be made, changed, deleted, and how each is refused."""

from __future__ import annotations

from typing import Any

import pytest

from storpool_addon.simulator import Simulator
from tests.simulator.plainapi import Failure, PlainApi

MIB = 1 << 20


def test_create_answers_name_and_global_id(api: PlainApi) -> None:
    made = api.create("v1", 10 * MIB, template="one-ds-1", tags={"virt": "one"})
    assert made["ok"] is True
    assert (made["name"], made["generation"]) == ("v1", api.generation)
    volume = api.volume("v1")
    assert volume["globalId"] == made["globalId"]
    assert (volume["size"], volume["templateName"], volume["tags"]) == (10 * MIB, "one-ds-1", {"virt": "one"})
    assert (volume["parentName"], volume["iops"], volume["objectsCount"]) == ("", "-", 1)


def test_volume_is_found_by_global_id(api: PlainApi) -> None:
    gid = api.create("v1")["globalId"]
    assert api.volume(f"~{gid}")["name"] == "v1"


@pytest.mark.parametrize("body", [{"size": MIB}, {"size": MIB, "name": ""}])
def test_unnamed_volume_is_called_by_its_id(api: PlainApi, body: dict[str, Any]) -> None:
    made = api.post("VolumeCreate", body)
    assert made["name"] == f"~{made['globalId']}"
    assert api.volume(made["name"])["name"] == made["name"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"name": "taken", "size": MIB}, "objectExists"),
        ({"name": "snap", "size": MIB}, "objectExists"),
        ({"name": "x", "size": 0}, "invalidParam"),
        ({"name": "x", "size": -512}, "invalidParam"),
        ({"name": "x", "size": 513}, "invalidParam"),
        ({"name": "x", "size": "many"}, "invalidParam"),
        ({"name": "x", "size": True}, "invalidParam"),
        ({"name": "x", "size": 1 << 63}, "insufficientResources"),
        ({"name": "x"}, "invalidParam"),
        ({"name": "a b", "size": MIB}, "invalidParam"),
        ({"name": "ü", "size": MIB}, "invalidParam"),
        ({"name": "a@1", "size": MIB}, "invalidParam"),
        ({"name": "list", "size": MIB}, "invalidParam"),
        ({"name": "status", "size": MIB}, "invalidParam"),
        ({"name": "x" * 200, "size": MIB}, "invalidParam"),
        ({"name": 5, "size": MIB}, "invalidParam"),
        ({"name": "x", "template": "none"}, "objectDoesNotExist"),
        ({"name": "x", "template": "a.b", "size": MIB}, "invalidParam"),
        ({"name": "x", "parent": "none"}, "objectDoesNotExist"),
        ({"name": "x", "parent": "taken"}, "objectDoesNotExist"),
        ({"name": "x", "baseOn": "none"}, "objectDoesNotExist"),
        ({"name": "x", "baseOn": "snap"}, "objectDoesNotExist"),
        ({"name": "x", "parent": "snap", "baseOn": "taken"}, "invalidParam"),
        ({"name": "x", "parent": "snap", "size": 512}, "invalidParam"),
        ({"name": "x", "size": MIB, "tags": {"a b": "c"}}, "invalidParam"),
        ({"name": "x", "size": MIB, "tags": {"a": "b" * 200}}, "invalidParam"),
        ({"name": "x", "size": MIB, "tags": ["a"]}, "invalidParam"),
        ({"name": "x", "size": MIB, "tags": {"a": 1}}, "invalidParam"),
        ({"name": "x", "size": MIB, "placeAll": "nowhere"}, "objectDoesNotExist"),
        ({"name": "x", "size": MIB, "replication": 4}, "invalidParam"),
        ({"name": "x", "size": MIB, "iops": -1}, "invalidParam"),
        ({"name": "x", "size": MIB, "colour": "red"}, "invalidParam"),
        (["x"], "invalidParam"),
    ],
)
def test_create_refuses(api: PlainApi, body: Any, error: str) -> None:
    api.create("taken")
    api.post("VolumeSnapshot/taken", {"name": "snap"})
    before = api.get("VolumesList"), api.get("SnapshotsList")
    with pytest.raises(Failure) as caught:
        api.post("VolumeCreate", body)
    assert caught.value.name == error
    assert (api.get("VolumesList"), api.get("SnapshotsList")) == before


@pytest.mark.parametrize("name", ["a", "x" * 199, "#sys", "one-img-1", "a.b:c_d"])
def test_legal_names(api: PlainApi, name: str) -> None:
    api.create(name, 512)
    assert api.volume(name.replace("#", "%23"))["size"] == 512


def test_size_comes_from_template_then_parent(api: PlainApi) -> None:
    api.post("VolumeTemplateCreate", {"name": "sized", "size": 4 * MIB})
    assert api.post("VolumeCreate", {"name": "a", "template": "sized"})["ok"]
    assert api.volume("a")["size"] == 4 * MIB
    api.post("VolumeSnapshot/a", {"name": "s"})
    api.post("VolumeCreate", {"name": "b", "parent": "s"})
    assert api.volume("b")["size"] == 4 * MIB


def test_clone_has_settings_but_not_tags_of_its_parent(api: PlainApi) -> None:
    api.create("a", template="one-ds-1", iops=100, tags={"virt": "one"})
    api.post("VolumeSnapshot/a", {"name": "s", "tags": {"x": "y"}})
    api.post("VolumeCreate", {"name": "b", "parent": "s"})
    clone = api.volume("b")
    assert (clone["templateName"], clone["iops"], clone["tags"], clone["parentName"]) == (
        "one-ds-1",
        100,
        {},
        "s",
    )


def test_base_on_makes_a_transient_snapshot_that_both_have_as_parent(api: PlainApi) -> None:
    api.create("a")
    made = api.post("VolumeCreate", {"name": "b", "baseOn": "a"})
    auto = made["autoName"]
    assert auto.startswith("a@")
    assert api.volume("a")["parentName"] == api.volume("b")["parentName"] == auto
    snapshot = api.snapshot(auto)
    assert (snapshot["transient"], snapshot["autoName"], snapshot["onVolume"]) == (True, True, "a")


def test_transient_snapshot_goes_with_its_last_child(sim: Simulator, api: PlainApi) -> None:
    api.create("a")
    auto = api.post("VolumeCreate", {"name": "b", "baseOn": "a"})["autoName"]
    api.post("VolumeDelete/a")
    assert auto in sim.cluster.snapshots
    api.post("VolumeDelete/b")
    api.get("VolumesList")
    assert sim.cluster.snapshots == {}


@pytest.mark.parametrize(
    ("update", "field", "value"),
    [
        ({"size": 2 * MIB}, "size", 2 * MIB),
        ({"size": str(2 * MIB)}, "size", 2 * MIB),
        ({"sizeAdd": 512}, "size", MIB + 512),
        ({"size": 512, "shrinkOk": True}, "size", 512),
        ({"iops": 7}, "iops", 7),
        ({"bw": "-"}, "bw", "-"),
        ({"template": "one-ds-1"}, "templateName", "one-ds-1"),
        ({"placeAll": "ssd"}, "placeTail", "ssd"),
        ({"tags": {"b": "2"}}, "tags", {"a": "1", "b": "2"}),
        ({"tags": {"a": ""}}, "tags", {}),
        ({"tags": {"a": "9"}, "rename": None}, "tags", {"a": "9"}),
    ],
)
def test_update(api: PlainApi, update: dict[str, Any], field: str, value: object) -> None:
    api.create("v", tags={"a": "1"})
    api.post("VolumeUpdate/v", update)
    assert api.volume("v")[field] == value


@pytest.mark.parametrize(
    ("update", "error"),
    [
        ({"size": 512}, "invalidParam"),
        ({"size": 2 * MIB, "sizeAdd": 512}, "invalidParam"),
        ({"rename": "other"}, "objectExists"),
        ({"template": "none"}, "objectDoesNotExist"),
        ({"shrinkOk": "yes"}, "invalidParam"),
        ({"size": 1 << 60}, "insufficientResources"),
        ({"parent": "other"}, "invalidParam"),
    ],
)
def test_update_refuses_and_changes_nothing(api: PlainApi, update: dict[str, Any], error: str) -> None:
    api.create("v")
    api.create("other")
    before = api.volume("v")
    with pytest.raises(Failure) as caught:
        api.post("VolumeUpdate/v", {"iops": 5, **update})
    assert caught.value.name == error
    assert api.volume("v") == before


def test_rename_frees_the_old_name_and_keeps_the_id(api: PlainApi) -> None:
    gid = api.create("old")["globalId"]
    api.post("VolumeUpdate/old", {"rename": "new"})
    assert api.volume("new")["globalId"] == gid
    api.create("old")


def test_rename_to_nothing_leaves_the_id(api: PlainApi) -> None:
    gid = api.create("v")["globalId"]
    api.post("VolumeUpdate/v", {"rename": ""})
    assert api.volume(f"~{gid}")["name"] == f"~{gid}"


def test_delete(api: PlainApi) -> None:
    api.create("v")
    api.post("VolumeDelete/v")
    for again in (lambda: api.post("VolumeDelete/v"), lambda: api.volume("v")):
        with pytest.raises(Failure) as caught:
            again()
        assert caught.value.name == "objectDoesNotExist"


def test_delete_of_an_attached_volume_is_busy_unless_it_may_detach(sim: Simulator, api: PlainApi) -> None:
    api.create("v")
    api.reassign({"volume": "v", "rw": [11]})
    sim.mark_open(11, "v")
    for body in (None, {}, {"onAttached": "fail"}, {"onAttached": "detach"}):
        with pytest.raises(Failure) as caught:
            api.post("VolumeDelete/v", body)
        assert caught.value.name == "busy"
    api.post("MultiCluster/VolumeDelete/v", {"onAttached": "detachForce"})
    assert api.get("VolumesList") == api.get("AttachmentsList") == []


def test_freeze_turns_a_volume_into_a_snapshot_of_its_name(sim: Simulator, api: PlainApi) -> None:
    gid = api.create("v", tags={"a": "b"})["globalId"]
    api.post("VolumeFreeze/v", {"deleteAfter": 60})
    snapshot = api.snapshot("v")
    assert (snapshot["globalId"], snapshot["tags"]) == (gid, {"a": "b"})
    assert snapshot["targetDeleteDate"] == int(sim.cluster.now()) + 60
    with pytest.raises(Failure) as caught:
        api.post("VolumeFreeze/v")
    assert caught.value.name == "objectDoesNotExist"


def test_revert_keeps_name_id_and_size(api: PlainApi) -> None:
    gid = api.create("v")["globalId"]
    api.post("VolumeSnapshot/v", {"name": "s"})
    api.post("VolumeUpdate/v", {"size": 2 * MIB})
    api.post("VolumeRevert/v", {"toSnapshot": "s"})
    volume = api.volume("v")
    assert (volume["globalId"], volume["size"], volume["parentName"]) == (gid, 2 * MIB, "s")
    api.post("VolumeRevert/v", {"toSnapshot": "s", "revertSize": True})
    assert api.volume("v")["size"] == MIB


@pytest.mark.parametrize(
    ("body", "error"), [({}, "invalidParam"), ({"toSnapshot": "none"}, "objectDoesNotExist")]
)
def test_revert_refuses(api: PlainApi, body: dict[str, Any], error: str) -> None:
    api.create("v")
    with pytest.raises(Failure) as caught:
        api.post("VolumeRevert/v", body)
    assert caught.value.name == error


def test_rebase_goes_up_the_chain_only(api: PlainApi) -> None:
    api.create("v")
    for name in ("s1", "s2"):
        api.post("VolumeSnapshot/v", {"name": name})
    assert [each["name"] for each in api.get("VolumeListSnapshots/v")] == ["s2", "s1"]
    api.post("VolumeRebase/v", {"parentName": "s1"})
    assert api.volume("v")["parentName"] == "s1"
    with pytest.raises(Failure) as caught:
        api.post("VolumeRebase/v", {"parentName": "s2"})
    assert caught.value.name == "invalidParam"
    api.post("VolumeRebase/v", {})
    assert api.get("VolumeListSnapshots/v") == []


def test_status_is_a_dict_by_name_of_volumes_and_snapshots(api: PlainApi) -> None:
    api.create("v")
    api.post("VolumeSnapshot/v", {"name": "s"})
    for query in ("VolumesGetStatus", "VolumesGetStatusQuick"):
        status = api.get(query)
        assert {name: each["snapshot"] for name, each in status.items()} == {"v": False, "s": True}
        assert ("storedSize" in status["v"]) == (query == "VolumesGetStatus")


def test_space_counts_what_is_really_there(sim: Simulator, api: PlainApi) -> None:
    api.create("v", 10 * MIB)
    api.reassign({"volume": "v", "rw": [11]})
    with open(f"{sim.state_dir}/dev/node1/storpool/v", "r+b") as device:
        device.write(b"x" * MIB)
    api.post("VolumeSnapshot/v", {"name": "s"})
    volume, snapshot = api.get("VolumesSpace")[0], api.get("SnapshotsSpace")[0]
    assert volume["storedSize"] == snapshot["storedSize"] == snapshot["spaceUsed"] == MIB
    assert volume["spaceUsed"] == 2 * MIB
    (template,) = api.get("VolumeTemplatesStatus")
    assert template["stored"]["capacity"] - template["stored"]["free"] == 2 * MIB
    listed = {each["name"]: each for each in api.get("VolumesAndSnapshotsList")["volumes"]}
    assert {name: each["snapshot"] for name, each in listed.items()} == {"v": False, "s": True}


def test_describe_and_info_are_objects(api: PlainApi) -> None:
    api.create("v", 33 * MIB)
    assert len(api.get("VolumeDescribe/v")["objects"]) == 2
    assert api.get("VolumeGetInfo/v")["objectsPerDisk"] == {"101": 2, "102": 2, "103": 2}
