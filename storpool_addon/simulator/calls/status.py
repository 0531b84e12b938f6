"""Status and space of volumes and snapshots: the calls that look at everything."""

from __future__ import annotations

from typing import Any

from storpool_addon.simulator import show
from storpool_addon.simulator.calls.registry import Request, call
from storpool_addon.simulator.calls.volumes import ancestors
from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.records import Volume

Json = dict[str, Any]


@call("GET", "VolumesGetStatusQuick", multicluster=True)
def volumes_get_status_quick(cluster: Cluster, request: Request) -> dict[str, Json]:
    objects = cluster.table(Volume).values()
    return {each.title: show.status(cluster, each, located=request.multicluster) for each in objects}


@call("GET", "VolumesGetStatus", multicluster=True)
def volumes_get_status(cluster: Cluster, request: Request) -> dict[str, Json]:
    objects = cluster.table(Volume).values()
    return {each.title: _status(cluster, each, request) for each in objects}


def _status(cluster: Cluster, volume: Volume, request: Request) -> Json:
    stored = cluster.data.stored(volume.data)
    copies = volume.policy.replication if isinstance(volume.policy.replication, int) else 1
    answer = show.status(cluster, volume, located=request.multicluster)
    return {**answer, "storedSize": stored, "onDiskSize": stored * copies}


@call("GET", "VolumesSpace", multicluster=True)
def volumes_space(cluster: Cluster, request: Request) -> list[Json]:
    volumes = (each for each in cluster.table(Volume).values() if not each.snapshot)
    return [_volume_space(cluster, each, request) for each in volumes]


def _volume_space(cluster: Cluster, volume: Volume, request: Request) -> Json:
    """spaceUsed counts the data of all parents too; a file that they share counts once."""
    files = {volume.data, *(each.data for each in ancestors(cluster, volume))}
    used = sum(cluster.data.stored(data) for data in files)
    return {
        **show.summary(cluster, volume, located=request.multicluster),
        "storedSize": cluster.data.stored(volume.data),
        "spaceUsed": used,
    }


@call("GET", "SnapshotsSpace", multicluster=True)
def snapshots_space(cluster: Cluster, request: Request) -> list[Json]:
    snapshots = (each for each in cluster.table(Volume).values() if each.snapshot)
    return [_snapshot_space(cluster, each, request) for each in snapshots]


def _snapshot_space(cluster: Cluster, snapshot: Volume, request: Request) -> Json:
    """spaceUsed is what deleting it would free: nothing while another object shares its file."""
    stored = cluster.data.stored(snapshot.data)
    return {
        **show.summary(cluster, snapshot, located=request.multicluster),
        "storedSize": stored,
        "spaceUsed": stored if cluster.sharers[snapshot.data] == 1 else 0,
    }


@call("GET", "VolumesAndSnapshotsList", multicluster=True)
def volumes_and_snapshots_list(cluster: Cluster, request: Request) -> Json:
    objects = cluster.table(Volume).values()
    answer: Json = {"volumes": [_combined(cluster, each, request) for each in objects]}
    return {"ok": True, **answer} if cluster.switches.combined_list_ok else answer


def _combined(cluster: Cluster, volume: Volume, request: Request) -> Json:
    answer = show.summary(cluster, volume, located=request.multicluster)
    return {**answer, "snapshot": volume.snapshot, "storedSize": cluster.data.stored(volume.data)}
