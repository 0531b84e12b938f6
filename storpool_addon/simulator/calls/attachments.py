"""Attachments: the list, and reassigning with and without waiting for the clients."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from storpool_addon.simulator import attaching, fields, show
from storpool_addon.simulator.attaching import Item
from storpool_addon.simulator.calls.registry import Request, call, ok
from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.records import Attachment
from storpool_addon.simulator.refusal import Refused, invalid

Json = dict[str, Any]

_VOLUME = {
    "volume": fields.reference,
    "rw": fields.clients,
    "ro": fields.clients,
    "detach": fields.clients_or_all,
    "force": fields.boolean,
    "allowRemoteExported": fields.boolean,
    "onRemoteAttached": fields.text,
    "mcMode": fields.text,
}
_SNAPSHOT = {
    "snapshot": fields.reference,
    "ro": fields.clients,
    "detach": fields.clients_or_all,
    "force": fields.boolean,
}


@call("GET", "AttachmentsList", multicluster=True)
def attachments_list(cluster: Cluster, request: Request) -> list[Json]:
    attachments = cluster.table(Attachment).values()
    return [show.attachment(cluster, each, located=request.multicluster) for each in attachments]


@call("POST", "VolumesReassign", multicluster=True)
def volumes_reassign(cluster: Cluster, request: Request) -> Json:
    _reassign(cluster, _items(cluster, request.body))
    return ok(cluster)


@call("POST", "VolumesReassignWait", multicluster=True)
def volumes_reassign_wait(cluster: Cluster, request: Request) -> Json:
    bodies, timeout_s = read_items(cluster, request.body)
    items = [item for _, item in bodies]
    detaching = _down_and_awaited(cluster, items)
    attaching_to = _reassign(cluster, items)
    attaching.wait_for(cluster, detaching, None)
    if timeout_s != 0 and not attaching.wait_for(cluster, attaching_to, timeout_s):
        _expire(cluster, items)
    return ok(cluster)


def read_items(cluster: Cluster, given: Any) -> tuple[list[tuple[Json, Item]], int | None]:
    """The items of a request with what each was read from, and its attachTimeout."""
    body = {"reassign": given} if isinstance(given, list) else given
    spec = {"reassign": fields.array, "attachTimeout": fields.natural}
    values = fields.read(body, spec, cluster.switches)
    items = _items(cluster, values.get("reassign"))
    return list(zip(values["reassign"], items)), values.get("attachTimeout")


def _items(cluster: Cluster, bodies: Any) -> list[Item]:
    if not isinstance(bodies, list) or not bodies:
        raise invalid("No volumes or snapshots to reassign")
    return [_item(cluster, each) for each in bodies]


def _item(cluster: Cluster, body: Any) -> Item:
    snapshot = isinstance(body, dict) and "snapshot" in body
    values = fields.read(body, _SNAPSHOT if snapshot else _VOLUME, cluster.switches)
    reference = values.get("snapshot" if snapshot else "volume")
    if not reference:
        raise invalid("An item names neither a volume nor a snapshot")
    rights = dict.fromkeys(values.get("rw", []), "rw")
    for client in values.get("ro", []):
        if client in rights:
            raise invalid(f"Client {client} is both in rw and in ro")
        rights[client] = "ro"
    return Item(reference, snapshot, rights, values.get("detach", []), values.get("force", False))


def _reassign(cluster: Cluster, items: list[Item]) -> list[int]:
    """Carry out all items; one configuration change, or one each when bulk calls are not atomic."""
    clients: list[int] = []
    with ExitStack() as whole:
        if cluster.switches.bulk_atomic:
            whole.enter_context(cluster.change())
        for item in items:
            with cluster.change():
                clients += attaching.reassign(cluster, item)
    return clients


def _down_and_awaited(cluster: Cluster, items: list[Item]) -> list[int]:
    """Clients that are down, are detached from, and are waited for: only if the switch says so."""
    if cluster.switches.detach_down != "wait":
        return []
    clients: list[int] = []
    for item in items:
        found = cluster.find(item.reference)
        present = list(cluster.attached.get(found.gid, {})) if found else []
        clients += present if isinstance(item.detach, str) else item.detach
    return [each for each in clients if not attaching.is_running(cluster, each)]


def _expire(cluster: Cluster, items: list[Item]) -> None:
    """attachTimeout is over and a client is still missing."""
    if not cluster.switches.attach_expiry_keeps:
        _take_back(cluster, items)
    if cluster.switches.attach_expiry == "error":
        missing = min(
            each for item in items for each in item.rights if not attaching.is_running(cluster, each)
        )
        raise Refused("busy", f"Timed out waiting for client {missing} to attach")


def _take_back(cluster: Cluster, items: list[Item]) -> None:
    with cluster.change():
        for item in items:
            found = cluster.find(item.reference)
            for client, attachment in list(cluster.attached.get(found.gid, {}).items()) if found else []:
                if client in item.rights and not attaching.is_running(cluster, client):
                    cluster.drop(attachment)
