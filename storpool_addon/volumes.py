"""Our volumes on StorPool: every operation may be repeated, and touches nothing that is not ours."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Callable, NamedTuple

from storpool_addon import names
from storpool_addon import tags as tagging
from storpool_addon.config import Config
from storpool_addon.errors import StateError, StorPoolRefused
from storpool_addon.storpool import Api, Reassign, Snapshot, Volume

# A device that udev or blkid looks at is open for a moment: two seconds of polite tries, as StorPool's
# own OpenStack driver makes (os-brick, connectors/storpool.py), before anything harder.
POLITE_S = 2.0
POLITE_PAUSE_S = 0.2
# In StorPool's description of a refusal, for a device that a process has open: "'X' is open at client 11".
_OPEN = "is open at"


class Placement(NamedTuple):
    """Where a volume is to be attached: on this client and on no other. mode: "rw" or "ro"."""

    volume: str
    client: int
    mode: str = "rw"


class Volumes:
    """The volumes of one datastore's StorPool."""

    def __init__(self, api: Api, config: Config, log: Callable[[str], None]) -> None:
        self.api = api
        self.config = config
        self.log = log

    def find(self, name: str) -> Volume | None:
        """The volume of exactly that name, None when there is none; StateError when it is not ours."""
        try:
            volume = self.api.volume(name)
        except StorPoolRefused as error:
            if is_absent(error):
                return None
            raise
        self._check_ours("volume", name, volume.tags)
        return volume

    def owned(self, name: str) -> Volume:
        """Like `find`, for a volume that has to be there."""
        volume = self.find(name)
        if volume is None:
            raise StateError(f"volume {name} does not exist in StorPool; restore it or remove the disk")
        return volume

    def create(
        self,
        name: str,
        *,
        tags: Mapping[str, str],
        size: int | None = None,
        template: str | None = None,
        parent: str | None = None,
        base_on: str | None = None,
    ) -> bool:
        """Make a volume with its tags in one call; True when this call made it.

        size: bytes. A volume that is there already, is ours, and is what this call would have made is
        taken as the result of an earlier, interrupted run: False. Any other: StateError.
        """
        try:
            self.api.volume_create(
                name, size=size, template=template, parent=parent, base_on=base_on, tags=dict(tags)
            )
        except StorPoolRefused as error:
            if error.name != "objectExists":
                raise
            self._recognise(name, size, parent or base_on, tags)
            return False
        return True

    def ensure(self, name: str, *, tags: Mapping[str, str], size: int, template: str) -> bool:
        """Like `create`, but a volume that is there is given the size and the tags, whatever they were."""
        try:
            self.api.volume_create(name, size=size, template=template, tags=dict(tags))
        except StorPoolRefused as error:
            if error.name != "objectExists":
                raise
        else:
            return True
        self.owned(name)
        self.api.volume_update(name, size=size, shrink_ok=True, tags=dict(tags))
        return False

    def place(self, placements: Sequence[Placement], *, force: bool = False) -> None:
        """Attach each volume to its client and to no other, in one call.

        A volume whose device is open on another client makes it StateError, and nothing is detached;
        with `force` that other client loses it, after a polite wait.
        """
        items = [_placed(each) for each in placements]
        if items:
            self._reassign(items, force)

    def share(self, placements: Sequence[Placement]) -> None:
        """Attach each volume to its client as well, in one call: other clients keep it."""
        items = [_placed(each)._replace(detach=None) for each in placements]
        if items:
            self._reassign(items, force=False)

    def release(self, names_of_volumes: Iterable[str], *, force: bool = True) -> None:
        """Detach each volume from every client, in one call; politely first, then by force if allowed."""
        items = [Reassign(volume=name, detach="all") for name in names_of_volumes]
        if items:
            self._reassign(items, force)

    def withdraw(self, name: str, client: int) -> None:
        """Undo an attachment that may have been made: detach from this client alone, politely."""
        try:
            self._reassign([Reassign(volume=name, detach=[client])], force=False)
        except StorPoolRefused as error:
            # Not certain of StorPool: whether it takes a detach of what is not attached there.
            self.log(f"volume {name} was not detached from client {client}: {error}")

    def grow(self, volume: Volume, size: int) -> None:
        """Make the volume `size` bytes; StateError when that would cut it."""
        if size < volume.size:
            text = (
                f"volume {volume.name} has {volume.size} bytes and cannot shrink to {size}; grow it instead"
            )
            raise StateError(text)
        if size > volume.size:
            self.api.volume_update(volume.name, size=size)

    def rename(self, name: str, new_name: str) -> None:
        """Give a volume another name; StorPool refuses one that is taken."""
        self.owned(name)
        self.api.volume_update(name, rename=new_name)

    def tag(self, name: str, tags: Mapping[str, str]) -> None:
        """Set tags; an empty value removes one."""
        self.api.volume_update(name, tags=dict(tags))

    def delete(self, name: str, *, keep: bool = True, snapshots: Iterable[str] = ()) -> None:
        """Delete a volume and the snapshots named; done already when they are not there.

        keep: leave a snapshot of the data that StorPool deletes by itself after DELAY_DELETE, named and
        tagged after the volume, from which the disk can be had back.
        """
        volume = self.find(name)
        if volume is not None:
            self.release([name])
            if keep and self.config.delay_delete_s:
                self._keep(volume, self.config.delay_delete_s)
            self._absent_is_done(self.api.volume_delete, name)
        for snapshot in snapshots:
            self._delete_snapshot(snapshot)

    def discard(self, name: str) -> None:
        """Undo `create`: delete a volume that never held anything."""
        self.delete(name, keep=False)

    def _keep(self, volume: Volume, delay_s: int) -> None:
        # Named after the global id, so that a repeated delete meets its own snapshot and makes no second one.
        name = names.deleted(volume.name, volume.global_id)
        kept = tagging.deleted(self.config, volume.name, volume.tags)
        try:
            self.api.volume_snapshot(volume.name, name=name, tags=kept, delete_after_s=delay_s)
        except StorPoolRefused as error:
            if error.name != "objectExists":
                raise
        self.log(f"volume {volume.name} is kept as snapshot {name} for {delay_s} s")

    def _delete_snapshot(self, name: str) -> None:
        try:
            snapshot: Snapshot = self.api.snapshot(name)
        except StorPoolRefused as error:
            if is_absent(error):
                return
            raise
        # The bash addon left its disk snapshots without tags: the exact name has to do for those.
        if self.config.loc_tag in snapshot.tags:
            self._check_ours("snapshot", name, snapshot.tags)
        self._absent_is_done(self.api.snapshot_delete, name)

    def _recognise(self, name: str, size: int | None, origin: str | None, tags: Mapping[str, str]) -> None:
        volume = self.find(name)
        if volume is None:
            raise StateError(f"{name} cannot be made: StorPool has a snapshot of that name; rename it")
        for key, value in tags.items():
            if volume.tags.get(key, "") != value and key in self.config.identity_tags:
                there = volume.tags.get(key, "")
                raise StateError(
                    f"volume {name} exists and is another's ({key} is {there!r}, not {value!r}); rename it"
                )
        # baseOn makes a transient snapshot `<volume>@<id>` and clones that.
        parent = volume.parent_name.partition("@")[0]
        if origin is not None and parent != origin:
            raise StateError(
                f"volume {name} exists and is a clone of {parent or 'nothing'}, not of {origin}; rename it"
            )
        if size is not None:
            self.grow(volume, size)

    def _check_ours(self, kind: str, name: str, tags: Mapping[str, str]) -> None:
        key, ours = self.config.loc_tag, self.config.loc_tag_val
        theirs = tags.get(key, "")
        if theirs != ours:
            raise StateError(
                f"{kind} {name} is not ours (tag {key} is {theirs!r}, not {ours!r}) and is left alone;"
                f" if it is, run: storpool {kind} {name} tag {key}={ours} update"
            )

    def _reassign(self, items: Sequence[Reassign], force: bool) -> None:
        give_up = time.monotonic() + POLITE_S
        while True:
            try:
                self.api.volumes_reassign_wait(items, attach_timeout_s=self.config.attach_timeout_s)
                return
            except StorPoolRefused as error:
                if not is_open(error):
                    raise
                refused = error
            # By the clock: a client that does not answer takes StorPool a whole attach timeout to say so.
            if time.monotonic() + POLITE_PAUSE_S > give_up:
                break
            time.sleep(POLITE_PAUSE_S)
        if not force and _OPEN in refused.descr:
            raise StateError(f"{refused.descr}; is its VM running there? stop it, then try again")
        if not force:
            raise refused
        self.log(f"detaching by force: {refused.descr}")
        forced = [item._replace(force=True) for item in items]
        self.api.volumes_reassign_wait(forced, attach_timeout_s=self.config.attach_timeout_s)

    def _absent_is_done(self, call: Callable[[str], None], name: str) -> None:
        try:
            call(name)
        except StorPoolRefused as error:
            if not is_absent(error):
                raise


def is_absent(error: StorPoolRefused) -> bool:
    """Whether StorPool said that the object is not there."""
    return error.name == "objectDoesNotExist"


def is_open(error: StorPoolRefused) -> bool:
    """Whether StorPool refused because a device is open, or may be; older releases say invalidParam."""
    return error.name == "busy" or _OPEN in error.descr


def _placed(placement: Placement) -> Reassign:
    clients = [placement.client]
    if placement.mode == "ro":
        return Reassign(volume=placement.volume, ro=clients, detach="all")
    return Reassign(volume=placement.volume, rw=clients, detach="all")
