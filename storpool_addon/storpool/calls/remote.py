"""API calls about other locations: backups to them, and snapshots that come from them or may go there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from storpool_addon.storpool import reading
from storpool_addon.storpool.calls.asking import Asking
from storpool_addon.storpool.records import BackedUp, Export, RemoteSnapshot
from storpool_addon.storpool.repeat import ONCE, confirmed_by


class RemoteCalls(Asking):
    """A location is given by its name; a remote id is a global id there."""

    def volume_backup(self, volume: str, location: str, tags: Mapping[str, str] | None = None) -> str:
        """Begin to copy a volume's data to a location; the remote id. A lost answer is StorPoolLost."""
        body = {"volume": volume, "location": location, "tags": dict(tags) if tags else None}
        data = self._post("VolumeBackup", body=body, about=volume, repeat=ONCE, multicluster=True)
        return reading.needed(data, "remoteId")

    def volumes_group_backup(
        self, volumes: Sequence[str], location: str, tags: Mapping[str, str] | None = None
    ) -> list[BackedUp]:
        """Begin to copy several volumes as they are at one moment. A lost answer is StorPoolLost."""
        body = {"volumes": list(volumes), "location": location, "tags": dict(tags) if tags else None}
        about = ", ".join(volumes)
        data = self._post("VolumesGroupBackup", body=body, about=about, repeat=ONCE, multicluster=True)
        return reading.backups(data.get("backups"))

    def snapshots_remote_list(self, *, until: float | None = None) -> list[RemoteSnapshot]:
        """What other locations keep for us or let us take. until: a deadline, by `Api`'s clock."""
        data = self._get("SnapshotsRemoteList", until=until)
        return reading.list_of(reading.remote_snapshot, reading.member(data, "snapshots"))

    def exports_list(self, *, until: float | None = None) -> list[Export]:
        """What other locations may take of ours. until: a deadline, by `Api`'s clock."""
        data = self._get("ExportsList", until=until)
        return reading.list_of(reading.export, reading.member(data, "exports"))

    def snapshot_from_remote(
        self,
        location: str,
        remote_id: str,
        *,
        name: str | None = None,
        template: str | None = None,
        export: bool | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Begin to copy a snapshot from a location; one that is here already is refused as `objectExists`."""
        body = {
            "remoteLocation": location,
            "remoteId": remote_id,
            "name": name or None,
            "template": template,
            "export": export,
            "tags": dict(tags) if tags else None,
        }

        def arrived(until: float) -> dict[str, Any] | None:
            there = self.snapshots_remote_list(until=until)
            here = [
                each.local_snapshot
                for each in there
                if (each.location, each.remote_id) == (location, remote_id)
            ]
            return {} if (name in here if name else any(here)) else None

        repeat = confirmed_by(arrived)
        self._post("SnapshotFromRemote", body=body, about=f"{location} {remote_id}", repeat=repeat)

    def snapshot_export(self, snapshot: str, location: str) -> None:
        """Let a location take a snapshot."""

        def exported(until: float) -> dict[str, Any] | None:
            return {} if self._is_exported(snapshot, location, until) else None

        body = {"snapshot": snapshot, "location": location}
        self._post("SnapshotExport", body=body, about=snapshot, repeat=confirmed_by(exported))

    def snapshot_unexport(self, snapshot: str, location: str, *, force: bool | None = None) -> None:
        """Let a location take a snapshot no longer. force: even while it is being copied."""

        def unexported(until: float) -> dict[str, Any] | None:
            return None if self._is_exported(snapshot, location, until) else {}

        body = {"snapshot": snapshot, "location": location, "force": force or None}
        self._post("SnapshotUnexport", body=body, about=snapshot, repeat=confirmed_by(unexported))

    def _is_exported(self, snapshot: str, location: str, until: float) -> bool:
        exports = self.exports_list(until=until)
        return any(
            each.location == location and snapshot in (each.snapshot, f"~{each.global_id}")
            for each in exports
        )
