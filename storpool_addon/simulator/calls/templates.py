"""Volume templates, their capacity, and placement groups."""

from __future__ import annotations

from typing import Any

from storpool_addon.simulator import fields, show
from storpool_addon.simulator.calls.making import POLICY, policy
from storpool_addon.simulator.calls.registry import Request, call, ok
from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.records import Group, Policy, Template, Volume
from storpool_addon.simulator.refusal import busy, exists, invalid, missing

Json = dict[str, Any]

CAPACITY = 10 << 40  # bytes of client data that the simulated disks hold
_CREATE = {
    "name": fields.template_name,
    "parent": fields.reference,
    "size": fields.size,
    "tags": fields.tags,
    **POLICY,
}
_UPDATE = {
    "rename": fields.template_name,
    "parent": fields.reference,
    "size": fields.size,
    "propagate": fields.boolean,
    "tags": fields.tags,
    **POLICY,
}
_GROUP = {"rename": fields.group_name, "addDisks": fields.integers, "rmDisks": fields.integers}


@call("GET", "VolumeTemplatesList")
def volume_templates_list(cluster: Cluster, request: Request) -> list[Json]:
    return [show.template(cluster, each) for each in cluster.table(Template).values()]


@call("GET", "VolumeTemplateDescribe/{template}")
def volume_template_describe(cluster: Cluster, request: Request) -> Json:
    return show.template(cluster, cluster.template(request.args[0]))


@call("POST", "VolumeTemplateCreate")
def volume_template_create(cluster: Cluster, request: Request) -> Json:
    values = request.fields(cluster, _CREATE)
    if "name" not in values:
        raise invalid("No name specified")
    with cluster.change():
        _check_free(cluster, values["name"])
        number = 1 + max((each.id for each in cluster.table(Template).values()), default=0)
        settings = policy(cluster, Policy(), values)
        cluster.put(_based(cluster, Template(number, values["name"], settings), values))
    return ok(cluster)


def _check_free(cluster: Cluster, name: str) -> None:
    if any(each.name == name for each in cluster.table(Template).values()):
        raise exists(name)


def _based(cluster: Cluster, template: Template, values: Json) -> Template:
    if "parent" in values:
        template = template._replace(parent=cluster.usable_snapshot(values["parent"]).gid)
    return template._replace(size=values.get("size", template.size))


@call("POST", "VolumeTemplateUpdate/{template}")
def volume_template_update(cluster: Cluster, request: Request) -> Json:
    values = request.fields(cluster, _UPDATE)
    with cluster.change():
        old = cluster.template(request.args[0])
        if values.get("rename", old.name) != old.name:
            _check_free(cluster, values["rename"])
        new = old._replace(name=values.get("rename", old.name), policy=policy(cluster, old.policy, values))
        cluster.put(_based(cluster, new, values))
        if values.get("propagate"):
            _propagate(cluster, new.id, values)
    return ok(cluster)


def _propagate(cluster: Cluster, template: int, values: Json) -> None:
    for each in [each for each in cluster.table(Volume).values() if each.template == template]:
        cluster.put(each._replace(policy=policy(cluster, each.policy, values)))


@call("POST", "VolumeTemplateDelete/{template}")
def volume_template_delete(cluster: Cluster, request: Request) -> Json:
    with cluster.change():
        template = cluster.template(request.args[0])
        if any(each.template == template.id for each in cluster.table(Volume).values()):
            raise busy(f"Template '{template.name}' is in use")
        cluster.drop(template)
    return ok(cluster)


@call("GET", "VolumeTemplatesStatus")
def volume_templates_status(cluster: Cluster, request: Request) -> list[Json]:
    free = max(0, CAPACITY - sum(cluster.data.stored(data) for data in list(cluster.sharers) if data))
    users: dict[int, list[Volume]] = {}
    for each in cluster.table(Volume).values():
        users.setdefault(each.template, []).append(each)
    return [_status(cluster, each, users.get(each.id, []), free) for each in cluster.table(Template).values()]


def _status(cluster: Cluster, template: Template, users: list[Volume], free: int) -> Json:
    snapshots = [each for each in users if each.snapshot]
    with_children = [each for each in snapshots if cluster.children.get(each.gid)]
    size, provisioned = sum(each.size for each in users), sum(each.size for each in with_children)
    stored = sum(cluster.data.stored(data) for data in {each.data for each in users})
    copies = template.policy.replication if isinstance(template.policy.replication, int) else 1
    places = {
        "All": template.policy.place_all,
        "Tail": template.policy.place_tail,
        "Head": template.policy.place_head,
    }
    return {
        "id": template.id,
        "name": template.name,
        "replication": template.policy.replication,
        "volumesCount": len(users) - len(snapshots),
        "snapshotsCount": len(snapshots),
        "removingSnapshotsCount": sum(bool(each.gone_at) for each in snapshots),
        "size": size,
        "totalSize": size * copies,
        "volumesSize": size - sum(each.size for each in snapshots),
        "snapshotsWithChildrenSize": provisioned,
        "snapshotsWithoutChildrenSize": sum(each.size for each in snapshots) - provisioned,
        "storedSize": stored,
        "onDiskSize": stored * copies,
        **{f"place{end}": name for end, name in places.items()},
        **{f"availablePlace{end}": free * copies for end in places},
        **{f"capacityPlace{end}": CAPACITY * copies for end in places},
        "stored": {**_estimate(free), **{f"place{end}": _estimate(free) for end in places}},
    }


def _estimate(free: int) -> Json:
    return {"capacity": CAPACITY, "free": free, "internal": {"u1": 0, "u2": 0, "u3": 0}}


@call("GET", "PlacementGroupsList")
def placement_groups_list(cluster: Cluster, request: Request) -> dict[str, Json]:
    return {each.name: each._asdict() for each in cluster.table(Group).values()}


@call("GET", "PlacementGroupDescribe/{group}")
def placement_group_describe(cluster: Cluster, request: Request) -> Json:
    return _group(cluster, request.args[0])._asdict()


def _group(cluster: Cluster, name: str) -> Group:
    found = cluster.table(Group).get(name)
    if found is None:
        raise missing("Placement group", name)
    return found


@call("POST", "PlacementGroupUpdate/{group}")
def placement_group_update(cluster: Cluster, request: Request) -> Json:
    values = request.fields(cluster, _GROUP)
    groups = cluster.table(Group)
    with cluster.change():
        old = groups.get(fields.group_name(request.args[0])) or Group(len(groups) + 1, request.args[0], [])
        disks = (set(old.disks) | set(values.get("addDisks", []))) - set(values.get("rmDisks", []))
        if values.get("rename", old.name) != old.name and old.name in groups:
            cluster.drop(old)
        cluster.put(old._replace(name=values.get("rename", old.name), disks=sorted(disks)))
    return ok(cluster)


@call("POST", "PlacementGroupDelete/{group}")
def placement_group_delete(cluster: Cluster, request: Request) -> Json:
    with cluster.change():
        cluster.drop(_group(cluster, request.args[0]))
    return ok(cluster)


@call("GET", "FaultSetsList")
def fault_sets_list(cluster: Cluster, request: Request) -> Json:
    return {}
