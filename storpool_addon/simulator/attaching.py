"""Attachments: who may have which device, and what happens when somebody is using it."""

from __future__ import annotations

from typing import Any, NamedTuple

from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.content import attachable
from storpool_addon.simulator.records import Attachment, Client, Volume
from storpool_addon.simulator.refusal import Refused, busy, invalid

MAX_ATTACHMENTS = 1024  # devices of one client: sptypes.py MAX_CLIENT_DISKS


class Item(NamedTuple):
    """One item of VolumesReassign. rights: client id to "rw" or "ro"."""

    reference: str
    snapshot: bool
    rights: dict[int, str]
    detach: str | list[int]
    force: bool


def reassign(cluster: Cluster, item: Item) -> list[int]:
    """Carry one item out, inside `change`; the clients that it attaches to."""
    volume = _target(cluster, item)
    for client in [*item.rights, *(item.detach if isinstance(item.detach, list) else [])]:
        _registered(cluster, client)
    for attachment in _leaving(cluster, volume, item):
        _detach(cluster, volume, attachment, item.force)
    for client, rights in item.rights.items():
        _attach(cluster, volume, client, rights)
    return list(item.rights)


def detach_all(cluster: Cluster, volume: Volume, *, force: bool) -> None:
    """Detach a volume or snapshot from every client."""
    for attachment in list(cluster.attached.get(volume.gid, {}).values()):
        _detach(cluster, volume, attachment, force)


def _target(cluster: Cluster, item: Item) -> Volume:
    if not item.snapshot:
        return cluster.volume(item.reference)
    snapshot = cluster.usable_snapshot(item.reference)
    if snapshot.transient and item.rights:
        raise invalid(f"Snapshot '{snapshot.title}' is transient and cannot be attached")
    return snapshot


def _registered(cluster: Cluster, client: int) -> Client:
    found = cluster.clients().get(client)
    if found is None:
        raise invalid("No such client registered")
    return found


def _leaving(cluster: Cluster, volume: Volume, item: Item) -> list[Attachment]:
    present = cluster.attached.get(volume.gid, {})
    wanted = list(present) if isinstance(item.detach, str) else item.detach
    absent = [client for client in wanted if client not in present]
    if absent and cluster.switches.detach_unattached == "error":
        raise invalid(f"'{volume.title}' is not attached to client {absent[0]}")
    return [present[client] for client in wanted if client in present and client not in item.rights]


def _detach(cluster: Cluster, volume: Volume, attachment: Attachment, force: bool) -> None:
    client = attachment.client
    if not force:
        _check_idle(cluster, volume, client)
    cluster.opened.discard((client, volume.gid))
    cluster.drop(attachment)


def _check_idle(cluster: Cluster, volume: Volume, client: int) -> None:
    if is_running(cluster, client):
        if (client, volume.gid) in cluster.opened or cluster.is_open(client, volume.gid):
            raise Refused(cluster.switches.open_error, f"'{volume.title}' is open at client {client}")
    elif cluster.switches.detach_down == "force":
        raise busy(f"Client {client} is down, '{volume.title}' may still be open there")


def _attach(cluster: Cluster, volume: Volume, client: int, rights: str) -> None:
    present = cluster.attached.get(volume.gid, {}).get(client)
    if present is not None:
        if present.rights != rights:
            cluster.put(present._replace(rights=rights))
        return
    attachable(cluster, volume)
    cluster.put(Attachment(client, volume.gid, rights, _free_position(cluster, client)))


def _free_position(cluster: Cluster, client: int) -> int:
    used = cluster.positions.get(client, set())
    if len(used) >= MAX_ATTACHMENTS:
        raise invalid(f"Client {client} has {MAX_ATTACHMENTS} volumes attached, that is its limit")
    return next(position for position in range(MAX_ATTACHMENTS) if position not in used)


def is_running(cluster: Cluster, client: int) -> bool:
    """Whether the client is up and has applied its configuration."""
    found = cluster.clients().get(client)
    return found is not None and found.status == "running"


def wait_for(cluster: Cluster, clients: list[int], timeout_s: Any) -> bool:
    """Wait until all these clients are up; None waits without end. False when the time is over."""

    def are_up() -> bool:
        return all(is_running(cluster, each) for each in clients)

    cluster.lock.wait_for(lambda: are_up() or cluster.closed, timeout_s)
    return are_up()
