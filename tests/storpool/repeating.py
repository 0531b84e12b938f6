"""Calls that change something, on a simulated cluster that loses answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from storpool_addon.errors import StorPoolRefused
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
