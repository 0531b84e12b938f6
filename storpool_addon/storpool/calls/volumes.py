"""API calls about volumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Callable, TypeVar

from storpool_addon.storpool import reading
from storpool_addon.storpool.calls.asking import SLOW_S, Asking, found, has_tags, plain, policy_body
from storpool_addon.storpool.records import Created, Policy, Snapshot, Space, Volume, VolumeStatus
from storpool_addon.storpool.repeat import DELETE, ONCE, RESEND, confirmed_by

Made = TypeVar("Made")


class VolumeCalls(Asking):
    """A volume is given by its name or by ~globalId; sizes are bytes, multiples of 512."""

    def volume(self, volume: str, *, until: float | None = None) -> Volume:
        """One volume. until: a deadline of the caller's own, by `Api`'s clock."""
        data = self._get("Volume", volume, multicluster=True, until=until)
        found = reading.one_of(reading.volume, data)
        self._titles[f"~{found.global_id}"] = found.name
        return found

    def volume_get_info(self, volume: str) -> Volume:
        """One volume, as the call that also counts its disks gives it."""
        return reading.volume(self._get("VolumeGetInfo", volume, multicluster=True))

    def volumes_list(self) -> list[Volume]:
        """All volumes of the cluster."""
        return reading.list_of(reading.volume, self._get("VolumesList", multicluster=True))

    def read_volumes_list(self, read: Callable[[Iterator[Any]], Made]) -> Made:
        """Like read_volumes_space, of volumes_list."""
        return self._read("VolumesList", read, multicluster=True, patience_s=0.0)

    def volume_list_snapshots(self, volume: str) -> list[Snapshot]:
        """The snapshots that a volume stands on."""
        return reading.list_of(reading.snapshot, self._get("VolumeListSnapshots", volume))

    def volumes_space(self) -> list[Space]:
        """What all volumes take; slow on a large cluster."""
        return reading.list_of(reading.space, self._get("VolumesSpace", multicluster=True, patience_s=SLOW_S))

    def read_volumes_space(self, read: Callable[[Iterator[Any]], Made]) -> Made:
        """What `read` makes of the JSON objects of volumes_space, given one by one while they arrive.

        It may be called again, from the first object on, when an answer was lost.
        """
        return self._read("VolumesSpace", read, multicluster=True, patience_s=SLOW_S)

    def volumes_get_status(self) -> dict[str, VolumeStatus]:
        """How all volumes and snapshots are, by name, with what they store; slow on a large cluster."""
        return reading.statuses(self._get("VolumesGetStatus", multicluster=True, patience_s=SLOW_S))

    def volumes_get_status_quick(self) -> dict[str, VolumeStatus]:
        """How all volumes and snapshots are, by name, without what they store."""
        return reading.statuses(self._get("VolumesGetStatusQuick", multicluster=True, patience_s=SLOW_S))

    def volume_create(
        self,
        name: str | None = None,
        *,
        size: int | None = None,
        template: str | None = None,
        parent: str | None = None,
        base_on: str | None = None,
        tags: Mapping[str, str] | None = None,
        policy: Policy | None = None,
    ) -> Created:
        """Make a volume: empty, a clone of snapshot `parent`, or one of volume `base_on`.

        Without a name it is known by its global id alone, and a lost answer is StorPoolLost. size: may be
        left out where template, parent or base_on gives it. A name that was taken before the first attempt
        is StorPoolRefused `objectExists`.
        """
        wanted = {"size": size, "template": template, "parent": parent, "baseOn": base_on}
        given = dict(tags) if tags else None
        body = {"name": name or None, **wanted, "tags": given, **policy_body(policy)}

        def confirm(until: float) -> dict[str, Any] | None:
            there = found(lambda: self.volume(name or "", until=until))
            if there is None or not (_is_as(there, wanted) and has_tags(there.tags, given)):
                return None
            auto_name = there.parent_name if base_on else ""
            return {"name": there.name, "globalId": there.global_id, "autoName": auto_name}

        repeat = confirmed_by(confirm) if plain(name) else ONCE
        about = name or "(without a name)"
        created = reading.created(
            self._post("VolumeCreate", body=body, about=about, repeat=repeat, multicluster=True)
        )
        return created._replace(name=created.name or name or f"~{created.global_id}")

    def volume_update(
        self,
        volume: str,
        *,
        rename: str | None = None,
        size: int | None = None,
        shrink_ok: bool | None = None,
        template: str | None = None,
        tags: Mapping[str, str] | None = None,
        policy: Policy | None = None,
    ) -> None:
        """Change a volume. tags: merged with those that are there; an empty value removes one.

        rename: "" takes the name away. size: absolute; a smaller one needs shrink_ok.
        """
        body = {
            "rename": rename,
            "size": size,
            "shrinkOk": shrink_ok or None,
            "template": template,
            "tags": dict(tags) if tags else None,
            **policy_body(policy),
        }

        def renamed(until: float) -> dict[str, Any] | None:
            if volume.startswith("~"):
                there = found(lambda: self.volume(volume, until=until))
                done = there is not None and (there.name == rename if rename else not plain(there.name))
            else:
                arrived = not rename or found(lambda: self.volume(rename, until=until)) is not None
                done = arrived and found(lambda: self.volume(volume, until=until)) is None
            return {} if done else None

        repeat = RESEND if rename is None else confirmed_by(renamed)
        self._post("VolumeUpdate", volume, body=body, repeat=repeat, multicluster=True)

    def volume_delete(self, volume: str) -> None:
        """Delete a volume, which must not be attached; its snapshots stay."""
        self._post("VolumeDelete", volume, repeat=DELETE, multicluster=True)

    def volume_freeze(self, volume: str, *, delete_after_s: int | None = None) -> None:
        """Make a snapshot of a volume, under its name and in its place."""

        def frozen(until: float) -> dict[str, Any] | None:
            volume_there = found(lambda: self.volume(volume, until=until))
            snapshot_there = found(lambda: self._get("Snapshot", volume, multicluster=True, until=until))
            return {} if volume_there is None and snapshot_there is not None else None

        body = {"deleteAfter": delete_after_s}
        self._post("VolumeFreeze", volume, body=body, repeat=confirmed_by(frozen), multicluster=True)

    def volume_rebase(self, volume: str, *, parent: str | None = None) -> None:
        """Put a volume on one of its own ancestors, or on none: its data are then all its own."""
        self._post("VolumeRebase", volume, body={"parentName": parent})

    def volume_revert(self, volume: str, to_snapshot: str, *, revert_size: bool | None = None) -> None:
        """Give a volume, which must not be attached, a snapshot's data; it keeps its name and global id.

        revert_size: and the snapshot's size.
        """
        body = {"toSnapshot": to_snapshot, "revertSize": revert_size}
        self._post("VolumeRevert", volume, body=body, multicluster=True)


def _is_as(volume: Volume, wanted: Mapping[str, Any]) -> bool:
    """Whether a volume is what VolumeCreate was asked for; an origin given as ~globalId is not compared."""
    size, template, parent, base_on = (wanted[key] for key in ("size", "template", "parent", "baseOn"))
    origin = volume.parent_name
    return (
        (size is None or volume.size == size)
        and (template is None or volume.template_name == template)
        and (not plain(parent) or origin == parent)
        # A clone of a volume stands on a transient snapshot named `<volume>@<id>`.
        and (not plain(base_on) or origin.partition("@")[0] == base_on)
    )
