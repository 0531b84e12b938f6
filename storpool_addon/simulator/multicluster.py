"""Clusters with one name space of global ids: MultiCluster/ calls go to the one that has the object.

A volume of one cluster that is attached to a client of another ("exported") is kept as an attachment in the
volume's own cluster, to a client of its own number there that stands for the other cluster's: so its data,
and who has it open, stay in one place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from storpool_addon.simulator import attaching, fields
from storpool_addon.simulator.attaching import Item
from storpool_addon.simulator.calls.attachments import read_items
from storpool_addon.simulator.calls.registry import Call, Request, ok
from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.records import Client, Volume
from storpool_addon.simulator.refusal import Refused, busy, invalid, missing

Json = dict[str, Any]
# Ids that no request can have: each cluster's clients begin at another multiple of this in the others.
FOREIGN = 4096
ON_ATTACHED = ("fail", "detach", "detachForce", "export")


def federate(here: Cluster, there: Cluster) -> None:
    """Make two clusters parts of one multicluster; each forwards calls to the other by ~clusterId."""
    there.lock = here.lock
    for cluster, other in ((here, there), (there, here)):
        cluster.federated[other.cluster_id] = other
        cluster.linked.setdefault(other.name, other)
        with cluster.change():
            for client in [each for each in other.clients().values() if each.id < FOREIGN]:
                cluster.put(Client(_stands_for(cluster, other, client.id), client.name))


def follow_client(cluster: Cluster, number: int, status: str) -> None:
    """A client went down or came up: so does what stands for it in the other clusters."""
    for home in cluster.federated.values():
        there = home.clients().get(_stands_for(home, cluster, number))
        if there is not None:
            with home.change():
                home.put(there._replace(status=status))


def perform(cluster: Cluster, call: Call, request: Request) -> Any:
    """Carry out a call that came as MultiCluster/."""
    if call.query in ("VolumesReassign", "VolumesReassignWait"):
        return _reassign(cluster, request)
    if not request.args and call.method == "GET":
        return _merged([call.run(each, request) for each in _all(cluster)])
    return call.run(_home(cluster, call, request), request)


def _all(cluster: Cluster) -> list[Cluster]:
    return [cluster, *cluster.federated.values()]


def _merged(answers: list[Any]) -> Any:
    if isinstance(answers[0], dict):
        return {name: each for answer in answers for name, each in answer.items()}
    return [each for answer in answers for each in answer]


def _home(cluster: Cluster, call: Call, request: Request) -> Cluster:
    """The cluster that has the object of a call; the one that was asked when none has."""
    if call.query == "VolumeCreate":
        return _maker(cluster, request)
    return next((_owner(cluster, each) for each in _objects(request)), cluster)


def _objects(request: Request) -> Iterator[str]:
    body = request.body if isinstance(request.body, dict) else {}
    yield from request.args
    for each in body.get("volumes", []):
        yield str(each["volume"] if isinstance(each, dict) else each)
    if "volume" in body:
        yield str(body["volume"])


def _owner(cluster: Cluster, reference: str) -> Cluster:
    known = reference.startswith("~") or cluster.switches.multicluster_names == "all"
    for each in _all(cluster) if known else ():
        if each.find(reference) is not None:
            return each
    return cluster


def _maker(cluster: Cluster, request: Request) -> Cluster:
    """Where a new volume is made: with what it is a clone of."""
    body: Mapping[str, Any] = request.body if isinstance(request.body, dict) else {}
    origin = str(body.get("baseOn") or body.get("parent") or "")
    owner = _owner(cluster, origin) if origin else cluster
    if owner is not cluster and cluster.switches.multicluster_create == "refuse":
        raise invalid(f"'{origin}' is in cluster {owner.name}")
    return owner


# Attachments


def _reassign(cluster: Cluster, request: Request) -> Json:
    clients: list[tuple[Cluster, int]] = []
    bodies, timeout_s = read_items(cluster, request.body)
    with ExitStack() as whole:
        for each in _all(cluster):
            whole.enter_context(each.change())
        for body, item in bodies:
            clients += _assign(cluster, body, item)
    if timeout_s != 0:
        for where, client in clients:
            if not attaching.wait_for(where, [client], timeout_s):
                raise Refused("busy", f"Timed out waiting for client {client % FOREIGN} to attach")
    return ok(cluster)


def _assign(cluster: Cluster, body: Mapping[str, Any], item: Item) -> list[tuple[Cluster, int]]:
    """Carry out one item for clients of `cluster`; where it attaches what."""
    home = _owner(cluster, item.reference)
    for client in item.rights:
        if client not in cluster.clients():
            raise invalid("No such client registered")
    volume = home.find(item.reference)
    if volume is None:
        raise missing("Volume", item.reference)
    if item.rights and not item.snapshot:
        home, volume = _settle(cluster, home, volume, body, item)
    numbers = {_stands_for(home, cluster, client): rights for client, rights in item.rights.items()}
    leaving = _leaving(cluster, home, volume, item)
    there = Item(f"~{volume.gid}", item.snapshot, numbers, leaving, item.force)
    return [(home, each) for each in attaching.reassign(home, there)]


def _settle(
    cluster: Cluster, home: Cluster, volume: Volume, body: Mapping[str, Any], item: Item
) -> tuple[Cluster, Volume]:
    """What onRemoteAttached and mcMode say: others' attachments, and whether the volume moves here."""
    policy = fields.text(body.get("onRemoteAttached", "export"))
    mode = fields.text(body.get("mcMode", "move"))
    if policy not in ON_ATTACHED or mode not in ("move", "export"):
        raise invalid(f"onRemoteAttached '{policy}' or mcMode '{mode}' is not known")
    present = home.attached.get(volume.gid, {})
    remote = [each for each in present if not _belongs(home, cluster, each)]
    if remote and policy == "fail":
        raise busy(f"Volume '{volume.title}' is attached in another cluster")
    if remote and policy != "export":
        away = Item(f"~{volume.gid}", item.snapshot, {}, remote, policy == "detachForce")
        attaching.reassign(home, away)
    if home is cluster or mode == "export" or home.attached.get(volume.gid):
        return home, volume
    return cluster, move(home, cluster, volume)


def _leaving(cluster: Cluster, home: Cluster, volume: Volume, item: Item) -> list[int]:
    """The attachments that an item ends, by their numbers in the volume's cluster."""
    present = home.attached.get(volume.gid, {})
    if isinstance(item.detach, list):
        return [_stands_for(home, cluster, each) for each in item.detach]
    if cluster.switches.multicluster_detach == "everywhere" and not item.rights:
        return list(present)
    return [each for each in present if _belongs(home, cluster, each)]


def move(source: Cluster, target: Cluster, volume: Volume) -> Volume:
    """Bring a volume that is attached nowhere to another cluster: name, id, tags and data; not its parent."""
    target.check_free(volume.name)
    data = target.data.fetch(source.data.path(volume.data), volume.size) if volume.data else ""
    moved = volume._replace(parent="", template=0, data=data)
    source.drop(volume)
    target.put(moved)
    return moved


def _stands_for(home: Cluster, cluster: Cluster, client: int) -> int:
    """The number that a cluster's client has in the volume's cluster."""
    if home is cluster:
        return client
    return FOREIGN * (1 + list(home.federated.values()).index(cluster)) + client


def _belongs(home: Cluster, cluster: Cluster, client: int) -> bool:
    return client // FOREIGN == _stands_for(home, cluster, 0) // FOREIGN
