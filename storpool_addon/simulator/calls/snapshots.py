"""Snapshots: list, create alone and in groups, update, delete."""

from __future__ import annotations

from typing import Any

from storpool_addon.simulator import fields, show
from storpool_addon.simulator.calls.making import POLICY, TIMES, delete_date, tags, take_snapshot
from storpool_addon.simulator.calls.registry import Request, call, ok
from storpool_addon.simulator.calls.volumes import rebase, updated
from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.lifetime import begin_delete
from storpool_addon.simulator.records import Volume
from storpool_addon.simulator.refusal import Refused, invalid

Json = dict[str, Any]

_TAKE = {"name": fields.volume_name_or_none, "bind": fields.boolean, "tags": fields.tags, **TIMES}
_UPDATE = {
    "rename": fields.volume_name_or_none,
    "template": fields.template_name,
    "bind": fields.boolean,
    "tags": fields.tags,
    **TIMES,
    **POLICY,
}
_GROUP = {"volumes": fields.array, "tags": fields.tags}
_GROUP_ITEM = {"volume": fields.reference, "name": fields.snapshot_name, "tags": fields.tags}


@call("GET", "SnapshotsList", multicluster=True)
def snapshots_list(cluster: Cluster, request: Request) -> list[Json]:
    objects = cluster.table(Volume).values()
    return [show.summary(cluster, each, located=request.multicluster) for each in objects if each.snapshot]


@call("GET", "Snapshot/{snapshot}", multicluster=True)
def snapshot(cluster: Cluster, request: Request) -> list[Json]:
    return [show.summary(cluster, cluster.snapshot(request.args[0]), located=request.multicluster)]


@call("GET", "SnapshotGetInfo/{snapshot}", multicluster=True)
def snapshot_get_info(cluster: Cluster, request: Request) -> Json:
    return show.info(cluster, cluster.snapshot(request.args[0]), located=request.multicluster)


@call("GET", "SnapshotDescribe/{snapshot}", multicluster=True)
def snapshot_describe(cluster: Cluster, request: Request) -> Json:
    return show.description(cluster, cluster.snapshot(request.args[0]), located=request.multicluster)


@call("POST", "VolumeSnapshot/{volume}", multicluster=True)
def volume_snapshot(cluster: Cluster, request: Request) -> Json:
    values = request.fields(cluster, _TAKE)
    if values.get("name") == "" and cluster.switches.empty_name == "auto":
        del values["name"]
    with cluster.change():
        taken = take_snapshot(
            cluster,
            cluster.volume(request.args[0]),
            tags=tags(cluster, {}, values.get("tags", {}), values.get("name", "")),
            auto_name="name" not in values,
            bound=values.get("bind", False),
            delete_date=delete_date(cluster, values),
            **({"name": values["name"]} if "name" in values else {}),
        )
    return ok(
        cluster,
        snapshotGlobalId=taken.gid,
        snapshotVisibleVolumeId=taken.id,
        autoName=taken.name if taken.auto_name else None,
    )


@call("POST", "VolumesGroupSnapshot", multicluster=True)
def volumes_group_snapshot(cluster: Cluster, request: Request) -> Json:
    values = request.fields(cluster, _GROUP)
    items = [_group_item(cluster, each) for each in values.get("volumes", [])]
    if not items:
        raise invalid("No volumes specified")
    with cluster.change():
        snapshots = [_take_one(cluster, item, values.get("tags", {})) for item in items]
    return ok(cluster, snapshots=snapshots)


def _group_item(cluster: Cluster, body: object) -> Json:
    item = fields.read(body, _GROUP_ITEM, cluster.switches)
    if "volume" not in item:
        raise invalid("No volume specified")
    return item


def _take_one(cluster: Cluster, item: Json, common: dict[str, str]) -> Json:
    volume = cluster.volume(item["volume"])
    name = {"name": item["name"]} if "name" in item else {}
    own = tags(cluster, {}, {**common, **item.get("tags", {})}, item.get("name", ""))
    taken = take_snapshot(cluster, volume, tags=own, auto_name=not name, **name)
    return {
        "volume": volume.title,
        "volumeGlobalId": volume.gid,
        "snapshot": taken.title,
        "remoteId": taken.gid,
        "snapshotGlobalId": taken.gid,
    }


@call("POST", "SnapshotUpdate/{snapshot}")
def snapshot_update(cluster: Cluster, request: Request) -> Json:
    values = request.fields(cluster, _UPDATE)
    with cluster.change():
        old = cluster.usable_snapshot(request.args[0])
        new = updated(cluster, old, values)
        date = delete_date(cluster, values, old.delete_date)
        cluster.put(new._replace(bound=values.get("bind", old.bound), delete_date=date))
    return ok(cluster)


@call("POST", "SnapshotRebase/{snapshot}")
def snapshot_rebase(cluster: Cluster, request: Request) -> Json:
    with cluster.change():
        rebase(cluster, cluster.usable_snapshot(request.args[0]), request)
    return ok(cluster)


@call("POST", "SnapshotDelete/{snapshot}", multicluster=True)
def snapshot_delete(cluster: Cluster, request: Request) -> Json:
    _delete(cluster, request.args[0])
    return ok(cluster)


@call("POST", "SnapshotDeleteById/{globalId}")
def snapshot_delete_by_id(cluster: Cluster, request: Request) -> Json:
    _delete(cluster, f"~{request.args[0]}")
    return ok(cluster)


def _delete(cluster: Cluster, reference: str) -> None:
    with cluster.change():
        found = cluster.usable_snapshot(reference)
        attached = cluster.attached.get(found.gid)
        if attached:
            descr = f"Snapshot '{found.title}' is attached to client {min(attached)}"
            raise Refused(cluster.switches.delete_attached_error, descr)
        begin_delete(cluster, found)
