"""The API of a cluster in a StorPool multicluster: each object is found by its name, and handled by its id.

Names are each cluster's own, global ids are unique in all of them: a name is looked up in every cluster
once, and every call after that addresses `~globalId` under MultiCluster/, which StorPool carries out where
the object is. Calls that do not take that prefix go through RemoteCommand/ to the cluster that has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable

from storpool_addon.storpool import reading
from storpool_addon.storpool.api import Api
from storpool_addon.storpool.endpoints import Endpoint
from storpool_addon.storpool.finding import HERE, Finding
from storpool_addon.storpool.records import (
    ClientConfig,
    Created,
    GroupSnapshot,
    Reassign,
    Snapshot,
    SnapshotCreated,
    Volume,
)

Tags = Mapping[str, str]


class MulticlusterApi(Finding, Api):
    """The API of one cluster, for objects of all clusters of its multicluster.

    others: their ids, as in d.n. ours: says by an object's tags whether it is ours; of several objects of one
    name that one is meant. The other arguments are those of `Api`.
    """

    spans_clusters = True

    def __init__(
        self, endpoint: Endpoint, *, others: Sequence[str], ours: Callable[[Tags], bool], **options: Any
    ) -> None:
        super().__init__(endpoint, multicluster=True, **options)
        self._find_in(others, ours)

    # Volumes

    def volume(self, volume: str, *, until: float | None = None) -> Volume:
        found: Volume = self._object("Volume", volume, until)
        return found

    def volume_list_snapshots(self, volume: str) -> list[Snapshot]:
        data = self._get("VolumeListSnapshots", self.reference(volume), cluster=self._home("Volume", volume))
        return reading.list_of(reading.snapshot, data)

    def volume_create(
        self,
        name: str | None = None,
        *,
        parent: str | None = None,
        base_on: str | None = None,
        **options: Any,
    ) -> Created:
        self._check_free("VolumeCreate", name)
        return super().volume_create(
            name,
            parent=parent and self._at("Snapshot", parent),
            base_on=base_on and self.reference(base_on),
            **options,
        )

    def volume_update(self, volume: str, *, rename: str | None = None, **changes: Any) -> None:
        self._check_free("VolumeUpdate", rename)
        self._gone_if_refused("Volume", volume, super().volume_update, rename=rename, **changes)
        if rename is not None:
            self._forget("Volume", volume)

    def volume_delete(self, volume: str) -> None:
        self._gone_if_refused("Volume", volume, super().volume_delete)
        self._forget("Volume", volume)

    def volume_revert(self, volume: str, to_snapshot: str, *, revert_size: bool | None = None) -> None:
        source = self._at("Snapshot", to_snapshot)
        super().volume_revert(self.reference(volume), source, revert_size=revert_size)

    def volume_backup(self, volume: str, location: str, tags: Tags | None = None) -> str:
        return super().volume_backup(self.reference(volume), location, tags)

    def reference(self, name: str, *, snapshot: bool = False) -> str:
        return self._at("Snapshot" if snapshot else "Volume", name)

    # Snapshots

    def snapshot(self, snapshot: str, *, until: float | None = None) -> Snapshot:
        found: Snapshot = self._object("Snapshot", snapshot, until)
        return found

    def volume_snapshot(self, volume: str, *, name: str | None = None, **options: Any) -> SnapshotCreated:
        self._check_free("VolumeSnapshot", name)
        return super().volume_snapshot(self.reference(volume), name=name, **options)

    def volumes_group_snapshot(
        self, volumes: Sequence[tuple[str, str]], *, tags: Tags | None = None
    ) -> list[GroupSnapshot]:
        for _, name in volumes:
            self._check_free("VolumesGroupSnapshot", name)
        items = [(self.reference(volume), name) for volume, name in volumes]
        called = {name: volume for volume, name in volumes}
        made = super().volumes_group_snapshot(items, tags=tags)
        return [each._replace(volume=called.get(each.snapshot, each.volume)) for each in made]

    def snapshot_update(self, snapshot: str, **changes: Any) -> None:
        with_id, home = self._at("Snapshot", snapshot), self._home("Snapshot", snapshot)
        super().snapshot_update(with_id, **changes, cluster=home)
        self._forget("Snapshot", snapshot)

    def snapshot_delete(self, snapshot: str) -> None:
        self._gone_if_refused("Snapshot", snapshot, super().snapshot_delete)
        self._forget("Snapshot", snapshot)

    # Attachments

    def volumes_reassign_wait(
        self, items: Sequence[Reassign], *, attach_timeout_s: int = 20, cluster: str = HERE
    ) -> None:
        """Each item in the cluster of its clients; "all" of an item that attaches nothing means all clusters.

        An item that attaches a volume here alone (`detach` "all") takes it from the clients of other clusters
        as well; one that adds a client leaves those alone, and the volume where it is.
        """
        for where, there in self._by_cluster(items).items():
            super().volumes_reassign_wait(there, attach_timeout_s=attach_timeout_s, cluster=where)
        # An attached volume may have moved to the cluster of its client.
        self._forget_all()

    def client_config_wait(self, client: int, *, cluster: str = HERE) -> ClientConfig:
        return super().client_config_wait(client, cluster=cluster or getattr(client, "cluster", HERE))

    def _by_cluster(self, items: Sequence[Reassign]) -> dict[str, list[Reassign]]:
        found: dict[str, list[Reassign]] = {}
        for item in items:
            addressed = self._addressed(item)
            for cluster in self._clusters_of(item):
                found.setdefault(cluster, []).append(addressed)
        return found

    def _addressed(self, item: Reassign) -> Reassign:
        if item.snapshot:
            return item._replace(snapshot=self._at("Snapshot", item.snapshot))
        alone = item.detach == "all" and (item.rw or item.ro)
        found = item._replace(volume=self.reference(item.name))
        return (
            found._replace(on_remote_attached="detachForce" if item.force else "detach") if alone else found
        )

    def _clusters_of(self, item: Reassign) -> Iterable[str]:
        clients = [*item.rw, *item.ro]
        if not clients and item.detach == "all":
            return (HERE, *self._others)
        named = item.detach if item.detach and item.detach != "all" else ()
        return dict.fromkeys(getattr(each, "cluster", HERE) for each in (*clients, *named) if each)
