"""API calls about snapshots, of one volume and of several at one moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, TypeVar

from storpool_addon.storpool import reading
from storpool_addon.storpool.calls.asking import SLOW_S, Asking, found, has_tags, plain, policy_body
from storpool_addon.storpool.records import GroupSnapshot, Policy, Snapshot, SnapshotCreated, Space
from storpool_addon.storpool.repeat import DELETE, ONCE, RESEND, confirmed_by

Made = TypeVar("Made")

# A volume, and the name of its snapshot.
Pair = tuple[str, str]


class SnapshotCalls(Asking):
    """A snapshot is given by its name or by ~globalId; times to live are whole seconds."""

    def snapshot(self, snapshot: str, *, until: float | None = None) -> Snapshot:
        """One snapshot. until: a deadline of the caller's own, by `Api`'s clock."""
        return reading.one_of(
            reading.snapshot, self._get("Snapshot", snapshot, multicluster=True, until=until)
        )

    def snapshot_get_info(self, snapshot: str) -> Snapshot:
        """One snapshot, as the call that also counts its disks gives it."""
        return reading.snapshot(self._get("SnapshotGetInfo", snapshot, multicluster=True))

    def snapshots_list(self) -> list[Snapshot]:
        """All snapshots of the cluster, with those that are on their way out (`deleted`)."""
        return reading.list_of(reading.snapshot, self._get("SnapshotsList", multicluster=True))

    def read_snapshots_list(self, read: Callable[[Iterator[Any]], Made]) -> Made:
        """Like read_volumes_space, of snapshots_list."""
        return self._read("SnapshotsList", read, multicluster=True, patience_s=0.0)

    def snapshots_space(self) -> list[Space]:
        """What all snapshots take; slow on a large cluster."""
        return reading.list_of(
            reading.space, self._get("SnapshotsSpace", multicluster=True, patience_s=SLOW_S)
        )

    def read_snapshots_space(self, read: Callable[[Iterator[Any]], Made]) -> Made:
        """Like read_volumes_space, of snapshots_space."""
        return self._read("SnapshotsSpace", read, multicluster=True, patience_s=SLOW_S)

    def volume_snapshot(
        self,
        volume: str,
        *,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        delete_after_s: int | None = None,
        bind: bool | None = None,
    ) -> SnapshotCreated:
        """Make a snapshot of a volume; it gets none of the volume's tags.

        Without a name StorPool calls it `<volume>@<id>`, and a lost answer is StorPoolLost. delete_after_s:
        StorPool deletes it by itself then. bind: it goes with its last child.
        """
        given = dict(tags) if tags else None
        body = {"name": name or None, "tags": given, "deleteAfter": delete_after_s, "bind": bind}

        def confirm(until: float) -> dict[str, Any] | None:
            there = self._made((volume, name or ""), given, until)
            return None if there is None else {"snapshotGlobalId": there.global_id}

        repeat = confirmed_by(confirm) if plain(name) else ONCE
        data = self._post("VolumeSnapshot", volume, body=body, repeat=repeat, multicluster=True)
        global_id = reading.optional_text(data.get("snapshotGlobalId"))
        auto_name = reading.optional_text(data.get("autoName"))
        return SnapshotCreated(name or auto_name or f"~{global_id}", global_id)

    def volumes_group_snapshot(
        self, volumes: Sequence[Pair], *, tags: Mapping[str, str] | None = None
    ) -> list[GroupSnapshot]:
        """Make named snapshots of several volumes, all at one moment. volumes: (volume, snapshot name)."""
        given = dict(tags) if tags else None
        items = [{"volume": volume, "name": name} for volume, name in volumes]

        def confirm(until: float) -> dict[str, Any] | None:
            made = [(pair, self._made(pair, given, until)) for pair in volumes]
            entries = [
                {"volume": pair[0], "snapshot": pair[1], "snapshotGlobalId": there.global_id}
                for pair, there in made
                if there is not None
            ]
            return {"snapshots": entries} if len(entries) == len(volumes) else None

        data = self._post(
            "VolumesGroupSnapshot",
            body={"volumes": items, "tags": given},
            about=", ".join(volume for volume, _ in volumes),
            repeat=confirmed_by(confirm),
            multicluster=True,
        )
        return reading.list_of(reading.group_snapshot, data.get("snapshots"))

    def snapshot_update(
        self,
        snapshot: str,
        *,
        rename: str | None = None,
        template: str | None = None,
        tags: Mapping[str, str] | None = None,
        delete_after_s: int | None = None,
        bind: bool | None = None,
        policy: Policy | None = None,
        cluster: str = "",
    ) -> None:
        """Change a snapshot. tags: merged; an empty value removes one. delete_after_s: 0 keeps it.

        cluster: another one of a multicluster, which has the snapshot.
        """
        body = {
            "rename": rename,
            "template": template,
            "tags": dict(tags) if tags else None,
            "deleteAfter": delete_after_s,
            "bind": bind,
            **policy_body(policy),
        }

        def renamed(until: float) -> dict[str, Any] | None:
            there = found(lambda: self.snapshot(rename or "", until=until))
            if snapshot.startswith("~"):
                return {} if there is not None and there.global_id == snapshot[1:] else None
            gone = there is not None and found(lambda: self.snapshot(snapshot, until=until)) is None
            return {} if gone else None

        repeat = confirmed_by(renamed) if rename else RESEND
        self._post("SnapshotUpdate", snapshot, body=body, repeat=repeat, cluster=cluster)

    def snapshot_delete(self, snapshot: str) -> None:
        """Delete a snapshot; for a while StorPool may show it as `deleted`, its name with a "*" before it."""
        self._post("SnapshotDelete", snapshot, repeat=DELETE, multicluster=True)

    def _made(self, pair: Pair, tags: Mapping[str, str] | None, until: float) -> Snapshot | None:
        """The snapshot of that name, None unless it is as if just made of that volume with those tags."""
        volume, name = pair
        there = found(lambda: self.snapshot(name, until=until))
        if there is None or not has_tags(there.tags, tags):
            return None
        another = plain(volume) and plain(there.on_volume) and there.on_volume != volume
        return None if another else there
