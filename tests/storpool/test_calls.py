"""Every method of the API: the path and the body that it sends, and what it makes of the answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from storpool_addon.errors import StorPoolNonsense, UsageError
from storpool_addon.storpool import (
    Api,
    BackedUp,
    Created,
    Endpoint,
    GroupSnapshot,
    Policy,
    Reassign,
    SnapshotCreated,
)
from tests.storpool.servers import RawServer, say
from tests.storpool.servers import data as answer
from tests.storpool.servers import error as refusal
from tests.storpool.volumes import SNAPSHOT, VOLUME

OK = {"ok": True, "generation": 7}
SPACE = {**VOLUME, "storedSize": 1, "spaceUsed": 2}
ATTACHMENT = {"client": 11, "volume": "v", "globalId": "d.n.1", "snapshot": False, "rights": "rw", "pos": 0}
CLIENT = {"id": 11, "generation": 5, "clientGeneration": 5, "configStatus": "ok", "delay": 0}
TEMPLATE = {"name": "t", "size": "-", "replication": "-", "iops": "-", "bw": "-"}
REMOTE = {"name": "r", "location": "l", "remoteId": "l.1.2", "size": 512}


class Case(NamedTuple):
    """A call of a method, the request that it makes, an answer. wide: it takes the MultiCluster prefix."""

    call: Callable[[Api], Any]
    path: str
    body: Any = None
    data: Any = OK
    wide: bool = False


READS = {
    "volume": Case(lambda api: api.volume("v").name, "Volume/v", data=[VOLUME], wide=True),
    "volume by id": Case(lambda api: api.volume("~d.n.a1z"), "Volume/~d.n.a1z", data=[VOLUME], wide=True),
    "volume_get_info": Case(lambda api: api.volume_get_info("v"), "VolumeGetInfo/v", data=VOLUME, wide=True),
    "volumes_list": Case(lambda api: api.volumes_list(), "VolumesList", data=[VOLUME, VOLUME], wide=True),
    "volume_list_snapshots": Case(
        lambda api: api.volume_list_snapshots("v"), "VolumeListSnapshots/v", data=[SNAPSHOT]
    ),
    "read_volumes_list": Case(
        lambda api: api.read_volumes_list(list), "VolumesList", data=[VOLUME], wide=True
    ),
    "read_snapshots_list": Case(
        lambda api: api.read_snapshots_list(list), "SnapshotsList", data=[SNAPSHOT], wide=True
    ),
    "read_volumes_space": Case(
        lambda api: api.read_volumes_space(list), "VolumesSpace", data=[SPACE], wide=True
    ),
    "read_snapshots_space": Case(
        lambda api: api.read_snapshots_space(list), "SnapshotsSpace", data=[SPACE], wide=True
    ),
    "volumes_space": Case(lambda api: api.volumes_space(), "VolumesSpace", data=[SPACE], wide=True),
    "volumes_get_status": Case(
        lambda api: api.volumes_get_status(), "VolumesGetStatus", data={"v": {"status": "up"}}, wide=True
    ),
    "volumes_get_status_quick": Case(
        lambda api: api.volumes_get_status_quick(), "VolumesGetStatusQuick", data={}, wide=True
    ),
    "snapshot": Case(lambda api: api.snapshot("s"), "Snapshot/s", data=[SNAPSHOT], wide=True),
    "snapshot_get_info": Case(
        lambda api: api.snapshot_get_info("s"), "SnapshotGetInfo/s", data=SNAPSHOT, wide=True
    ),
    "snapshots_list": Case(lambda api: api.snapshots_list(), "SnapshotsList", data=[SNAPSHOT], wide=True),
    "snapshots_space": Case(lambda api: api.snapshots_space(), "SnapshotsSpace", data=[SPACE], wide=True),
    "attachments_list": Case(
        lambda api: api.attachments_list(), "AttachmentsList", data=[ATTACHMENT], wide=True
    ),
    "read_attachments_list": Case(
        lambda api: api.read_attachments_list(list), "AttachmentsList", data=[ATTACHMENT], wide=True
    ),
    "volume_templates_list": Case(
        lambda api: api.volume_templates_list(), "VolumeTemplatesList", data=[TEMPLATE]
    ),
    "volume_templates_status": Case(
        lambda api: api.volume_templates_status(), "VolumeTemplatesStatus", data=[{"name": "t"}]
    ),
    "volume_template_describe": Case(
        lambda api: api.volume_template_describe("t"), "VolumeTemplateDescribe/t", data=TEMPLATE
    ),
    "snapshots_remote_list": Case(
        lambda api: api.snapshots_remote_list(), "SnapshotsRemoteList", data={"snapshots": [REMOTE]}
    ),
    "exports_list": Case(
        lambda api: api.exports_list(), "ExportsList", data={"exports": [{"snapshot": "s", "location": "l"}]}
    ),
    "services_list": Case(lambda api: api.services_list(), "ServicesList", data={"clusterStatus": "running"}),
    "clients_config_dump": Case(lambda api: api.clients_config_dump(), "ClientsConfigDump", data=[CLIENT]),
    "client_config_wait": Case(
        lambda api: api.client_config_wait(11).id, "ClientConfigWait/11", data=[CLIENT]
    ),
}

WRITES = {
    "volume_create": Case(
        lambda api: api.volume_create("v", size=512, template="t", tags={"a": "b"}),
        "VolumeCreate",
        {"name": "v", "size": 512, "template": "t", "tags": {"a": "b"}},
        wide=True,
    ),
    "volume_create of a snapshot": Case(
        lambda api: api.volume_create("v", parent="s"),
        "VolumeCreate",
        {"name": "v", "parent": "s"},
        wide=True,
    ),
    "volume_create of a volume": Case(
        lambda api: api.volume_create("v", base_on="w", tags={}),
        "VolumeCreate",
        {"name": "v", "baseOn": "w"},
        wide=True,
    ),
    "volume_create without a name": Case(
        lambda api: api.volume_create(parent="~d.n.1"), "VolumeCreate", {"parent": "~d.n.1"}, wide=True
    ),
    "volume_create with a policy": Case(
        lambda api: api.volume_create("v", size=512, policy=Policy(replication=3, place_all="hdd", iops="-")),
        "VolumeCreate",
        {"name": "v", "size": 512, "replication": 3, "placeAll": "hdd", "iops": "-"},
        wide=True,
    ),
    "volume_update": Case(
        lambda api: api.volume_update("v", size=512, shrink_ok=True, tags={"a": ""}, template="t"),
        "VolumeUpdate/v",
        {"size": 512, "shrinkOk": True, "tags": {"a": ""}, "template": "t"},
        wide=True,
    ),
    "volume_update that need not shrink": Case(
        lambda api: api.volume_update("v", size=512, shrink_ok=False),
        "VolumeUpdate/v",
        {"size": 512},
        wide=True,
    ),
    "volume_update to another name": Case(
        lambda api: api.volume_update("v", rename="w"), "VolumeUpdate/v", {"rename": "w"}, wide=True
    ),
    "volume_update to no name": Case(
        lambda api: api.volume_update("v", rename=""), "VolumeUpdate/v", {"rename": ""}, wide=True
    ),
    "volume_delete": Case(lambda api: api.volume_delete("v"), "VolumeDelete/v", {}, wide=True),
    "volume_freeze": Case(lambda api: api.volume_freeze("v"), "VolumeFreeze/v", {}, wide=True),
    "volume_freeze for a time": Case(
        lambda api: api.volume_freeze("v", delete_after_s=60),
        "VolumeFreeze/v",
        {"deleteAfter": 60},
        wide=True,
    ),
    "volume_rebase": Case(
        lambda api: api.volume_rebase("v", parent="s"), "VolumeRebase/v", {"parentName": "s"}
    ),
    "volume_rebase to nothing": Case(lambda api: api.volume_rebase("v"), "VolumeRebase/v", {}),
    "volume_revert": Case(
        lambda api: api.volume_revert("v", "s", revert_size=True),
        "VolumeRevert/v",
        {"toSnapshot": "s", "revertSize": True},
        wide=True,
    ),
    "volume_snapshot": Case(
        lambda api: api.volume_snapshot("v", name="s", tags={"a": "b"}, delete_after_s=60, bind=True),
        "VolumeSnapshot/v",
        {"name": "s", "tags": {"a": "b"}, "deleteAfter": 60, "bind": True},
        wide=True,
    ),
    "volume_snapshot without a name": Case(
        lambda api: api.volume_snapshot("v"), "VolumeSnapshot/v", {}, wide=True
    ),
    "volumes_group_snapshot": Case(
        lambda api: api.volumes_group_snapshot([("v", "s"), ("w", "t")], tags={"a": "b"}),
        "VolumesGroupSnapshot",
        {"volumes": [{"volume": "v", "name": "s"}, {"volume": "w", "name": "t"}], "tags": {"a": "b"}},
        {**OK, "snapshots": []},
        wide=True,
    ),
    "snapshot_update": Case(
        lambda api: api.snapshot_update("s", rename="t", tags={"a": "b"}, delete_after_s=0, bind=False),
        "SnapshotUpdate/s",
        {"rename": "t", "tags": {"a": "b"}, "deleteAfter": 0, "bind": False},
    ),
    "snapshot_delete": Case(lambda api: api.snapshot_delete("s@1"), "SnapshotDelete/s@1", {}, wide=True),
    "volumes_reassign_wait": Case(
        lambda api: api.volumes_reassign_wait(
            [Reassign(volume="v", rw=[11], detach="all"), Reassign(snapshot="s", ro=[12], force=True)],
            attach_timeout_s=5,
        ),
        "VolumesReassignWait",
        {
            "reassign": [
                {"volume": "v", "rw": [11], "detach": "all"},
                {"snapshot": "s", "ro": [12], "force": True},
            ],
            "attachTimeout": 5,
        },
        wide=True,
    ),
    "volume_template_create": Case(
        lambda api: api.volume_template_create("t", policy=Policy(replication=3, place_all="hdd")),
        "VolumeTemplateCreate",
        {"name": "t", "replication": 3, "placeAll": "hdd"},
    ),
    "volume_template_update": Case(
        lambda api: api.volume_template_update("t", policy=Policy(bw=5), propagate=True),
        "VolumeTemplateUpdate/t",
        {"bw": 5, "propagate": True},
    ),
    "volume_template_delete": Case(lambda api: api.volume_template_delete("t"), "VolumeTemplateDelete/t", {}),
    "volume_backup": Case(
        lambda api: api.volume_backup("v", "l", {"a": "b"}),
        "VolumeBackup",
        {"volume": "v", "location": "l", "tags": {"a": "b"}},
        {**OK, "remoteId": "l.1.2"},
        wide=True,
    ),
    "volumes_group_backup": Case(
        lambda api: api.volumes_group_backup(["v"], "l"),
        "VolumesGroupBackup",
        {"volumes": ["v"], "location": "l"},
        {"backups": {}},
        wide=True,
    ),
    "snapshot_from_remote": Case(
        lambda api: api.snapshot_from_remote("l", "l.1.2", name="s", template="t", tags={"a": "b"}),
        "SnapshotFromRemote",
        {"remoteLocation": "l", "remoteId": "l.1.2", "name": "s", "template": "t", "tags": {"a": "b"}},
    ),
    "snapshot_export": Case(
        lambda api: api.snapshot_export("s", "l"), "SnapshotExport", {"snapshot": "s", "location": "l"}
    ),
    "snapshot_unexport": Case(
        lambda api: api.snapshot_unexport("s", "l", force=True),
        "SnapshotUnexport",
        {"snapshot": "s", "location": "l", "force": True},
    ),
}


def ask(case: Case, method: str, *, multicluster: bool = False, data: Any = None) -> Any:
    """Make the call against its answer, and check that it was the only request."""
    path = ("MultiCluster/" if multicluster and case.wide else "") + case.path
    with RawServer([say(answer(case.data if data is None else data))]) as server:
        result = case.call(Api(server.endpoint, multicluster=multicluster))
    assert server.heads == [f"{method} /ctrl/1.0/{path} HTTP/1.1"]
    (body,) = server.bodies
    assert json.loads(body) == case.body if method == "POST" else body == b""
    return result


@pytest.mark.parametrize("multicluster", [False, True])
@pytest.mark.parametrize("case", READS.values(), ids=READS.keys())
def test_what_is_asked(case: Case, multicluster: bool) -> None:
    assert ask(case, "GET", multicluster=multicluster) is not None


@pytest.mark.parametrize("multicluster", [False, True])
@pytest.mark.parametrize("case", WRITES.values(), ids=WRITES.keys())
def test_what_is_sent(case: Case, multicluster: bool) -> None:
    ask(case, "POST", multicluster=multicluster)


def test_every_method_is_in_a_table() -> None:
    methods = {name for name in dir(Api) if not name.startswith("_")} - {
        "endpoint",
        "reference",
        "spans_clusters",
    }
    assert methods == {name.split()[0] for name in {**READS, **WRITES}}


@pytest.mark.parametrize("data", [[], None, "ok", {"ok": False}, {"ok": "yes"}])
@pytest.mark.parametrize(
    "name", ["volume_delete", "volume_update", "volumes_reassign_wait", "snapshot_delete"]
)
def test_a_change_must_be_confirmed(name: str, data: Any) -> None:
    with (
        pytest.raises(StorPoolNonsense, match="neither that it is done nor why not"),
        RawServer([say(answer(data))]) as server,
    ):
        WRITES[name].call(Api(server.endpoint))


RESULTS: list[tuple[str, Any, Any]] = [
    ("volume_create", {**OK, "name": "v", "globalId": "d.n.1"}, Created("v", "d.n.1")),
    ("volume_create", OK, Created("v", "")),  # releases before 7.1.0 say no more
    ("volume_create of a volume", {**OK, "autoName": "w@5"}, Created("v", "", "w@5")),
    ("volume_create without a name", {**OK, "globalId": "d.n.1"}, Created("~d.n.1", "d.n.1")),
    ("volume_snapshot", {**OK, "snapshotGlobalId": "d.n.2"}, SnapshotCreated("s", "d.n.2")),
    (
        "volume_snapshot without a name",
        {**OK, "snapshotGlobalId": "d.n.2", "autoName": "v@2"},
        SnapshotCreated("v@2", "d.n.2"),
    ),
    (
        "volumes_group_snapshot",
        {
            **OK,
            "snapshots": [
                {"volume": "v", "volumeGlobalId": "d.n.1", "snapshot": "s", "snapshotGlobalId": "d.n.2"}
            ],
        },
        [GroupSnapshot("v", "s", "d.n.2")],
    ),
    ("volume_backup", {**OK, "remoteId": "l.1.2"}, "l.1.2"),
    (
        "volumes_group_backup",
        {"backups": {"v": {"remoteId": "l.1.2", "snapshotGlobalId": "d.n.3"}}},
        [BackedUp("v", "l.1.2", "d.n.3")],
    ),
]


@pytest.mark.parametrize(("name", "data", "expected"), RESULTS)
def test_what_is_made_of_an_answer(name: str, data: Any, expected: Any) -> None:
    assert ask(WRITES[name], "POST", data=data) == expected


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("#system", "%23system"),
        ("*gone", "%2Agone"),
        ("v@4711", "v@4711"),
        ("a:b.c-d_e", "a:b.c-d_e"),
        ("~d.n.1", "~d.n.1"),
        ("a/../b", "a%2F..%2Fb"),
        ("a b?c&d", "a%20b%3Fc%26d"),
        ("50%", "50%25"),
        ("søren\n", "s%C3%B8ren%0A"),
    ],
)
def test_names_in_paths_stay_names(name: str, path: str) -> None:
    ask(Case(lambda api: api.volume(name), f"Volume/{path}", data=[VOLUME]), "GET")


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_a_path_cannot_hold_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not the name of anything"):
        Api(Endpoint(("sp",), 81, "1")).volume_delete(name)


def test_a_client_that_is_not_in_the_answer_is_nonsense() -> None:
    with pytest.raises(StorPoolNonsense, match="client 11"):
        ask(READS["client_config_wait"], "GET", data=[{**CLIENT, "id": 12}])


def test_error_texts_stay_short_whatever_the_number_of_objects() -> None:
    items = [Reassign(volume=f"one-img-{number}", detach="all") for number in range(500)]
    with (
        RawServer([say(refusal("busy", "open"))]) as server,
        pytest.raises(Exception, match=r"VolumesReassignWait one-img-0, one-img-1, .*….*: open") as caught,
    ):
        Api(server.endpoint).volumes_reassign_wait(items)
    assert len(str(caught.value)) < 300
