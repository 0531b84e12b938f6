"""Volumes: list, create, update, delete, freeze, rebase, revert."""

from __future__ import annotations

from typing import Any

from storpool_addon.simulator import attaching, content, fields, show
from storpool_addon.simulator.calls.making import (
    POLICY,
    TIMES,
    check_size,
    delete_date,
    policy,
    tags,
    take_snapshot,
)
from storpool_addon.simulator.calls.registry import Request, call, ok
from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.records import Policy, Template, Volume
from storpool_addon.simulator.refusal import Refused, busy, invalid

Json = dict[str, Any]

_CREATE = {
    "name": fields.volume_name_or_none,
    "size": fields.size,
    "template": fields.template_name,
    "parent": fields.reference,
    "baseOn": fields.reference,
    "tags": fields.tags,
    **POLICY,
}
_UPDATE = {
    "rename": fields.volume_name_or_none,
    "size": fields.size,
    "sizeAdd": fields.size,
    "shrinkOk": fields.boolean,
    "template": fields.template_name,
    "tags": fields.tags,
    **POLICY,
}


@call("GET", "VolumesList", multicluster=True)
def volumes_list(cluster: Cluster, request: Request) -> list[Json]:
    objects = cluster.table(Volume).values()
    return [
        show.summary(cluster, each, located=request.multicluster) for each in objects if not each.snapshot
    ]


@call("GET", "Volume/{volume}", multicluster=True)
def volume(cluster: Cluster, request: Request) -> list[Json]:
    return [show.summary(cluster, cluster.volume(request.args[0]), located=request.multicluster)]


@call("GET", "VolumeGetInfo/{volume}", multicluster=True)
def volume_get_info(cluster: Cluster, request: Request) -> Json:
    return show.info(cluster, cluster.volume(request.args[0]), located=request.multicluster)


@call("GET", "VolumeDescribe/{volume}", multicluster=True)
def volume_describe(cluster: Cluster, request: Request) -> Json:
    return show.description(cluster, cluster.volume(request.args[0]), located=request.multicluster)


@call("GET", "VolumeListSnapshots/{volume}")
def volume_list_snapshots(cluster: Cluster, request: Request) -> list[Json]:
    return [show.summary(cluster, each) for each in ancestors(cluster, cluster.volume(request.args[0]))]


def ancestors(cluster: Cluster, volume: Volume) -> list[Volume]:
    """The snapshots above a volume, nearest first."""
    found = []
    while volume.parent:
        volume = cluster.table(Volume)[volume.parent]
        found.append(volume)
    return found


@call("POST", "VolumeCreate", multicluster=True)
def volume_create(cluster: Cluster, request: Request) -> Json:
    values = request.fields(cluster, _CREATE)
    cluster.check_free(values.get("name", ""))
    template = cluster.template(values["template"]) if "template" in values else None
    transient = None
    with cluster.change():
        parent = _parent(cluster, values, template)
        if "baseOn" in values:
            transient = parent
        made = _new_volume(cluster, values, template, parent)
        cluster.put(made)
    known = cluster.switches.create_global_id
    return ok(
        cluster,
        name=made.title,
        globalId=made.gid if known else None,
        autoName=transient.title if transient else None,
    )


def _parent(cluster: Cluster, values: Json, template: Template | None) -> Volume | None:
    if "parent" in values and "baseOn" in values:
        raise invalid("parent and baseOn exclude each other")
    if "baseOn" in values:
        return take_snapshot(cluster, cluster.volume(values["baseOn"]), auto_name=True, transient=True)
    if "parent" in values:
        return cluster.usable_snapshot(values["parent"])
    if template and template.parent:
        return cluster.table(Volume)[template.parent]
    return None


def _new_volume(cluster: Cluster, values: Json, template: Template | None, parent: Volume | None) -> Volume:
    size = values.get("size") or (template.size if template else 0) or (parent.size if parent else 0)
    if not size:
        raise invalid("No size specified")
    if parent and size < parent.size:
        raise invalid(f"Size {size} is smaller than that of the parent, {parent.size}")
    number = cluster.next_id()
    base = template.policy if template else parent.policy if parent else Policy()
    name = values.get("name", "")
    return Volume(
        gid=cluster.gid(number),
        id=number,
        name=name,
        size=check_size(cluster, size),
        policy=policy(cluster, base, values),
        created=int(cluster.now()),
        parent=parent.gid if parent else "",
        template=template.id if template else parent.template if parent else 0,
        tags=tags(cluster, {}, values.get("tags", {}), name),
        data=content.frozen(cluster, parent) if parent else "",
    )


@call("POST", "VolumeUpdate/{volume}", multicluster=True)
def volume_update(cluster: Cluster, request: Request) -> Json:
    values = request.fields(cluster, _UPDATE)
    with cluster.change():
        changed = updated(cluster, cluster.volume(request.args[0]), values)
        changed = _resized(cluster, changed, values)
        cluster.put(changed)
    return ok(cluster)


def updated(cluster: Cluster, volume: Volume, values: Json) -> Volume:
    """A volume or snapshot with the name, template, settings and tags of an update."""
    name = values.get("rename", volume.name)
    if name != volume.name:
        cluster.check_free(name)
    base = volume.policy
    if "template" in values:
        template = cluster.template(values["template"])
        volume, base = volume._replace(template=template.id), template.policy
    return volume._replace(
        name=name,
        auto_name=volume.auto_name and name == volume.name,
        policy=policy(cluster, base, values),
        tags=tags(cluster, volume.tags, values["tags"], name) if "tags" in values else volume.tags,
    )


def _resized(cluster: Cluster, volume: Volume, values: Json) -> Volume:
    if "size" in values and "sizeAdd" in values:
        raise invalid("size and sizeAdd exclude each other")
    size = values.get("size", volume.size + values.get("sizeAdd", 0))
    if size == volume.size:
        return volume
    if size < volume.size and not values.get("shrinkOk"):
        descr = f"Volume '{volume.title}' would shrink from {volume.size} to {size} without shrinkOk"
        raise Refused(cluster.switches.shrink_error, descr)
    return content.resized(cluster, volume, check_size(cluster, size))


@call("POST", "VolumeDelete/{volume}", multicluster=True)
def volume_delete(cluster: Cluster, request: Request) -> Json:
    values = request.fields(cluster, {"onAttached": fields.text})
    with cluster.change():
        volume = cluster.volume(request.args[0])
        _free(cluster, volume, values.get("onAttached", "fail"))
        cluster.drop(volume)
    return ok(cluster)


def _free(cluster: Cluster, volume: Volume, on_attached: str) -> None:
    if on_attached not in ("fail", "detach", "detachForce"):
        raise invalid(f"onAttached is '{on_attached}', not fail, detach or detachForce")
    attached = cluster.attached.get(volume.gid)
    if attached and on_attached == "fail":
        raise busy(f"Volume '{volume.title}' is attached to client {min(attached)}")
    attaching.detach_all(cluster, volume, force=on_attached == "detachForce")


@call("POST", "VolumeFreeze/{volume}", multicluster=True)
def volume_freeze(cluster: Cluster, request: Request) -> Json:
    values = request.fields(cluster, TIMES)
    with cluster.change():
        volume = cluster.volume(request.args[0])
        _check_detached(cluster, volume, cluster.switches.freeze_attached)
        date = delete_date(cluster, values)
        cluster.put(volume._replace(snapshot=True, delete_date=date))
    return ok(cluster)


def _check_detached(cluster: Cluster, volume: Volume, switch: str) -> None:
    attached = cluster.attached.get(volume.gid)
    if attached and switch == "busy":
        raise busy(f"Volume '{volume.title}' is attached to client {min(attached)}")


@call("POST", "VolumeRevert/{volume}", multicluster=True)
def volume_revert(cluster: Cluster, request: Request) -> Json:
    spec: dict[str, fields.Check] = {"toSnapshot": fields.reference}
    if cluster.switches.revert_size:
        spec["revertSize"] = fields.boolean
    values = request.fields(cluster, spec)
    if "toSnapshot" not in values:
        raise invalid("No toSnapshot specified")
    with cluster.change():
        volume = cluster.volume(request.args[0])
        _check_detached(cluster, volume, cluster.switches.revert_attached)
        source = cluster.usable_snapshot(values["toSnapshot"])
        if cluster.switches.revert_foreign == "refuse" and source not in ancestors(cluster, volume):
            raise invalid(f"'{source.title}' is not a snapshot of volume '{volume.title}'")
        if values.get("revertSize"):
            volume = content.resized(cluster, volume, source.size)
        volume = content.replaced(cluster, volume, source)
        cluster.put(_reset(cluster, volume)._replace(parent=source.gid))
    return ok(cluster)


def _reset(cluster: Cluster, volume: Volume) -> Volume:
    switches = cluster.switches
    if not switches.revert_keeps_tags:
        volume = volume._replace(tags={})
    if not switches.revert_keeps_limits:
        volume = volume._replace(policy=volume.policy._replace(iops="-", bw="-"))
    return volume


@call("POST", "VolumeRebase/{volume}")
def volume_rebase(cluster: Cluster, request: Request) -> Json:
    with cluster.change():
        rebase(cluster, cluster.volume(request.args[0]), request)
    return ok(cluster)


def rebase(cluster: Cluster, volume: Volume, request: Request) -> None:
    """Give a volume or snapshot one of its ancestors as parent, or none."""
    reference = request.fields(cluster, {"parentName": fields.reference}).get("parentName")
    parent = cluster.snapshot(reference).gid if reference else ""
    if parent and parent not in [each.gid for each in ancestors(cluster, volume)]:
        raise invalid(f"'{reference}' is not a parent of '{volume.title}'")
    cluster.put(volume._replace(parent=parent))
