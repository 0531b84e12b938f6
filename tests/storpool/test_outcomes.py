"""What a call is told that could not be sent again, or was to no avail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storpool_addon.errors import StorPoolLost, StorPoolNonsense, StorPoolRefused, StorPoolUnreachable
from storpool_addon.simulator import Simulator
from storpool_addon.simulator.faults import GARBAGE, LOSE, REFUSE, Fault, Verdict
from storpool_addon.storpool import Api, Endpoint
from tests.storpool.repeating import (
    LOSSES,
    SIZE,
    TAGS,
    Cluster,
    Passing,
)

ONCE: dict[str, tuple[str, Callable[[Api], Any]]] = {
    "create": ("VolumeCreate", lambda api: api.volume_create(size=SIZE)),
    "snapshot": ("VolumeSnapshot", lambda api: api.volume_snapshot("v")),
    "backup": ("VolumeBackup", lambda api: api.volume_backup("v", "far")),
    "group backup": ("VolumesGroupBackup", lambda api: api.volumes_group_backup(["v", "w"], "far")),
}


@pytest.mark.parametrize("verdict", LOSSES.values(), ids=LOSSES.keys())
@pytest.mark.parametrize(("query", "call"), ONCE.values(), ids=ONCE.keys())
def test_what_has_no_name_is_not_sent_twice(
    cluster: Cluster, query: str, call: Callable[[Api], Any], verdict: Verdict
) -> None:
    asked = cluster.asked(query)
    cluster.fail(query, verdict)
    with pytest.raises(StorPoolLost, match="may have been carried out"):
        call(cluster.api)
    assert cluster.asked(query) == asked + 1


@pytest.mark.parametrize(("query", "call"), ONCE.values(), ids=ONCE.keys())
def test_what_has_no_name_is_tried_again_while_storpool_says_so(
    cluster: Cluster, query: str, call: Callable[[Api], Any]
) -> None:
    cluster.fail(query, Verdict.error("notNow", transient=True), times=2)
    assert call(cluster.api)


def test_what_has_no_name_is_tried_again_while_nothing_can_be_sent(tmp_path: Path) -> None:
    with Simulator(tmp_path / "state") as simulator:
        passing, where = Passing(), simulator.endpoint
        endpoint = Endpoint(("127.0.0.1:1", where.host), where.port, where.token)
        Api(endpoint, clock=passing.clock, sleep=passing.sleep).volume_create(size=SIZE)
        assert len(simulator.requests) == 1


OPEN: dict[str, Fault] = {
    "all went down": Fault(REFUSE, times=0),
    "it cannot be read back": Fault(REFUSE, "Volume", times=0),
    "reading it back is refused": Fault(Verdict.error("invalidParam"), "Volume", times=0),
    "reading it back is nonsense": Fault(GARBAGE, "Volume", times=0),
}


@pytest.mark.parametrize("then", OPEN.values(), ids=OPEN.keys())
def test_an_outcome_that_stays_open_is_told_as_that(cluster: Cluster, then: Fault) -> None:
    cluster.sim.faults.set([Fault(LOSE, "VolumeCreate"), then])
    with pytest.raises(StorPoolLost, match=r"VolumeCreate n was lost .*may have been carried out") as caught:
        cluster.api.volume_create("n", size=SIZE)
    assert "\n" not in str(caught.value)


def test_a_repeat_that_never_gets_through_leaves_the_outcome_open(cluster: Cluster) -> None:
    cluster.fail("VolumeUpdate", REFUSE, times=0)
    with pytest.raises(StorPoolLost, match=r"VolumeUpdate v was lost"):
        cluster.api.volume_update("v", tags=TAGS)


def test_a_call_that_never_got_through_is_told_as_that(cluster: Cluster) -> None:
    cluster.sim.stop()
    with pytest.raises(StorPoolUnreachable) as caught:
        cluster.api.volume_create("n", size=SIZE)
    assert not isinstance(caught.value, StorPoolLost)


def test_an_error_that_does_not_pass_is_the_last_word(cluster: Cluster) -> None:
    cluster.fail("VolumeDelete", Verdict.error("notNow", "cluster is busy", transient=True), times=0)
    with pytest.raises(StorPoolRefused, match="VolumeDelete v: cluster is busy") as caught:
        cluster.api.volume_delete("v")
    assert caught.value.transient


def test_garbage_that_stays_is_not_waited_for(cluster: Cluster) -> None:
    cluster.fail("VolumeDelete", GARBAGE, times=0)
    with pytest.raises(StorPoolNonsense):
        cluster.api.volume_delete("v")
    assert cluster.asked("VolumeDelete") == 3


def test_a_wrong_token_is_a_refusal(cluster: Cluster) -> None:
    where = cluster.sim.endpoint
    with pytest.raises(StorPoolRefused):
        Api(Endpoint((where.host,), where.port, "1")).services_list()
