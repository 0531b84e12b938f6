"""Lost answers: every call that changes something, cut off before and after the simulated cluster acted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from storpool_addon.errors import StorPoolRefused
from storpool_addon.simulator.faults import LOSE, REFUSE, Verdict
from storpool_addon.storpool import Api, Policy, Reassign
from tests.storpool.repeating import (
    LOSSES,
    REPEATABLE,
    SIZE,
    TAGS,
    Case,
    Cluster,
)


@pytest.mark.parametrize("verdict", LOSSES.values(), ids=LOSSES.keys())
@pytest.mark.parametrize("case", REPEATABLE.values(), ids=REPEATABLE.keys())
def test_a_lost_answer_changes_nothing_in_the_end(cluster: Cluster, case: Case, verdict: Verdict) -> None:
    case.prepare(cluster.api)
    cluster.fail(case.query, verdict)
    asked = cluster.asked(case.query)
    case.call(cluster.api)
    cluster.sim.faults.set([])
    assert case.holds(cluster.api)
    assert 1 <= cluster.asked(case.query) - asked <= 2


READ_BACK = [
    name
    for name in REPEATABLE
    if name.startswith(("create", "rename", "freeze", "export", "unexport", "from remote", "group"))
    or name in ("snapshot", "snapshot rename", "snapshot rename by id", "template", "template rename")
]


@pytest.mark.parametrize("name", READ_BACK)
def test_what_can_be_read_back_is_not_sent_again(cluster: Cluster, name: str) -> None:
    case = REPEATABLE[name]
    case.prepare(cluster.api)
    cluster.fail(case.query, LOSE)
    asked = cluster.asked(case.query)
    case.call(cluster.api)
    assert cluster.asked(case.query) == asked + 1


@pytest.mark.parametrize("case", REPEATABLE.values(), ids=REPEATABLE.keys())
def test_an_error_that_passes_is_waited_for(cluster: Cluster, case: Case) -> None:
    case.prepare(cluster.api)
    cluster.fail(case.query, Verdict.error("notNow", transient=True, status=500), times=3)
    case.call(cluster.api)
    assert case.holds(cluster.api)


@pytest.mark.parametrize("name", ["create", "snapshot", "group snapshot"])
def test_what_was_made_is_told_even_if_the_answer_was_lost(cluster: Cluster, name: str) -> None:
    case = REPEATABLE[name]
    asked = cluster.asked(case.query)
    cluster.fail(case.query, LOSE)
    made = case.call(cluster.api)
    names = [each[1:] for each in made] if name == "group snapshot" else [made[:2]]
    get = cluster.api.volume if name == "create" else cluster.api.snapshot
    assert names == [(each, get(each).global_id) for each, _ in names]
    assert cluster.asked(case.query) == asked + 1


def test_a_clone_tells_the_snapshot_under_it_even_if_the_answer_was_lost(cluster: Cluster) -> None:
    cluster.fail("VolumeCreate", LOSE)
    assert cluster.api.volume_create("n", base_on="w").auto_name == cluster.api.volume("n").parent_name


OTHERS: dict[str, Callable[[Api], Any]] = {
    "another size": lambda api: api.volume_create("w", size=2 * SIZE),
    "another template": lambda api: api.volume_create("w", size=SIZE, template="one-ds-1"),
    "another parent": lambda api: api.volume_create("w", parent="s"),
    "another origin": lambda api: api.volume_create("w", base_on="v"),
    "other tags": lambda api: api.volume_create("w", size=SIZE, tags={"nvm": "43"}),
    "a snapshot's name": lambda api: api.volume_create("s", size=SIZE),
    "a snapshot of another volume": lambda api: api.volume_snapshot("w", name="s"),
    "a snapshot with other tags": lambda api: api.volume_snapshot("v", name="s", tags=TAGS),
    "a group with one that is there": lambda api: api.volumes_group_snapshot([("w", "n"), ("w", "s")]),
    "a group that is half there": lambda api: api.volumes_group_snapshot([("v", "s"), ("w", "n")]),
    "a rename onto another": lambda api: api.volume_update("v", rename="w"),
    "a snapshot's rename onto another": lambda api: api.snapshot_update("s", rename="w"),
    "a template of another kind": lambda api: api.volume_template_create(
        "one-ds-1", policy=Policy(replication=1, place_all="hdd")
    ),
}


@pytest.mark.parametrize("call", OTHERS.values(), ids=OTHERS.keys())
def test_anothers_object_is_not_taken_for_ours(cluster: Cluster, call: Callable[[Api], Any]) -> None:
    # The request is lost on its way, so that whatever there is was there before.
    cluster.fail("", REFUSE)
    with pytest.raises(StorPoolRefused) as caught:
        call(cluster.api)
    assert caught.value.name == "objectExists"
    assert len(cluster.api.volumes_list()) == 2
    assert len(cluster.api.snapshots_list()) == 1


MISSING: dict[str, Callable[[Api], Any]] = {
    "tags": lambda api: api.volume_update("x", tags=TAGS),
    "rename": lambda api: api.volume_update("x", rename="y"),
    "revert": lambda api: api.volume_revert("x", "s"),
    "snapshot": lambda api: api.volume_snapshot("x", name="y"),
    "attach": lambda api: api.volumes_reassign_wait([Reassign(volume="x", rw=[11])]),
    "freeze": lambda api: api.volume_freeze("x"),
}


@pytest.mark.parametrize("call", MISSING.values(), ids=MISSING.keys())
def test_only_a_deletion_is_done_when_there_is_nothing(cluster: Cluster, call: Callable[[Api], Any]) -> None:
    cluster.fail("", REFUSE)
    with pytest.raises(StorPoolRefused) as caught:
        call(cluster.api)
    assert caught.value.name == "objectDoesNotExist"


FIRST: dict[str, tuple[Callable[[Api], Any], str]] = {
    "a name that is taken": (lambda api: api.volume_create("v", size=SIZE, tags=TAGS), "objectExists"),
    "a snapshot that is there": (lambda api: api.volume_snapshot("v", name="s"), "objectExists"),
    "a volume that is not there": (lambda api: api.volume_delete("x"), "objectDoesNotExist"),
    "a rename that was done before": (lambda api: api.volume_update("x", rename="v"), "objectDoesNotExist"),
}


@pytest.mark.parametrize(("call", "name"), FIRST.values(), ids=FIRST.keys())
def test_a_refusal_of_the_first_attempt_is_the_callers(
    cluster: Cluster, call: Callable[[Api], Any], name: str
) -> None:
    with pytest.raises(StorPoolRefused) as caught:
        call(cluster.api)
    assert caught.value.name == name
