"""The volumes of the simulated cluster as they were at one moment, and the way back there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from storpool_addon.lab.lab import Lab


class Kept(NamedTuple):
    """What an action may change about a volume. attached: rights by client."""

    size: int
    template: str
    tags: dict[str, str]
    attached: dict[int, str]


Picture = dict[str, Kept]


def take(lab: Lab) -> Picture:
    """Every volume by its name; snapshots only ever come to it, and none is in the way of a later run."""
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
    for name in now.keys() - wanted.keys():
        lab.storpool(f"VolumeDelete/{name}", {"onAttached": "detachForce"})
    for name, kept in wanted.items():
        if now.get(name) != kept:
            _restore_one(lab, name, kept, now.get(name))


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
