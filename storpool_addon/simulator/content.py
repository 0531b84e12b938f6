"""Whose bytes are whose: data files are shared until somebody may write, and copied then."""

from __future__ import annotations

from storpool_addon.simulator.cluster import Cluster
from storpool_addon.simulator.records import Volume


def attachable(cluster: Cluster, volume: Volume) -> Volume:
    """The volume with a data file of its own and of its size, ready to be written."""
    if cluster.attached.get(volume.gid):
        return volume
    data, size = volume.data, volume.size
    if not data:
        data = cluster.data.create(size)
    elif _is_shared(cluster, volume) and not (volume.snapshot and cluster.data.length(data) == size):
        data = cluster.data.copy(data, size)
    elif cluster.data.length(data) != size:
        cluster.data.resize(data, size)
    if data != volume.data:
        volume = volume._replace(data=data)
        cluster.put(volume)
    return volume


def frozen(cluster: Cluster, volume: Volume) -> str:
    """A data file with what the volume holds now, that no later write changes; "" for all zeros.

    A volume that is attached nowhere cannot be written: its file is shared, not copied.
    """
    if volume.data and cluster.attached.get(volume.gid) and not volume.snapshot:
        return cluster.data.copy(volume.data, volume.size)
    return volume.data


def resized(cluster: Cluster, volume: Volume, size: int) -> Volume:
    """The volume with another size; what is cut off is gone, and reads as zeros if it grows again."""
    data = volume.data
    if data and not _is_shared(cluster, volume):
        cluster.data.resize(data, size)
    elif data and size < volume.size:
        data = cluster.data.copy(data, size)
    return volume._replace(size=size, data=data)


def replaced(cluster: Cluster, volume: Volume, source: Volume) -> Volume:
    """The volume with the content of a snapshot, at the volume's size."""
    if cluster.attached.get(volume.gid):
        _replace_in_place(cluster, volume, source)
        return volume
    if source.data and source.size > volume.size:
        return volume._replace(data=cluster.data.copy(source.data, volume.size))
    return volume._replace(data=source.data)


def _replace_in_place(cluster: Cluster, volume: Volume, source: Volume) -> None:
    """An attached volume's file is held by its device and keeps its identity."""
    if source.data:
        cluster.data.overwrite(volume.data, source.data, volume.size)
    else:
        cluster.data.resize(volume.data, 0)
        cluster.data.resize(volume.data, volume.size)


def _is_shared(cluster: Cluster, volume: Volume) -> bool:
    return cluster.sharers[volume.data] > 1
