"""Every switch under its settings: what StorPool's documents leave open, both ways."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from storpool_addon.simulator import Simulator, Switches
from storpool_addon.simulator.switches import _CHOICES
from tests.simulator.plainapi import Failure, PlainApi

MIB = 1 << 20
DOCUMENT = Path(__file__).parents[2] / "docs" / "simulator.md"


class World(PlainApi):
    """The API, and the simulator behind it."""

    def __init__(self, sim: Simulator) -> None:
        super().__init__(sim.endpoint)
        self.sim = sim

    def error(self, call: Callable[..., Any], *args: Any, **more: Any) -> str:
        """The name of the error that a call ends with, "" when it succeeds."""
        try:
            call(*args, **more)
        except Failure as failure:
            return str(failure.name)
        return ""


@pytest.fixture
def world(sim: Simulator) -> World:
    made = World(sim)
    made.create("v", tags={"a": "1"})
    return made


def unknown_field(world: World) -> str:
    return world.error(world.create, "x", colour="red")


def null_value(world: World) -> str:
    return world.error(world.create, "x", template=None)


def long_name_and_tags(world: World) -> str:
    return world.error(world.create, "x" * 150, tags={"t": "v" * 100})


def too_big(world: World) -> str:
    return world.error(world.create, "x", 4096)


def third_snapshot(world: World) -> str:
    return [world.error(world.post, "VolumeSnapshot/v", {"name": f"s{index}"}) for index in range(3)][2]


def create_reply_has_id(world: World) -> bool:
    return "globalId" in world.create("x")


def empty_snapshot_name(world: World) -> bool:
    return "autoName" in world.post("VolumeSnapshot/v", {"name": ""})


def tags_after_update(world: World) -> dict[str, str]:
    world.post("VolumeUpdate/v", {"tags": {"b": "2"}})
    tags: dict[str, str] = world.volume("v")["tags"]
    return tags


def shrink(world: World) -> str:
    return world.error(world.post, "VolumeUpdate/v", {"size": 512})


def attach(world: World) -> None:
    world.reassign({"volume": "v", "rw": [11]})


def revert_foreign(world: World) -> str:
    world.create("other")
    world.post("VolumeSnapshot/other", {"name": "s"})
    world.post("VolumeSnapshot/v", {"name": "own"})
    assert world.error(world.post, "VolumeRevert/v", {"toSnapshot": "own"}) == ""
    return world.error(world.post, "VolumeRevert/v", {"toSnapshot": "s"})


def revert_attached(world: World) -> str:
    world.post("VolumeSnapshot/v", {"name": "empty"})
    attach(world)
    path = Path(world.sim.state_dir, "dev/node1/storpool/v")
    with open(path, "r+b", buffering=0) as device:
        device.write(b"first")
        world.post("VolumeSnapshot/v", {"name": "s"})
        device.write(b" and more")
        error = world.error(world.post, "VolumeRevert/v", {"toSnapshot": "s"})
        assert path.read_bytes().rstrip(b"\0") == (b"first and more" if error else b"first")
        world.error(world.post, "VolumeRevert/v", {"toSnapshot": "empty"})
        assert path.read_bytes().rstrip(b"\0") == (b"first and more" if error else b"")
    return error


def revert_size(world: World) -> str:
    world.post("VolumeSnapshot/v", {"name": "s"})
    return world.error(world.post, "VolumeRevert/v", {"toSnapshot": "s", "revertSize": True})


def reverted(world: World) -> Any:
    world.post("VolumeUpdate/v", {"iops": 100})
    world.post("VolumeSnapshot/v", {"name": "s"})
    world.post("VolumeRevert/v", {"toSnapshot": "s"})
    return world.volume("v")


def tags_after_revert(world: World) -> object:
    return reverted(world)["tags"]


def iops_after_revert(world: World) -> object:
    return reverted(world)["iops"]


def freeze_attached(world: World) -> str:
    attach(world)
    return world.error(world.post, "VolumeFreeze/v")


def delete_attached_snapshot(world: World) -> str:
    world.post("VolumeSnapshot/v", {"name": "s"})
    world.reassign({"snapshot": "s", "ro": [11]})
    return world.error(world.post, "SnapshotDelete/s")


def snapshots_right_after_delete(world: World) -> list[str]:
    world.post("VolumeSnapshot/v", {"name": "s"})
    world.post("SnapshotDelete/s")
    return [each["name"] for each in world.get("SnapshotsList")]


def attach_to_the_dead(world: World) -> tuple[str, int]:
    world.sim.set_client(11, "down")
    error = world.error(world.reassign, {"volume": "v", "rw": [11]}, timeout_s=1)
    return error, len(world.get("AttachmentsList"))


def detach_from_the_dead(world: World) -> str:
    attach(world)
    world.sim.set_client(11, "down")
    return world.error(world.reassign, {"volume": "v", "detach": "all"})


def detach_unattached(world: World) -> str:
    return world.error(world.reassign, {"volume": "v", "detach": [11]})


def bulk_with_a_bad_item(world: World) -> int:
    world.error(world.reassign, {"volume": "v", "rw": [11]}, {"volume": "none", "rw": [11]})
    return len(world.get("AttachmentsList"))


def detach_open(world: World) -> str:
    attach(world)
    world.sim.mark_open(11, "v")
    return world.error(world.reassign, {"volume": "v", "detach": "all"})


def links(world: World) -> list[str]:
    return [each.name for each in Path(world.sim.state_dir, "dev/node1/storpool").iterdir()]


def link_after_rename(world: World) -> list[str]:
    attach(world)
    world.post("VolumeUpdate/v", {"rename": "w"})
    return links(world)


def links_right_after_attach(world: World) -> list[str]:
    attach(world)
    return links(world)


def tags_in_attachments(world: World) -> bool:
    attach(world)
    return "tags" in world.get("AttachmentsList")[0]


def combined_list(world: World) -> bool:
    return "ok" in world.get("VolumesAndSnapshotsList")


def replication(world: World) -> object:
    return world.volume("v")["replication"]


def services(world: World) -> str:
    return world.error(world.get, "ServicesList")


Probe = Callable[[World], object]
CASES: list[tuple[str, Any, Probe, object]] = [
    ("unknown_fields", "reject", unknown_field, "invalidParam"),
    ("unknown_fields", "ignore", unknown_field, ""),
    ("null_values", "ignore", null_value, ""),
    ("null_values", "reject", null_value, "invalidParam"),
    ("name_limit", "separate", long_name_and_tags, ""),
    ("name_limit", "together", long_name_and_tags, "invalidParam"),
    ("max_volume_size", MIB, too_big, ""),
    ("max_volume_size", 2048, too_big, "insufficientResources"),
    ("max_depth", 0, third_snapshot, ""),
    ("max_depth", 2, third_snapshot, "insufficientResources"),
    ("create_global_id", True, create_reply_has_id, True),
    ("create_global_id", False, create_reply_has_id, False),
    ("empty_name", "unnamed", empty_snapshot_name, False),
    ("empty_name", "auto", empty_snapshot_name, True),
    ("tags", "merge", tags_after_update, {"a": "1", "b": "2"}),
    ("tags", "replace", tags_after_update, {"b": "2"}),
    ("shrink_error", "invalidParam", shrink, "invalidParam"),
    ("shrink_error", "other", shrink, "other"),
    ("revert_attached", "busy", revert_attached, "busy"),
    ("revert_attached", "allow", revert_attached, ""),
    ("revert_foreign", "allow", revert_foreign, ""),
    ("revert_foreign", "refuse", revert_foreign, "invalidParam"),
    ("revert_size", True, revert_size, ""),
    ("revert_size", False, revert_size, "invalidParam"),
    ("revert_keeps_tags", True, tags_after_revert, {"a": "1"}),
    ("revert_keeps_tags", False, tags_after_revert, {}),
    ("revert_keeps_limits", True, iops_after_revert, 100),
    ("revert_keeps_limits", False, iops_after_revert, "-"),
    ("freeze_attached", "busy", freeze_attached, "busy"),
    ("freeze_attached", "allow", freeze_attached, ""),
    ("delete_attached_error", "busy", delete_attached_snapshot, "busy"),
    ("delete_attached_error", "other", delete_attached_snapshot, "other"),
    ("deletion_delay_s", 1.0, snapshots_right_after_delete, ["*s"]),
    ("deletion_delay_s", 0.0, snapshots_right_after_delete, []),
    ("attach_expiry", "error", attach_to_the_dead, ("busy", 1)),
    ("attach_expiry", "ok", attach_to_the_dead, ("", 1)),
    ("attach_expiry_keeps", True, attach_to_the_dead, ("busy", 1)),
    ("attach_expiry_keeps", False, attach_to_the_dead, ("busy", 0)),
    ("detach_down", "ok", detach_from_the_dead, ""),
    ("detach_down", "force", detach_from_the_dead, "busy"),
    ("detach_unattached", "ok", detach_unattached, ""),
    ("detach_unattached", "error", detach_unattached, "invalidParam"),
    ("bulk_atomic", True, bulk_with_a_bad_item, 0),
    ("bulk_atomic", False, bulk_with_a_bad_item, 1),
    ("open_error", "busy", detach_open, "busy"),
    ("open_error", "invalidParam", detach_open, "invalidParam"),
    ("rename_link", "follow", link_after_rename, ["w"]),
    ("rename_link", "stay", link_after_rename, ["v"]),
    ("link_delay_s", 0.0, links_right_after_attach, ["v"]),
    ("link_delay_s", 0.2, links_right_after_attach, []),
    ("attachment_tags", False, tags_in_attachments, False),
    ("attachment_tags", True, tags_in_attachments, True),
    ("combined_list_ok", False, combined_list, False),
    ("combined_list_ok", True, combined_list, True),
    ("erasure_coding", False, replication, 3),
    ("erasure_coding", True, replication, "2+2"),
    ("cluster_status", "running", services, ""),
    ("cluster_status", "down", services, "clusterNotOperational"),
]
# These shape the transport and are tested with it.
ON_THE_WIRE = {"error_status", "error_generation", "transient_errors", "keep_alive"}
# These are about two clusters, and tested with those.
OF_SEVERAL = {each for each in Switches._fields if each.startswith("multicluster_")}


@pytest.mark.parametrize(("switch", "setting", "probe", "expected"), CASES)
def test_setting(world: World, switch: str, setting: object, probe: Probe, expected: object) -> None:
    world.sim.switches = world.sim.switches.set({switch: setting})
    assert probe(world) == expected


def test_every_switch_is_tested_at_its_default_and_beside_it() -> None:
    tested = {
        name: {str(setting) for switch, setting, *_ in CASES if switch == name} for name in Switches._fields
    }
    defaults = Switches._field_defaults
    for name in set(Switches._fields) - ON_THE_WIRE - OF_SEVERAL - {"max_volume_size"}:
        assert str(defaults[name]) in tested[name], name
        assert len(tested[name]) > 1, name


@pytest.mark.parametrize("detached", [False, True])
def test_late_link_comes_unless_it_is_not_wanted_any_more(world: World, detached: bool) -> None:
    world.sim.switches = world.sim.switches._replace(link_delay_s=0.1)
    attach(world)
    if detached:
        world.reassign({"volume": "v", "detach": "all"})
    time.sleep(0.3)
    assert links(world) == ([] if detached else ["v"])


def test_detach_from_the_dead_may_wait_for_them(world: World) -> None:
    world.sim.switches = world.sim.switches._replace(detach_down="wait")
    attach(world)
    world.sim.set_client(11, "down")
    waiter = threading.Thread(target=world.reassign, args=({"volume": "v", "detach": "all"},))
    waiter.start()
    waiter.join(0.2)
    assert waiter.is_alive()
    world.sim.set_client(11, "running")
    waiter.join(5)
    assert not waiter.is_alive()


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("error_status=500", "error_status", 500),
        ("keep_alive=yes", "keep_alive", True),
        ("revert_size=0", "revert_size", False),
        ("deletion_delay_s=0.5", "deletion_delay_s", 0.5),
        ("transient_errors=busy,invalidParam", "transient_errors", "busy,invalidParam"),
    ],
)
def test_parse(text: str, field: str, value: object) -> None:
    assert getattr(Switches.parse([text]), field) == value


@pytest.mark.parametrize("text", ["tags", "tags=both", "colour=red", "keep_alive=perhaps", "error_status=x"])
def test_parse_names_what_is_wrong(text: str) -> None:
    with pytest.raises(ValueError, match=text.partition("=")[0]):
        Switches.parse([text])


def test_choices_are_switches_and_hold_their_default() -> None:
    for name, choices in _CHOICES.items():
        assert Switches._field_defaults[name] in choices


def test_document_lists_every_switch() -> None:
    listed = set(re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text(), re.MULTILINE))
    assert listed >= set(Switches._fields)
