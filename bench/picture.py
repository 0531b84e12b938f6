"""The volumes of the simulated cluster as they were at one moment, and the way back there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from storpool_addon.lab.lab import Lab

_SNAPSHOT = "-snap"


class Kept(NamedTuple):
    """What an action may change about a volume. attached: rights by client."""

    size: int
    template: str
    tags: dict[str, str]
    attached: dict[int, str]


class Picture(NamedTuple):
    """Volumes by name, and the names of disks' snapshots: what is kept aside is in no run's way."""

    volumes: dict[str, Kept]
    snapshots: frozenset[str]


def take(lab: Lab) -> Picture:
    """The cluster as it is now."""
    named = [each["name"] for each in lab.storpool("SnapshotsList") if not each["deleted"]]
    return Picture(_volumes(lab), frozenset(name for name in named if _SNAPSHOT in name))


def _volumes(lab: Lab) -> dict[str, Kept]:
    attached: dict[str, dict[int, str]] = {}
    for each in lab.storpool("AttachmentsList"):
        attached.setdefault(each["volume"], {})[each["client"]] = each["rights"]
    return {
        each["name"]: Kept(each["size"], each["templateName"], each["tags"], attached.get(each["name"], {}))
        for each in lab.storpool("VolumesList")
    }


def restore(lab: Lab, wanted: Picture) -> None:
    """Have the cluster as it was; the content of a volume that was deleted does not come back."""
    now = take(lab)
    for name in now.snapshots - wanted.snapshots:
        lab.storpool(f"SnapshotDelete/{name}", {})
    for name in now.volumes.keys() - wanted.volumes.keys():
        lab.storpool(f"VolumeDelete/{name}", {"onAttached": "detachForce"})
    for name, kept in wanted.volumes.items():
        if now.volumes.get(name) != kept:
            _restore_one(lab, name, kept, now.volumes.get(name))
    for name in wanted.snapshots - now.snapshots:
        lab.storpool(f"VolumeSnapshot/{name.rpartition(_SNAPSHOT)[0]}", {"name": name})


def _restore_one(lab: Lab, name: str, wanted: Kept, now: Kept | None) -> None:
    if now is None:
        body = {"name": name, "size": wanted.size, "template": wanted.template, "tags": wanted.tags}
        lab.storpool("VolumeCreate", body)
        now = wanted._replace(attached={})
    if (now.size, now.tags) != (wanted.size, wanted.tags):
        tags = {**dict.fromkeys(now.tags, ""), **wanted.tags}
        lab.storpool(f"VolumeUpdate/{name}", {"size": wanted.size, "shrinkOk": True, "tags": tags})
    if now.attached != wanted.attached:
        item = {"volume": name, "detach": "all", "force": True, **dict(_rights(wanted.attached))}
        lab.storpool("VolumesReassignWait", {"reassign": [item]})


def _rights(attached: dict[int, str]) -> Iterator[tuple[str, list[int]]]:
    for right in ("rw", "ro"):
        clients = [client for client, has in attached.items() if has == right]
        if clients:
            yield right, clients
