"""How volumes and snapshots come to be: settings, tags and names, from bodies, templates and parents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from storpool_addon.simulator import content, fields
from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.records import Group, Policy, Volume
from storpool_addon.simulator.refusal import Refused, invalid, missing

POLICY = {
    "replication": fields.replication,
    "placeAll": fields.group_name,
    "placeTail": fields.group_name,
    "placeHead": fields.group_name,
    "iops": fields.limit,
    "bw": fields.limit,
    "limitType": fields.text,
    "reuseServer": fields.boolean,
}
TIMES = {"targetDeleteDate": fields.natural, "deleteAfter": fields.natural}
_MEMBERS = {
    "replication": "replication",
    "placeAll": "place_all",
    "placeTail": "place_tail",
    "placeHead": "place_head",
    "iops": "iops",
    "bw": "bw",
    "limitType": "limit_type",
    "reuseServer": "reuse_server",
}


def policy(cluster: Cluster, base: Policy, values: Mapping[str, Any]) -> Policy:
    """The settings with those of a body put over them; tail and head follow placeAll unless named."""
    given = {_MEMBERS[name]: value for name, value in values.items() if name in _MEMBERS}
    for member in ("place_all", "place_tail", "place_head"):
        if member in given and given[member] not in cluster.table(Group):
            raise missing("Placement group", given[member])
    if "place_all" in given:
        given = {"place_tail": given["place_all"], "place_head": given["place_all"], **given}
    return base._replace(**given) if given else base


def tags(cluster: Cluster, old: Mapping[str, str], new: Mapping[str, str], name: str = "") -> dict[str, str]:
    """The tags after an update: merged, an empty value deletes one."""
    merged = {**old, **new} if cluster.switches.tags == "merge" else dict(new)
    kept = {tag: value for tag, value in merged.items() if value}
    length = len(name) + sum(len(tag) + len(value) for tag, value in kept.items())
    if cluster.switches.name_limit == "together" and length > 200:
        raise invalid("The name and the tags are longer than 200 bytes together")
    return kept


def check_size(cluster: Cluster, size: int) -> int:
    """The size in bytes, when the cluster can hold it."""
    if size > cluster.switches.max_volume_size:
        raise Refused("insufficientResources", f"Not enough space for a volume of {size} bytes")
    return size


def delete_date(cluster: Cluster, values: Mapping[str, Any], old: int = 0) -> int:
    """targetDeleteDate as a body sets it: absolute, or relative to the cluster's clock; 0 is never."""
    now = int(cluster.now())
    if "deleteAfter" in values:
        after: int = values["deleteAfter"]
        return now + after if after else 0
    date: int = values.get("targetDeleteDate", old)
    if date and date < now:
        raise invalid("targetDeleteDate is in the past")
    return date


def depth(cluster: Cluster, volume: Volume) -> int:
    """How many snapshots are above the volume."""
    count = 0
    while volume.parent:
        volume = cluster.table(Volume)[volume.parent]
        count += 1
    return count


def take_snapshot(cluster: Cluster, volume: Volume, **settings: Any) -> Volume:
    """Make a snapshot of what the volume holds now; it becomes the volume's parent. Inside `change`."""
    limit = cluster.switches.max_depth
    if limit and depth(cluster, volume) >= limit:
        raise Refused("insufficientResources", f"Volume '{volume.title}' has {limit} snapshots, the limit")
    number = cluster.next_id()
    snapshot = volume._replace(
        gid=cluster.gid(number),
        id=number,
        name=settings.pop("name", auto_name(volume, number)),
        created=int(cluster.now()),
        tags=settings.pop("tags", {}),
        data=content.frozen(cluster, volume),
        snapshot=True,
        made_from=volume.gid,
        made_from_id=volume.id,
        backup_of="",
        **settings,
    )
    cluster.check_free(snapshot.name)
    cluster.put(snapshot)
    cluster.put(volume._replace(parent=snapshot.gid))
    return snapshot


def auto_name(volume: Volume, number: int) -> str:
    """The name of an anonymous snapshot, VOLUME@ID."""
    return f"{volume.title.lstrip('~')}@{number}"
