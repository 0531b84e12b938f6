"""What happens by itself: snapshots that are due, that linger after deletion, that nobody needs."""

from __future__ import annotations

import heapq

from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.records import Volume


def sweep(cluster: Cluster) -> None:
    """Bring the cluster up to its clock; called before every API call."""
    now = cluster.now()
    while cluster.due and cluster.due[0][0] <= now:
        cluster.suspects.add(heapq.heappop(cluster.due)[1])
    while cluster.suspects:
        with cluster.change():
            _settle(cluster, cluster.suspects.pop(), now)


def begin_delete(cluster: Cluster, snapshot: Volume) -> None:
    """Delete a snapshot: its name is free at once, it lingers as *NAME until its data is gone."""
    gone_at = cluster.now() + cluster.switches.deletion_delay_s
    cluster.put(snapshot._replace(name=f"*{snapshot.title.lstrip('~')}", gone_at=gone_at, delete_date=0))
    cluster.suspects.add(snapshot.gid)


def _settle(cluster: Cluster, gid: str, now: float) -> None:
    snapshot = cluster.table(Volume).get(gid)
    if snapshot is None or not snapshot.snapshot:
        return
    if snapshot.gone_at:
        if snapshot.gone_at <= now and len(cluster.children.get(gid, ())) <= 1:
            _vanish(cluster, snapshot)
    elif _is_unwanted(cluster, snapshot, now):
        begin_delete(cluster, snapshot)


def _is_unwanted(cluster: Cluster, snapshot: Volume, now: float) -> bool:
    if cluster.attached.get(snapshot.gid):
        return False
    if snapshot.delete_date and snapshot.delete_date <= now:
        return True
    return (snapshot.bound or snapshot.transient) and not cluster.children.get(snapshot.gid)


def _vanish(cluster: Cluster, snapshot: Volume) -> None:
    """The data is gone, or merged into the only child."""
    for child in list(cluster.children.get(snapshot.gid, ())):
        cluster.put(cluster.table(Volume)[child]._replace(parent=snapshot.parent))
    cluster.drop(snapshot)
    cluster.children.pop(snapshot.gid, None)
