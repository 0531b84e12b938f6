"""Snapshots against the simulated cluster: repeatable, by exact names, nothing of others, nothing lost."""

from __future__ import annotations

import pytest

from storpool_addon.errors import StateError, StorPoolRefused
from storpool_addon.simulator import Simulator
from storpool_addon.simulator.switches import Switches
from storpool_addon.snapshots import Snapshots
from storpool_addon.storpool import Policy, Reassign
from tests.unit.test_volumes import OURS, SIZE, THEIRS, World

VOLUME, NAME = "one-img-7-42-0", "one-img-7-42-0-snap0"
TAGS = {"virt": "one", "nloc": "one", "nvm": "42"}


class Scene(World):
    """One volume, and Snapshots that work on it."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator)
        self.snapshots = Snapshots(self.volumes)
        self.make(VOLUME)

    def switch(self, **values: object) -> None:
        self.simulator.cluster.switches = Switches().set(values)


@pytest.fixture
def there(simulator: Simulator) -> Scene:
    return Scene(simulator)


def test_take_says_whether_it_made_the_snapshot(there: Scene) -> None:
    assert [there.snapshots.take(VOLUME, NAME, TAGS) for _ in range(3)] == [True, False, False]
    assert there.snapshots.owned(NAME).tags == TAGS


def test_a_later_snapshot_does_not_make_an_earlier_one_strange(there: Scene) -> None:
    assert there.snapshots.take(VOLUME, NAME, TAGS)
    assert there.snapshots.take(VOLUME, f"{VOLUME}-snap1", TAGS)
    assert not there.snapshots.take(VOLUME, NAME, TAGS)


@pytest.mark.parametrize("tags", [{}, {**TAGS, "nvm": "43"}, {**TAGS, "nloc": "two"}])
def test_another_snapshot_of_the_name_is_not_ours(there: Scene, tags: dict[str, str]) -> None:
    there.volumes.api.volume_snapshot(VOLUME, name=NAME, tags=tags)
    with pytest.raises(StateError, match=NAME):
        there.snapshots.take(VOLUME, NAME, TAGS)
    assert there.volumes.api.snapshot(NAME).tags == tags


def test_a_volume_has_the_name(there: Scene) -> None:
    there.make(NAME)
    with pytest.raises(StateError, match=f"{NAME} cannot be made: StorPool has a volume"):
        there.snapshots.take(VOLUME, NAME, TAGS)


PAIRS = [(VOLUME, f"{VOLUME}-a"), ("one-sys-42-1-raw", "one-sys-42-1-raw-a")]


def test_a_group_is_taken_once(there: Scene) -> None:
    there.make(PAIRS[1][0])
    assert [there.snapshots.take_group(PAIRS, TAGS) for _ in range(2)] == [True, False]
    for _, name in PAIRS:
        there.snapshots.expire(name, 600)
    found = [there.snapshots.owned(name) for _, name in PAIRS]
    assert all(each.tags == TAGS and each.target_delete_date for each in found)
    assert there.calls("VolumesGroupSnapshot") == 2


def test_a_part_of_a_group_is_replaced(there: Scene) -> None:
    """Two of one moment are worth something; one of them is of another moment."""
    there.make(PAIRS[1][0])
    there.snapshots.take(*PAIRS[0], TAGS)
    before = there.snapshots.owned(PAIRS[0][1]).global_id
    assert there.snapshots.take_group(PAIRS, TAGS)
    assert there.snapshots.owned(PAIRS[0][1]).global_id != before


def test_a_group_does_not_replace_what_is_anothers(there: Scene) -> None:
    there.make(PAIRS[1][0])
    there.volumes.api.volume_snapshot(VOLUME, name=PAIRS[0][1], tags=THEIRS)
    with pytest.raises(StateError, match="not ours"):
        there.snapshots.take_group(PAIRS, TAGS)
    assert there.snapshots.find(PAIRS[1][1]) is None


@pytest.mark.parametrize(("error", "is_open"), [("busy", True), ("invalidParam", False), ("attached", False)])
def test_an_attached_snapshot_is_detached_to_be_deleted(there: Scene, error: str, is_open: bool) -> None:
    there.switch(delete_attached_error=error)
    there.snapshots.take(VOLUME, NAME, TAGS)
    there.snapshots.attach([NAME], 11)
    assert there.attached(NAME) == {11: "ro"}
    if is_open:
        there.simulator.mark_open(11, NAME)
    there.snapshots.delete(NAME)
    there.snapshots.delete(NAME)
    assert there.snapshots.find(NAME) is None


@pytest.mark.parametrize("tags", [{}, TAGS])
def test_a_snapshot_is_deleted_by_its_exact_name(there: Scene, tags: dict[str, str]) -> None:
    """The bash addon left its disk snapshots without tags."""
    for name in (NAME, f"{NAME}0", f"a-{NAME}", f"{NAME}-b"):
        there.volumes.api.volume_snapshot(VOLUME, name=name, tags=tags)
    there.snapshots.delete(NAME)
    left = {each.name for each in there.volumes.api.snapshots_list() if not each.deleted}
    assert left == {f"{NAME}0", f"a-{NAME}", f"{NAME}-b"}


def test_a_snapshot_of_others_is_not_deleted(there: Scene) -> None:
    there.volumes.api.volume_snapshot(VOLUME, name=NAME, tags=THEIRS)
    with pytest.raises(StateError, match=f"snapshot {NAME} is not ours"):
        there.snapshots.delete(NAME)


def test_detach_passes_over_what_is_gone(there: Scene) -> None:
    there.snapshots.take(VOLUME, NAME, TAGS)
    there.snapshots.attach([NAME], 11)
    there.snapshots.detach([f"{NAME}0", NAME, "gone"])
    assert there.attached(NAME) == {}


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize(("keep_size", "size"), [(True, 2 * SIZE), (False, SIZE)])
def test_a_revert_changes_the_data_and_nothing_else(
    there: Scene, keeps: bool, keep_size: bool, size: int
) -> None:
    there.switch(revert_keeps_tags=keeps, revert_keeps_limits=keeps, revert_size=keeps)
    limits = Policy(iops=1000, bw=2000)
    there.volumes.api.volume_update(VOLUME, tags={"qc": "gold"}, policy=limits)
    there.snapshots.take(VOLUME, NAME, TAGS)
    there.volumes.api.volume_update(VOLUME, size=2 * SIZE, template="one-ds-100", policy=limits)
    before = there.volumes.owned(VOLUME)
    for _ in range(2):
        assert there.snapshots.revert(VOLUME, NAME, keep_size=keep_size) == size
    after = there.volumes.owned(VOLUME)
    assert after == before._replace(parent_name=NAME, size=size)
    assert after.tags["qc"] == "gold" and after.global_id == before.global_id


def test_a_revert_cuts_nothing_off(there: Scene) -> None:
    there.snapshots.take(VOLUME, NAME, TAGS)
    there.volumes.api.volume_update(VOLUME, size=SIZE // 2, shrink_ok=True)
    assert there.snapshots.revert(VOLUME, NAME, keep_size=True) == SIZE
    assert there.volumes.owned(VOLUME).size == SIZE


def test_a_revert_that_lost_the_tags_is_taken_up_again(there: Scene) -> None:
    there.snapshots.take(VOLUME, NAME, TAGS)
    there.switch(revert_keeps_tags=False)
    there.volumes.api.volume_revert(VOLUME, NAME)
    assert there.volumes.api.volume(VOLUME).tags == {}
    assert there.snapshots.plan_revert(VOLUME, NAME).before.name == VOLUME
    there.snapshots.revert(VOLUME, NAME, keep_size=True)
    assert there.volumes.owned(VOLUME).tags == {"virt": "one", "nloc": "one"}


@pytest.mark.parametrize("tags", [{}, {"virt": "one"}, THEIRS])
def test_what_is_not_ours_is_not_reverted(there: Scene, tags: dict[str, str]) -> None:
    there.make("x", tags)
    there.volumes.api.volume_snapshot("x", name="x-snap0", tags=OURS)
    there.volumes.api.volume_snapshot("x", name="x-snap1", tags=OURS)
    with pytest.raises(StateError, match="volume x is not ours"):
        there.snapshots.revert("x", "x-snap0", keep_size=True)


def test_no_snapshot_no_revert(there: Scene) -> None:
    with pytest.raises(StateError, match=f"snapshot {NAME} does not exist"):
        there.snapshots.revert(VOLUME, NAME, keep_size=True)
    assert there.calls("VolumeRevert") == 0


def test_an_attached_volume_is_not_reverted(there: Scene) -> None:
    there.snapshots.take(VOLUME, NAME, TAGS)
    there.volumes.api.volumes_reassign_wait([Reassign(volume=VOLUME, rw=[11])])
    with pytest.raises(StorPoolRefused, match="is attached to client 11"):
        there.snapshots.revert(VOLUME, NAME, keep_size=True)
