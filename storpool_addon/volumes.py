"""Our volumes on StorPool: every operation may be repeated, and touches nothing that is not ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Callable

from storpool_addon import names
from storpool_addon import tags as tagging
from storpool_addon.attaching import Attaching, Placement
from storpool_addon.errors import StateError, StorPoolRefused
from storpool_addon.storpool import Reassign, Snapshot, Volume

__all__ = ["Placement", "Volumes", "is_absent"]


class Volumes(Attaching):
    """The volumes of one datastore's StorPool."""

    def find(self, name: str) -> Volume | None:
        """The volume of exactly that name, None when there is none; StateError when it is not ours."""
        volume = self.look(name)
        if volume is not None:
            self.check_ours("volume", name, volume.tags)
        return volume

    def look(self, name: str) -> Volume | None:
        """The volume of exactly that name, whoever's it is; None when there is none."""
        try:
            return self.api.volume(name)
        except StorPoolRefused as error:
            if is_absent(error):
                return None
            raise

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

    def adopt(self, name: str, template: str | None, qc: str) -> None:
        """Give a volume the QoS class, and the template if any, of the datastore that it has come to."""
        self.api.volume_update(name, template=template, tags={"qc": tagging.value("qc", qc)})

    def delete(
        self, name: str, *, keep: bool = True, snapshots: Iterable[str] = (), force: bool = True
    ) -> None:
        """Delete a volume and the snapshots named; done already when they are not there.

        Only the volume that is there now: another one that a second front-end makes under the same name
        meanwhile is not touched. force: even where a device is open, whose user then gets I/O errors.
        keep: leave a snapshot of the data that StorPool deletes by itself after DELAY_DELETE, named and
        tagged after the volume, from which the disk can be had back.
        """
        volume = self.find(name)
        if volume is not None:
            this = f"~{volume.global_id}" if volume.global_id else name
            self._absent_is_done(lambda each: self.release([each], force=force), this)
            if keep:
                # Named after the global id: a repeated delete meets its own snapshot and makes no second one.
                self.set_aside(volume, volume.global_id)
            self._absent_is_done(self.api.volume_delete, this)
        for snapshot in snapshots:
            self.delete_snapshot(snapshot)

    def discard(self, name: str) -> None:
        """Undo `create`: delete a volume that never held anything, unless somebody has its device open.

        A second run of the action may have taken the volume for its own result, and a guest may run on it.
        """
        self.delete(name, keep=False, force=False)

    def set_aside(self, volume: Volume, word: str) -> None:
        """Keep what a volume holds as a snapshot for DELAY_DELETE, from which it can be had back by name.

        word: the same at each repetition of one action, another for the next action.
        """
        delay_s = self.config.delay_delete_s
        if not delay_s:
            return
        name = names.deleted(volume.name, word)
        kept = tagging.deleted(self.config, volume.name, volume.tags)
        try:
            this = f"~{volume.global_id}" if volume.global_id else volume.name
            self.api.volume_snapshot(this, name=name, tags=kept, delete_after_s=delay_s)
        except StorPoolRefused as error:
            if is_absent(error):
                return
            if error.name != "objectExists":
                raise
        self.log(f"volume {volume.name} is kept as snapshot {name} for {delay_s} s")

    def find_snapshot(self, name: str) -> Snapshot | None:
        """The snapshot of exactly that name, None when there is none; StateError when it is another's."""
        try:
            snapshot = self.api.snapshot(name)
        except StorPoolRefused as error:
            if is_absent(error):
                return None
            raise
        if snapshot.deleted:
            return None
        # The bash addon left its disk snapshots without tags: the exact name has to do for those.
        if self.config.loc_tag in snapshot.tags:
            self.check_ours("snapshot", name, snapshot.tags)
        return snapshot

    def delete_snapshot(self, name: str) -> None:
        """Delete a snapshot, attached or not; done already when it is not there."""
        if self.find_snapshot(name) is None:
            return
        try:
            self._absent_is_done(self.api.snapshot_delete, name)
        except StorPoolRefused as error:
            # Not certain of StorPool: the name of its error for a snapshot that is attached.
            self.log(f"detaching snapshot {name}: {error}")
            self._absent_is_done(lambda each: self.reassign([Reassign(snapshot=each, detach="all")]), name)
            self._absent_is_done(self.api.snapshot_delete, name)

    def _recognise(self, name: str, size: int | None, origin: str | None, tags: Mapping[str, str]) -> None:
        volume = self.find(name)
        if volume is None:
            raise StateError(f"{name} cannot be made: StorPool has a snapshot of that name; rename it")
        # baseOn makes a transient snapshot `<volume>@<id>` and clones that.
        parent = volume.parent_name.partition("@")[0]
        same_origin = origin is not None and parent == origin
        for key in self.config.identity_tags:
            there, value = volume.tags.get(key, ""), tags.get(key, "")
            if key in tags and there != value and (there or not same_origin):
                raise StateError(
                    f"volume {name} exists and is another's ({key} is {there!r}, not {value!r}); rename it"
                )
        # In a multicluster a volume may have gone to a cluster where what it stands on has no name.
        nameless = self.api.spans_clusters and (not parent or parent.startswith("~"))
        if origin is not None and not same_origin and not nameless:
            raise StateError(
                f"volume {name} exists and is a clone of {parent or 'nothing'}, not of {origin}; rename it"
            )
        if size is not None:
            self.grow(volume, size)
        if same_origin:
            self._complete_tags(volume, tags)

    def _complete_tags(self, volume: Volume, tags: Mapping[str, str]) -> None:
        """Give a volume the tags that it lacks.

        The bash addon makes a volume first and tags it then. One that a crash left without tags, and of which
        an operator has said that it is ours, is what was to be made.
        """
        keys = (*self.config.identity_tags, "type", "qc")
        missing = {key: tags[key] for key in keys if tags.get(key) and not volume.tags.get(key)}
        if missing:
            self.tag(volume.name, missing)

    def check_ours(self, kind: str, name: str, tags: Mapping[str, str]) -> None:
        """StateError unless the tags say that this OpenNebula made it."""
        key, ours = self.config.loc_tag, self.config.loc_tag_val
        theirs = tags.get(key, "")
        if not theirs and not self.config.tag_context_iso and names.is_context(self.config.one_px, name):
            # The bash addon leaves them without any tag then.
            return
        if theirs != ours:
            raise StateError(
                f"{kind} {name} is not ours (tag {key} is {theirs!r}, not {ours!r}) and is left alone;"
                f" if it is, run: storpool {kind} {name} tag {key}={ours} update"
            )

    def _absent_is_done(self, call: Callable[[str], None], name: str) -> None:
        try:
            call(name)
        except StorPoolRefused as error:
            if not is_absent(error):
                raise


def is_absent(error: StorPoolRefused) -> bool:
    """Whether StorPool said that the object is not there."""
    return error.name == "objectDoesNotExist"
