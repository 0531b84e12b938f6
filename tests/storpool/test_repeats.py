"""Lost answers: every call that changes something, cut off before and after the simulated cluster acted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from storpool_addon.errors import StorPoolLost, StorPoolNonsense, StorPoolRefused, StorPoolUnreachable
from storpool_addon.simulator import Simulator
from storpool_addon.simulator.faults import GARBAGE, LOSE, REFUSE, TRUNCATED, Fault, Verdict
from storpool_addon.storpool import Api, Endpoint, Policy, Reassign

SIZE = 1 << 20
TAGS = {"nvm": "42"}


class Cluster(NamedTuple):
    """A simulated cluster, one that it knows as location "far", and a client that does not really sleep."""

    sim: Simulator
    api: Api
    far: Simulator

    def fail(self, query: str, verdict: Verdict, *, times: int = 1, when: str = "before") -> None:
        self.sim.faults.set([Fault(verdict, query, when=when, times=times)])

    def asked(self, query: str) -> int:
        return sum(each.query == query for each in self.sim.requests)


class Passing:
    """A clock that moves by being slept on."""

    now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def api_of(simulator: Simulator, **options: Any) -> Api:
    where, passing = simulator.endpoint, Passing()
    endpoint = Endpoint((where.host,), where.port, where.token)
    return Api(endpoint, clock=passing.clock, sleep=passing.sleep, **options)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with (
        Simulator(tmp_path / "near", clients={11: "node1", 12: "node2"}, templates=["one-ds-1"]) as near,
        Simulator(tmp_path / "far", cluster_id="f.r") as far,
    ):
        near.connect(far, location="far", known_as="near")
        api = api_of(near)
        api.volume_create("v", size=SIZE, tags=TAGS)
        api.volume_create("w", size=SIZE)
        api.volume_snapshot("v", name="s")
        yield Cluster(near, api, far)


class Case(NamedTuple):
    """A call, and whether afterwards the cluster is as it must be."""

    query: str
    call: Callable[[Api], Any]
    holds: Callable[[Api], bool]
    prepare: Callable[[Api], Any] = lambda api: None


def absent(ask: Callable[[], Any]) -> bool:
    """Whether StorPool says that it is not there."""
    try:
        ask()
    except StorPoolRefused as error:
        return error.name == "objectDoesNotExist"
    return False


def clients_of(api: Api, volume: str) -> set[int]:
    return {each.client for each in api.attachments_list() if each.volume == volume}


REPEATABLE: dict[str, Case] = {
    "create": Case(
        "VolumeCreate",
        lambda api: api.volume_create("n", size=SIZE, template="one-ds-1", tags=TAGS),
        lambda api: api.volume("n")[2:6] == (SIZE, "", "one-ds-1", TAGS),
    ),
    "create of a snapshot": Case(
        "VolumeCreate",
        lambda api: api.volume_create("n", parent="s", tags=TAGS),
        lambda api: api.volume("n").parent_name == "s",
    ),
    "create of a snapshot by id": Case(
        "VolumeCreate",
        lambda api: api.volume_create("n", parent=f"~{api.snapshot('s').global_id}"),
        lambda api: api.volume("n").parent_name == "s",
    ),
    "create of a volume": Case(
        "VolumeCreate",
        lambda api: api.volume_create("n", base_on="w"),
        lambda api: api.volume("n").parent_name.startswith("w@") and len(api.volumes_list()) == 3,
    ),
    "tags": Case(
        "VolumeUpdate",
        lambda api: api.volume_update("v", tags={"nvm": "", "a": "b"}, size=2 * SIZE),
        lambda api: api.volume("v").tags == {"a": "b"} and api.volume("v").size == 2 * SIZE,
    ),
    "rename": Case(
        "VolumeUpdate",
        lambda api: api.volume_update("v", rename="n"),
        lambda api: api.volume("n").tags == TAGS and absent(lambda: api.volume("v")),
    ),
    "rename by id": Case(
        "VolumeUpdate",
        lambda api: api.volume_update(f"~{api.volume('v').global_id}", rename="n"),
        lambda api: api.volume("n").tags == TAGS,
    ),
    "rename to nothing": Case(
        "VolumeUpdate",
        lambda api: api.volume_update("v", rename=""),
        lambda api: absent(lambda: api.volume("v")) and any(each.tags == TAGS for each in api.volumes_list()),
    ),
    "rename to nothing by id": Case(
        "VolumeUpdate",
        lambda api: api.volume_update(f"~{api.volume('v').global_id}", rename=""),
        lambda api: absent(lambda: api.volume("v")),
    ),
    "delete": Case(
        "VolumeDelete", lambda api: api.volume_delete("v"), lambda api: absent(lambda: api.volume("v"))
    ),
    "freeze": Case(
        "VolumeFreeze",
        lambda api: api.volume_freeze("w"),
        lambda api: absent(lambda: api.volume("w")) and api.snapshot("w").size == SIZE,
    ),
    "rebase": Case(
        "VolumeRebase", lambda api: api.volume_rebase("v"), lambda api: api.volume("v").parent_name == ""
    ),
    "revert": Case(
        "VolumeRevert",
        lambda api: api.volume_revert("v", "s"),
        lambda api: api.volume("v").parent_name == "s",
        lambda api: api.volume_snapshot("v", name="later"),
    ),
    "snapshot": Case(
        "VolumeSnapshot",
        lambda api: api.volume_snapshot("v", name="n", tags=TAGS, delete_after_s=60),
        lambda api: api.snapshot("n").tags == TAGS and api.snapshot("n").target_delete_date is not None,
    ),
    "group snapshot": Case(
        "VolumesGroupSnapshot",
        lambda api: api.volumes_group_snapshot([("v", "n1"), ("w", "n2")], tags=TAGS),
        lambda api: api.snapshot("n1").tags == api.snapshot("n2").tags == TAGS,
    ),
    "snapshot tags": Case(
        "SnapshotUpdate",
        lambda api: api.snapshot_update("s", tags=TAGS, delete_after_s=0),
        lambda api: api.snapshot("s").tags == TAGS,
    ),
    "snapshot rename": Case(
        "SnapshotUpdate",
        lambda api: api.snapshot_update("s", rename="n"),
        lambda api: api.snapshot("n").on_volume == "v" and absent(lambda: api.snapshot("s")),
    ),
    "snapshot rename by id": Case(
        "SnapshotUpdate",
        lambda api: api.snapshot_update(f"~{api.snapshot('s').global_id}", rename="n"),
        lambda api: api.snapshot("n").on_volume == "v",
    ),
    "snapshot delete": Case(
        "SnapshotDelete", lambda api: api.snapshot_delete("s"), lambda api: absent(lambda: api.snapshot("s"))
    ),
    "attach": Case(
        "VolumesReassignWait",
        lambda api: api.volumes_reassign_wait([Reassign(volume="v", rw=[12], detach="all")]),
        lambda api: clients_of(api, "v") == {12},
        lambda api: api.volumes_reassign_wait([Reassign(volume="v", rw=[11])]),
    ),
    "detach": Case(
        "VolumesReassignWait",
        lambda api: api.volumes_reassign_wait([Reassign(volume="v", detach="all", force=True)]),
        lambda api: clients_of(api, "v") == set(),
        lambda api: api.volumes_reassign_wait([Reassign(volume="v", rw=[11])]),
    ),
    "template": Case(
        "VolumeTemplateCreate",
        lambda api: api.volume_template_create("n", policy=Policy(replication=2, place_all="hdd", iops="-")),
        lambda api: api.volume_template_describe("n").replication == 2,
    ),
    "template change": Case(
        "VolumeTemplateUpdate",
        lambda api: api.volume_template_update("one-ds-1", policy=Policy(iops=5), propagate=True),
        lambda api: api.volume_template_describe("one-ds-1").iops == 5,
    ),
    "template rename": Case(
        "VolumeTemplateUpdate",
        lambda api: api.volume_template_update("one-ds-1", rename="n"),
        lambda api: [each.name for each in api.volume_templates_list()] == ["n"],
    ),
    "template delete": Case(
        "VolumeTemplateDelete",
        lambda api: api.volume_template_delete("one-ds-1"),
        lambda api: api.volume_templates_list() == [],
    ),
    "export": Case(
        "SnapshotExport",
        lambda api: api.snapshot_export("s", "far"),
        lambda api: [each.snapshot for each in api.exports_list()] == ["s"],
    ),
    "unexport": Case(
        "SnapshotUnexport",
        lambda api: api.snapshot_unexport("s", "far"),
        lambda api: api.exports_list() == [],
        lambda api: api.snapshot_export("s", "far"),
    ),
    "from remote": Case(
        "SnapshotFromRemote",
        lambda api: api.snapshot_from_remote("far", api.snapshots_remote_list()[0].remote_id, name="n"),
        lambda api: api.snapshot("n").size == SIZE,
        lambda api: api.volume_backup("v", "far"),
    ),
    "from remote without a name": Case(
        "SnapshotFromRemote",
        lambda api: api.snapshot_from_remote("far", api.snapshots_remote_list()[0].remote_id),
        lambda api: bool(api.snapshots_remote_list()[0].local_snapshot),
        lambda api: api.volume_backup("v", "far"),
    ),
}  # fmt: skip

LOSSES = {
    "before it acted": REFUSE,
    "after it acted": LOSE,
    "after it acted, in garbage": GARBAGE,
    "after it acted, cut off": TRUNCATED,
}


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
