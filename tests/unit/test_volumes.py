"""Volumes against the simulated cluster: what is repeated gives the same, what is not ours stays."""

from __future__ import annotations

import time
from typing import Any, Callable

import pytest

from storpool_addon import names
from storpool_addon.config import Config
from storpool_addon.config.key import Given
from storpool_addon.errors import StateError, StorPoolRefused, StorPoolUnreachable
from storpool_addon.simulator import Simulator
from storpool_addon.simulator.faults import Fault, Verdict
from storpool_addon.simulator.switches import Switches
from storpool_addon.storpool import Api, Endpoint
from storpool_addon.volumes import Placement, Volumes

SIZE = 4 << 20
OURS = {"virt": "one", "nloc": "one", "nvm": "42", "diskid": "0"}
THEIRS = {**OURS, "nloc": "two"}


class World:
    """A simulated cluster, and Volumes that work on it."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.log: list[str] = []
        self.volumes = self.configured()

    def configured(self, **settings: str) -> Volumes:
        where = self.simulator.endpoint
        api = Api(Endpoint((where.host,), where.port, where.token), deadline_s=2.0)
        given = {key: Given(text, "test") for key, text in settings.items()}
        return Volumes(api, Config(given), self.log.append)

    def make(self, name: str, tags: dict[str, str] = OURS, **options: Any) -> None:
        self.volumes.api.volume_create(
            name, **{"size": SIZE, "template": "one-ds-101", "tags": tags, **options}
        )

    def attached(self, name: str) -> dict[int, str]:
        found = self.volumes.api.attachments_list()
        return {each.client: each.rights for each in found if each.volume == name}

    def calls(self, query: str = "") -> int:
        return sum(each.query == query or not query for each in self.simulator.requests)


@pytest.fixture
def world(simulator: Simulator) -> World:
    return World(simulator)


# Looking


def test_absent_is_none_and_not_an_error(world: World) -> None:
    assert world.volumes.find("one-img-7") is None


def test_owned_has_to_be_there(world: World) -> None:
    with pytest.raises(StateError, match="volume one-img-7 does not exist"):
        world.volumes.owned("one-img-7")


@pytest.mark.parametrize(
    "tags", [{}, {"virt": "one"}, THEIRS, {**OURS, "nloc": "one2"}, {**OURS, "nloc": "ONE"}]
)
@pytest.mark.parametrize("verb", ["find", "owned", "delete", "discard"])
def test_what_is_not_ours_is_refused_by_name(world: World, tags: dict[str, str], verb: str) -> None:
    """I3."""
    world.make("one-img-7", tags)
    with pytest.raises(StateError, match=r"volume one-img-7 is not ours \(tag nloc is .*, not 'one'\)"):
        getattr(world.volumes, verb)("one-img-7")
    assert world.volumes.api.volume("one-img-7").tags == tags


def test_a_prefix_is_another_name(world: World) -> None:
    world.make("one-img-70")
    assert world.volumes.find("one-img-7") is None
    world.volumes.delete("one-img-7")
    assert world.volumes.find("one-img-70") is not None


@pytest.mark.parametrize(
    "look",
    [
        lambda volumes: volumes.find("x"),
        lambda volumes: volumes.delete("x"),
        lambda volumes: volumes.owned("x"),
    ],
)
def test_no_answer_is_not_absence(world: World, look: Callable[[Volumes], object]) -> None:
    """I6."""
    world.simulator.faults.set([Fault(Verdict("refuse"), times=0)])
    with pytest.raises(StorPoolUnreachable):
        look(world.volumes)


# Making


def test_create_says_whether_it_made_the_volume(world: World) -> None:
    wanted = {"size": SIZE, "template": "one-ds-101", "tags": OURS}
    assert [world.volumes.create("x", **wanted) for _ in range(3)] == [True, False, False]
    found = world.volumes.owned("x")
    assert (found.size, found.template_name, dict(found.tags)) == (SIZE, "one-ds-101", OURS)


@pytest.mark.parametrize("origin", ["base_on", "parent"])
def test_a_clone_is_recognised_by_its_origin(world: World, origin: str) -> None:
    for name in ("a", "b"):
        world.make(name)
        if origin == "parent":
            world.volumes.api.volume_snapshot(name, name=f"{name}-snap")
    suffix = "-snap" if origin == "parent" else ""
    assert world.volumes.create("x", tags=OURS, **{origin: f"a{suffix}"}) is True
    assert world.volumes.create("x", tags=OURS, **{origin: f"a{suffix}"}) is False
    with pytest.raises(StateError, match=f"is a clone of a{suffix}, not of b{suffix}"):
        world.volumes.create("x", tags=OURS, **{origin: f"b{suffix}"})


@pytest.mark.parametrize(
    ("tags", "recognised"),
    [
        (OURS, True),
        ({**OURS, "qc": "gold", "vc-policy": "daily", "type": "PERS"}, True),
        ({**OURS, "nvm": "4"}, False),
        ({**OURS, "diskid": "10"}, False),
        ({**OURS, "virt": "kvm"}, False),
        ({"virt": "one", "nloc": "one"}, False),
    ],
)
def test_whose_volume_counts_as_the_one_that_was_wanted(
    world: World, tags: dict[str, str], recognised: bool
) -> None:
    world.make("x", tags)
    if recognised:
        assert world.volumes.create("x", size=SIZE, template="one-ds-101", tags=OURS) is False
    else:
        with pytest.raises(StateError, match="volume x exists and is another's"):
            world.volumes.create("x", size=SIZE, template="one-ds-101", tags=OURS)


@pytest.mark.parametrize(("asked", "expected"), [(SIZE, SIZE), (2 * SIZE, 2 * SIZE), (SIZE // 2, None)])
def test_what_an_earlier_run_made_gets_the_size(world: World, asked: int, expected: int | None) -> None:
    world.make("x")
    if expected is None:
        with pytest.raises(StateError, match="cannot shrink"):
            world.volumes.create("x", size=asked, template="one-ds-101", tags=OURS)
    else:
        world.volumes.create("x", size=asked, template="one-ds-101", tags=OURS)
        assert world.volumes.owned("x").size == expected


def test_ensure_makes_the_volume_what_it_is_to_be(world: World) -> None:
    assert world.volumes.ensure("x", size=2 * SIZE, template="one-ds-101", tags=OURS) is True
    assert world.volumes.ensure("x", size=SIZE, template="one-ds-101", tags={**OURS, "qc": "a"}) is False
    found = world.volumes.owned("x")
    assert (found.size, found.tags["qc"]) == (SIZE, "a")
    world.make("y", THEIRS)
    with pytest.raises(StateError, match="volume y is not ours"):
        world.volumes.ensure("y", size=SIZE, template="one-ds-101", tags=OURS)


# Attaching


def test_placing_is_one_call_for_all(world: World) -> None:
    for name in ("a", "b", "c"):
        world.make(name)
    before = world.calls()
    world.volumes.place([Placement("a", 11), Placement("b", 12, "ro"), Placement("c", 11)])
    assert world.calls() == before + 1
    assert [world.attached(name) for name in "abc"] == [{11: "rw"}, {12: "ro"}, {11: "rw"}]


@pytest.mark.parametrize(
    ("verb", "expected"),
    [("place", {12: "rw"}), ("share", {11: "rw", 12: "rw"}), ("release", {}), ("withdraw", {11: "rw"})],
)
def test_who_keeps_a_volume(world: World, verb: str, expected: dict[int, str]) -> None:
    world.make("x")
    world.volumes.share([Placement("x", 11)] + [Placement("x", 12)] * (verb == "withdraw"))
    for _ in range(2):
        if verb == "release":
            world.volumes.release(["x"])
        elif verb == "withdraw":
            world.volumes.withdraw("x", 12)
        else:
            getattr(world.volumes, verb)([Placement("x", 12)])
        assert world.attached("x") == expected


def test_nothing_to_do_is_no_call(world: World) -> None:
    before = world.calls()
    world.volumes.place([])
    world.volumes.share([])
    world.volumes.release([])
    assert world.calls() == before


@pytest.mark.parametrize("error", ["busy", "invalidParam"])
@pytest.mark.parametrize("force", [False, True])
def test_an_open_device(world: World, error: str, force: bool) -> None:
    """Older releases of StorPool say invalidParam."""
    world.simulator.switches = Switches(open_error=error)
    world.make("x")
    world.volumes.place([Placement("x", 11)])
    world.simulator.mark_open(11, "x")
    if force:
        world.volumes.place([Placement("x", 12)], force=True)
        assert any("by force" in line for line in world.log)
    else:
        with pytest.raises(StateError, match="'x' is open at client 11; is its VM running there"):
            world.volumes.place([Placement("x", 12)])
    assert world.attached("x") == ({12: "rw"} if force else {11: "rw"})


def test_a_device_that_is_open_for_a_moment_is_waited_for(world: World) -> None:
    world.make("x")
    world.volumes.place([Placement("x", 11)])
    refused = Fault(Verdict.error("busy", "'x' is open at client 11"), "VolumesReassignWait", times=3)
    world.simulator.faults.set([refused])
    world.volumes.place([Placement("x", 12)])
    assert world.attached("x") == {12: "rw"} and not any("by force" in line for line in world.log)


def test_one_that_is_refused_holds_back_all_the_others(world: World) -> None:
    for name in ("a", "b"):
        world.make(name)
        world.volumes.place([Placement(name, 11)])
    world.simulator.mark_open(11, "b")
    with pytest.raises(StateError):
        world.volumes.place([Placement("a", 12), Placement("b", 12)])
    assert (world.attached("a"), world.attached("b")) == ({11: "rw"}, {11: "rw"})


def test_a_client_that_does_not_come_is_no_open_device(world: World) -> None:
    world.make("x")
    world.simulator.set_client(11, "down")
    with pytest.raises(StorPoolRefused, match=r"VolumesReassignWait x: .*client 11"):
        world.configured(ATTACH_TIMEOUT="1").place([Placement("x", 11)])


def test_withdrawing_what_storpool_does_not_know_is_no_failure(world: World) -> None:
    world.simulator.switches = Switches(detach_unattached="error")
    world.make("x")
    world.volumes.withdraw("x", 11)
    assert "volume x was not detached from client 11" in world.log[0]


# Changing


def test_growing(world: World) -> None:
    world.make("x")
    for size in (2 * SIZE, 2 * SIZE):
        world.volumes.grow(world.volumes.owned("x"), size)
    assert world.volumes.owned("x").size == 2 * SIZE
    with pytest.raises(StateError, match=f"volume x has {2 * SIZE} bytes and cannot shrink to {SIZE}"):
        world.volumes.grow(world.volumes.owned("x"), SIZE)


def test_a_tag_that_is_empty_goes(world: World) -> None:
    world.make("x")
    world.volumes.tag("x", {"nvm": "", "qc": "gold"})
    assert dict(world.volumes.owned("x").tags) == {"virt": "one", "nloc": "one", "diskid": "0", "qc": "gold"}


def test_renaming_only_what_is_ours(world: World) -> None:
    world.make("x")
    world.make("y", THEIRS)
    world.volumes.rename("x", "z")
    assert world.volumes.find("x") is None and world.volumes.find("z") is not None
    with pytest.raises(StateError, match="volume y is not ours"):
        world.volumes.rename("y", "w")


# Deleting


def test_deleting_twice_keeps_one_snapshot(world: World) -> None:
    world.make("x", {**OURS, "vc-policy": "daily", "qc": "gold"})
    world.volumes.place([Placement("x", 11)])
    name = names.deleted("x", world.volumes.owned("x").global_id)
    for _ in range(3):
        world.volumes.delete("x")
    kept = world.volumes.api.snapshot(name)
    assert dict(kept.tags) == {**OURS, "deleted": "x"}
    assert kept.target_delete_date is not None
    assert abs(kept.target_delete_date - time.time() - 48 * 3600) < 60
    assert [each.name for each in world.volumes.api.snapshots_list() if not each.auto_name] == [name]


def test_a_delete_that_was_cut_off_after_its_snapshot(world: World) -> None:
    """P1: the second run meets the snapshot of the first."""
    world.make("x")
    world.simulator.faults.set([Fault(Verdict.error("serverError"), "VolumeDelete")])
    with pytest.raises(StorPoolRefused):
        world.volumes.delete("x")
    world.volumes.delete("x")
    assert world.volumes.find("x") is None
    assert len([each for each in world.volumes.api.snapshots_list() if not each.auto_name]) == 1


def test_a_volume_of_the_same_name_again(world: World) -> None:
    for _ in range(2):
        world.make("x")
        world.volumes.delete("x")
    assert len([each for each in world.volumes.api.snapshots_list() if not each.auto_name]) == 2


@pytest.mark.parametrize(("settings", "keep"), [({"DELAY_DELETE": ""}, True), ({}, False)])
def test_deleting_at_once(world: World, settings: dict[str, str], keep: bool) -> None:
    world.make("x")
    world.configured(**settings).delete("x", keep=keep)
    assert world.volumes.find("x") is None
    assert [each for each in world.volumes.api.snapshots_list() if not each.auto_name] == []


def test_only_the_snapshots_that_are_named_go(world: World) -> None:
    world.make("x")
    for name in ("x-snap0", "x-snap1", "x-snap10", "ax-snap1"):
        world.volumes.api.volume_snapshot("x", name=name, tags=OURS)
    for _ in range(2):
        world.volumes.delete("x", keep=False, snapshots=["x-snap1", "x-snap2"])
    left = {each.name for each in world.volumes.api.snapshots_list() if not each.deleted}
    assert {"x-snap0", "x-snap10", "ax-snap1"} <= left and "x-snap1" not in left


@pytest.mark.parametrize(("tags", "goes"), [({}, True), (OURS, True), (THEIRS, False)])
def test_whose_snapshot_goes(world: World, tags: dict[str, str], goes: bool) -> None:
    """The bash addon's disk snapshots carry no tags: their exact name has to do."""
    world.make("x")
    world.volumes.api.volume_snapshot("x", name="x-snap1", tags=tags)
    if goes:
        world.volumes.delete("x", keep=False, snapshots=["x-snap1"])
    else:
        with pytest.raises(StateError, match="snapshot x-snap1 is not ours"):
            world.volumes.delete("x", keep=False, snapshots=["x-snap1"])
