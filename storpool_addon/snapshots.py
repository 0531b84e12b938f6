"""Our snapshots on StorPool: taken, attached, reverted to and deleted by exact names, each repeatable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from storpool_addon import names
from storpool_addon import tags as tagging
from storpool_addon.errors import StateError, StorPoolRefused
from storpool_addon.storpool import Policy, Reassign, Snapshot, Volume
from storpool_addon.volumes import Volumes, is_absent

_ASIDE_S = 7 * 86_400
# A volume, and the name of its snapshot.
Pair = tuple[str, str]


class Revert(NamedTuple):
    """A volume as it is before it is reverted, and the snapshot whose data it gets."""

    before: Volume
    source: Snapshot


class Snapshots:
    """The snapshots of the volumes of one datastore's StorPool."""

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes
        self._api = volumes.api
        self._config = volumes.config

    def find(self, name: str) -> Snapshot | None:
        """The snapshot of exactly that name, None when there is none; StateError when it is another's."""
        return self._volumes.find_snapshot(name)

    def owned(self, name: str) -> Snapshot:
        """Like `find`, for a snapshot that has to be there."""
        snapshot = self.find(name)
        if snapshot is None:
            raise StateError(f"snapshot {name} does not exist in StorPool; delete it in OpenNebula too")
        return snapshot

    def take(
        self, volume: str, name: str, tags: Mapping[str, str], *, delete_after_s: int | None = None
    ) -> bool:
        """Make a snapshot with its tags in one call; True when this call made it.

        One that is there already, and is what this call would have made, is the result of an earlier run.
        """
        try:
            self._api.volume_snapshot(volume, name=name, tags=tags, delete_after_s=delete_after_s)
        except StorPoolRefused as error:
            if error.name != "objectExists":
                raise
            snapshot = self.find(name)
            if snapshot is None:
                raise StateError(
                    f"{name} cannot be made: StorPool has a volume of that name; rename it"
                ) from None
            _check_same(snapshot, volume, tags)
            return False
        return True

    def take_group(self, pairs: Sequence[Pair], tags: Mapping[str, str]) -> bool:
        """Make snapshots of several volumes at one moment, all or none; True when this call made them.

        pairs: (volume, snapshot name). What an earlier run made of all of them is taken; a part is replaced,
        for the moments of two runs are not one.
        """
        try:
            self._api.volumes_group_snapshot(pairs, tags=tags)
        except StorPoolRefused as error:
            if error.name != "objectExists":
                raise
            there = list(filter(None, (self._of_group(pair, tags) for pair in pairs)))
            if len(there) == len(pairs):
                return False
            for snapshot in there:
                self.delete(snapshot.name)
            self._api.volumes_group_snapshot(pairs, tags=tags)
        return True

    def has_group(self, pairs: Sequence[Pair], tags: Mapping[str, str]) -> bool:
        """Whether an earlier run made all of these; StateError when one that is there is not this one."""
        return all(self._of_group(pair, tags) for pair in pairs)

    def _of_group(self, pair: Pair, tags: Mapping[str, str]) -> Snapshot | None:
        """The snapshot of a pair, None when there is none."""
        volume, name = pair
        snapshot = self.find(name)
        if snapshot is not None:
            _check_same(snapshot, volume, tags)
        return snapshot

    def expire(self, name: str, after_s: int | None) -> None:
        """Have StorPool delete a snapshot after that time, from now; without one it stays as it is."""
        if after_s:
            self._api.snapshot_update(name, delete_after_s=after_s)

    def delete(self, name: str) -> None:
        """Delete a snapshot, attached or not; done already when it is not there."""
        self._volumes.delete_snapshot(name)

    def attach(self, names: Sequence[str], client: int) -> None:
        """Attach snapshots to a client for reading, in one call."""
        items = [Reassign(snapshot=name, ro=[client]) for name in names]
        if items:
            self._volumes.reassign(items, force=False)

    def detach(self, names: Sequence[str]) -> None:
        """Detach snapshots from every client, by force if need be; done already for one that is not there."""
        items = [Reassign(snapshot=name, detach="all") for name in names]
        if not items:
            return
        try:
            self._volumes.reassign(items)
        except StorPoolRefused as error:
            if not is_absent(error):
                raise
            if len(names) > 1:
                for name in names:
                    self.detach([name])

    def revert(self, volume: str, snapshot: str, *, keep_size: bool) -> int:
        """Give a volume, which must be attached nowhere, a snapshot's data; gives its size in bytes then.

        Name, global id, tags, template and limits stay. keep_size: the size stays too; else it becomes the
        snapshot's. Done again, it changes nothing.
        """
        return self.carry_out(self.plan_revert(volume, snapshot), keep_size=keep_size)

    def plan_revert(self, volume: str, snapshot: str) -> Revert:
        """What `carry_out` needs; StateError when volume or snapshot is not there, or not ours."""
        return self.plan(volume, self.owned(snapshot))

    def plan(self, volume: str, source: Snapshot) -> Revert:
        """The same for a snapshot that has been looked at."""
        try:
            return Revert(self._volumes.owned(volume), source)
        except StateError:
            found = self._volumes.look(volume)
            # An interrupted revert may have left it so. Not certain of StorPool: whether a revert takes tags.
            if found is None or found.tags or found.parent_name != source.name:
                raise
            return Revert(found, source)

    def carry_out(self, revert: Revert, *, keep_size: bool) -> int:
        """See `revert`."""
        before, source = revert
        if source.size > before.size:
            # Not certain of StorPool: what a smaller volume would get of the snapshot.
            self._api.volume_update(before.name, size=source.size)
        self._api.volume_revert(before.name, source.name)
        size = max(before.size, source.size) if keep_size else source.size
        self._put_right(before, self._api.volume(before.name), size)
        return size

    def set_aside(self, volume: Volume, name: str) -> Snapshot:
        """Keep what a volume holds, for a week at the least should nobody say any more; see `retire`."""
        kept = tagging.deleted(self._config, volume.name, volume.tags)
        life_s = max(self._config.delay_delete_s or 0, _ASIDE_S)
        self.take(volume.name, name, kept, delete_after_s=life_s)
        return self.owned(name)

    def retire(self, aside: Snapshot, volume: str) -> None:
        """What was set aside is for nobody but an operator, for DELAY_DELETE; without that it goes."""
        delay_s = self._config.delay_delete_s
        if not delay_s:
            self.delete(aside.name)
            return
        kept = names.deleted(volume, aside.global_id)
        self._api.snapshot_update(aside.name, rename=kept, delete_after_s=delay_s)
        self._volumes.log(f"what volume {volume} held is kept as snapshot {kept} for {delay_s} s")

    def _put_right(self, before: Volume, after: Volume, size: int) -> None:
        """Give the volume back what the revert took. Not certain of StorPool: whether it takes anything."""
        lost = {key: word for key, word in before.tags.items() if after.tags.get(key) != word}
        wanted = {**lost, **({} if before.tags else tagging.ours(self._config))}
        limits = (after.iops, after.bw) != (before.iops, before.bw)
        template = before.template_name if before.template_name != after.template_name else ""
        if wanted or limits or template or after.size != size:
            self._api.volume_update(
                before.name,
                tags=wanted or None,
                template=template or None,
                policy=_limits(before) if limits or template else None,
                size=size if after.size != size else None,
                shrink_ok=after.size > size,
            )


def _check_same(snapshot: Snapshot, volume: str, tags: Mapping[str, str]) -> None:
    """StateError for one that we would not have made so."""
    # It is no volume's parent any more once a later snapshot has come between.
    same = snapshot.on_volume in ("", volume)
    if not same or any(snapshot.tags.get(key, "") != word for key, word in tags.items()):
        raise StateError(f"snapshot {snapshot.name} exists and is not this one of volume {volume}; rename it")


def _limits(volume: Volume) -> Policy:
    return Policy(
        iops="-" if volume.iops is None else volume.iops,
        bw="-" if volume.bw is None else volume.bw,
        limit_type=volume.limit_type or None,
    )
