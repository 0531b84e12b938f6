"""Remote locations: backups there, snapshots from there, and what is exported to whom."""

from __future__ import annotations

from typing import Any

from storpool_addon.simulator import fields
from storpool_addon.simulator.calls.making import POLICY, policy, tags, take_snapshot
from storpool_addon.simulator.calls.registry import Request, call, ok
from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.records import Export, Location, Policy, Volume
from storpool_addon.simulator.refusal import Refused, exists, invalid, missing

Json = dict[str, Any]

_FROM_REMOTE = {
    "remoteLocation": fields.location_name,
    "remoteId": fields.global_id,
    "name": fields.volume_name_or_none,
    "template": fields.template_name,
    "export": fields.boolean,
    "tags": fields.tags,
    **POLICY,
}


@call("GET", "LocationsList")
def locations_list(cluster: Cluster, request: Request) -> Json:
    buffers = {"sendBufferSize": 0, "recvBufferSize": 0}
    return {"locations": [{**each._asdict(), **buffers} for each in cluster.table(Location).values()]}


@call("POST", "LocationAdd")
def location_add(cluster: Cluster, request: Request) -> Json:
    values = _required(
        request.fields(cluster, {"id": fields.location_id, "name": fields.location_name}), "id", "name"
    )
    if values["name"] in cluster.table(Location):
        raise exists(values["name"])
    with cluster.change():
        cluster.put(Location(values["id"], values["name"]))
    return ok(cluster)


@call("POST", "LocationRemove")
def location_remove(cluster: Cluster, request: Request) -> Json:
    name = request.fields(cluster, {"location": fields.location_name}).get("location")
    with cluster.change():
        cluster.drop(_location(cluster, name))
    return ok(cluster)


@call("GET", "ClustersList")
def clusters_list(cluster: Cluster, request: Request) -> Json:
    linked = cluster.linked.items()
    return {
        "clusters": [
            {"id": other.cluster_id.split(".")[1], "name": name, "location": name} for name, other in linked
        ]
    }


def _location(cluster: Cluster, name: Any) -> Location:
    found = cluster.table(Location).get(name)
    if found is None:
        raise missing("Location", name)
    return found


def _remote(cluster: Cluster, name: str) -> Cluster:
    _location(cluster, name)
    if name not in cluster.linked:
        raise Refused("invalidParam", f"No bridge to location '{name}' is connected")
    return cluster.linked[name]


def _name_there(cluster: Cluster, remote: Cluster) -> str:
    """How the other side calls us."""
    for name, other in remote.linked.items():
        if other is cluster:
            return name
    raise invalid(f"Cluster {remote.cluster_id} does not know this cluster")


def _required(values: Json, *names: str) -> Json:
    for name in names:
        if name not in values:
            raise invalid(f"No {name} specified")
    return values


@call("POST", "VolumeBackup", multicluster=True)
def volume_backup(cluster: Cluster, request: Request) -> Json:
    spec = {"volume": fields.reference, "location": fields.location_name, "tags": fields.tags}
    values = _required(request.fields(cluster, spec), "volume", "location")
    remote = _remote(cluster, values["location"])
    with remote.change(), cluster.change():
        _, copy = _backup(cluster, remote, values["volume"], values.get("tags", {}))
    return ok(cluster, remoteId=copy.gid)


@call("POST", "VolumesGroupBackup", multicluster=True)
def volumes_group_backup(cluster: Cluster, request: Request) -> Json:
    spec = {"volumes": fields.array, "location": fields.location_name, "tags": fields.tags}
    values = _required(request.fields(cluster, spec), "volumes", "location")
    remote = _remote(cluster, values["location"])
    backups = {}
    with remote.change(), cluster.change():
        for reference in values["volumes"]:
            local, copy = _backup(cluster, remote, fields.reference(reference), values.get("tags", {}))
            backups[reference] = {"remoteId": copy.gid, "snapshotGlobalId": local.gid}
    return ok(cluster, backups=backups)


def _backup(cluster: Cluster, remote: Cluster, reference: str, own: dict[str, str]) -> tuple[Volume, Volume]:
    """A bound snapshot here, its unnamed copy there, and the copy exported back to us."""
    volume = cluster.volume(reference)
    local = take_snapshot(cluster, volume, auto_name=True, bound=True)
    number = remote.next_id()
    copy = _copied(remote, cluster, local)._replace(
        gid=remote.gid(number),
        id=number,
        tags=tags(remote, {}, own),
        backup_of=local.gid,
        made_from=volume.gid,
        made_from_id=volume.id,
    )
    remote.put(copy)
    remote.put(Export(copy.gid, _name_there(cluster, remote)))
    return local, copy


def _copied(here: Cluster, there: Cluster, snapshot: Volume) -> Volume:
    """A snapshot of another cluster as it comes over the bridge: the data, without settings."""
    data = here.data.fetch(there.data.path(snapshot.data), snapshot.size) if snapshot.data else ""
    return Volume(
        gid="",
        id=0,
        name="",
        size=snapshot.size,
        policy=Policy(),
        created=int(here.now()),
        data=data,
        snapshot=True,
    )


@call("POST", "SnapshotFromRemote")
def snapshot_from_remote(cluster: Cluster, request: Request) -> Json:
    with cluster.change():
        made = _from_remote(cluster, request)
        cluster.put(made)
    return ok(cluster)


@call("POST", "VolumeFromRemote")
def volume_from_remote(cluster: Cluster, request: Request) -> Json:
    with cluster.change():
        made = _from_remote(cluster, request)
        if not made.name:
            raise invalid("No name specified")
        cluster.put(made._replace(snapshot=False, backup_of=""))
    return ok(cluster)


def _from_remote(cluster: Cluster, request: Request) -> Volume:
    values = _required(request.fields(cluster, _FROM_REMOTE), "remoteLocation", "remoteId")
    remote = _remote(cluster, values["remoteLocation"])
    source = _exported(cluster, remote, values["remoteId"])
    if any(each.backup_of == source.gid for each in cluster.table(Volume).values()):
        raise Refused("objectExists", f"A local copy of snapshot '{source.gid}' exists")
    name = values.get("name", "")
    cluster.check_free(name)
    template = cluster.template(values["template"]) if "template" in values else None
    number = cluster.next_id()
    return _copied(cluster, remote, source)._replace(
        gid=cluster.gid(number),
        id=number,
        name=name,
        tags=tags(cluster, {}, values.get("tags", {}), name),
        template=template.id if template else 0,
        policy=policy(cluster, template.policy if template else Policy(), values),
        backup_of=source.gid,
    )


def _exported(cluster: Cluster, remote: Cluster, gid: str) -> Volume:
    if Export(gid, _name_there(cluster, remote)).key not in remote.table(Export):
        raise missing("Remote snapshot", gid)
    return remote.snapshot(f"~{gid}")


@call("GET", "SnapshotsRemoteList")
def snapshots_remote_list(cluster: Cluster, request: Request) -> Json:
    found: list[Json] = []
    for location, remote in cluster.linked.items():
        us = _name_there(cluster, remote)
        exports = [each for each in remote.table(Export).values() if each.location == us]
        found += [_remote_snapshot(cluster, location, remote.table(Volume)[each.gid]) for each in exports]
    return {"snapshots": found}


def _remote_snapshot(cluster: Cluster, location: str, snapshot: Volume) -> Json:
    answer = {
        # StorPool's own binding takes no "@" here: what has no name of its own goes by its id.
        "name": f"~{snapshot.gid}" if "@" in snapshot.name else snapshot.title,
        "location": location,
        "remoteId": snapshot.gid,
        "size": snapshot.size,
        "creationTimestamp": snapshot.created,
        "tags": snapshot.tags,
        "createdFromGlobalId": snapshot.made_from or snapshot.gid,
        "createdFromVisibleVolumeId": snapshot.made_from_id,
    }
    origin = cluster.table(Volume).get(snapshot.made_from)
    if origin:
        answer["onVolume"] = origin.title
    copies = [each for each in cluster.table(Volume).values() if each.backup_of == snapshot.gid]
    if copies:
        answer["localSnapshot"] = copies[0].title
    return answer


@call("GET", "ExportsList")
def exports_list(cluster: Cluster, request: Request) -> Json:
    return {"exports": [_export(cluster, each) for each in cluster.table(Export).values()]}


def _export(cluster: Cluster, export: Export) -> Json:
    snapshot = cluster.table(Volume)[export.gid]
    numbers = {"volumeId": snapshot.id, "visibleVolumeId": snapshot.id}
    return {"snapshot": snapshot.title, "location": export.location, "globalId": export.gid, **numbers}


@call("POST", "SnapshotExport")
def snapshot_export(cluster: Cluster, request: Request) -> Json:
    spec = {"snapshot": fields.reference, "location": fields.location_name}
    values = _required(request.fields(cluster, spec), "snapshot", "location")
    _location(cluster, values["location"])
    with cluster.change():
        cluster.put(Export(cluster.usable_snapshot(values["snapshot"]).gid, values["location"]))
    return ok(cluster)


@call("POST", "SnapshotUnexport")
def snapshot_unexport(cluster: Cluster, request: Request) -> Json:
    spec = {
        "snapshot": fields.reference,
        "location": fields.location_name,
        "all": fields.boolean,
        "force": fields.boolean,
    }
    values = _required(request.fields(cluster, spec), "snapshot")
    gid = cluster.snapshot(values["snapshot"]).gid
    exports = [each for each in cluster.table(Export).values() if each.gid == gid]
    if not values.get("all"):
        exports = [each for each in exports if each.location == values.get("location")]
    if not exports:
        raise missing("Export of snapshot", values["snapshot"])
    with cluster.change():
        for each in exports:
            cluster.drop(each)
    return ok(cluster)


@call("POST", "SnapshotsRemoteUnexport")
def snapshots_remote_unexport(cluster: Cluster, request: Request) -> Json:
    items = request.fields(cluster, {"remoteSnapshots": fields.array}).get("remoteSnapshots", [])
    for item in items:
        _unexport_there(cluster, item)
    return ok(cluster)


def _unexport_there(cluster: Cluster, item: Any) -> None:
    spec = {
        "location": fields.location_name,
        "globalSnapshotId": fields.global_id,
        "targetDeleteDate": fields.natural,
        "deleteAfter": fields.natural,
    }
    values = _required(fields.read(item, spec, cluster.switches), "location", "globalSnapshotId")
    remote = _remote(cluster, values["location"])
    snapshot = _exported(cluster, remote, values["globalSnapshotId"])
    with remote.change():
        remote.drop(Export(snapshot.gid, _name_there(cluster, remote)))
        if "deleteAfter" in values or "targetDeleteDate" in values:
            date = values.get("targetDeleteDate") or int(remote.now()) + values.get("deleteAfter", 0)
            remote.put(snapshot._replace(delete_date=date))
