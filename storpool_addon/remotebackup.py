"""The last copy of a volume: REMOTE_BACKUP_DELETE has it backed up elsewhere before it is deleted."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple

from storpool_addon import tags as tagging
from storpool_addon.errors import AddonError, ConfigError, StateError
from storpool_addon.storpool import Volume
from storpool_addon.volumes import Volumes

# On a volume whose backup was begun; the value is the location. Only where it is found does a run look
# through the backups that the location has, which is slow.
BEGUN = "remote-backup"


class Wanted(NamedTuple):
    """Where a backup goes, and the tags that the site wants on it."""

    location: str
    tags: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Wanted | None:
        """`location[:tag=value …]`, None for nothing; `tag`, of StorPool's command line, may be there."""
        location, _, words = text.strip().partition(":")
        if not location:
            return None
        given = {}
        for word in words.split():
            key, equals, value = word.partition("=")
            if equals and key:
                given[key] = tagging.value(key, value)
            elif word != "tag":
                raise ConfigError(f"REMOTE_BACKUP_DELETE {text!r}: {word!r} is not of the form tag=value")
        return cls(location, given)


def before_delete(volumes: Volumes, name: str, text: str, lock: AbstractContextManager[None]) -> None:
    """Back a volume up if its datastore wants that; once, however often it is asked for.

    text: REMOTE_BACKUP_DELETE. lock: keeps another process from doing the same to this volume meanwhile.
    A failure is StateError, and the caller must not delete the volume.
    """
    wanted = Wanted.parse(text)
    if wanted is None:
        return
    with lock:
        volume = volumes.find(name)
        if volume is None:
            return
        try:
            remote_id = _known(volumes, volume, wanted) or _begin(volumes, volume, wanted)
        except AddonError as error:
            raise StateError(
                f"volume {name} was not backed up to location {wanted.location} and stays: {error}"
            ) from None
    volumes.log(f"volume {name} is backed up to location {wanted.location} as {remote_id}")


def _known(volumes: Volumes, volume: Volume, wanted: Wanted) -> str:
    """The backup that an interrupted run began, "" for none."""
    if volume.tags.get(BEGUN, "") != wanted.location:
        return ""
    ours = tagging.remote_backup(volumes.config, volume)
    for each in volumes.api.snapshots_remote_list():
        if each.location == wanted.location and ours.items() <= each.tags.items():
            return each.remote_id
    return ""


def _begin(volumes: Volumes, volume: Volume, wanted: Wanted) -> str:
    # What a guest that nobody knows of wrote after the backup would be lost with the volume.
    volumes.release([volume.name])
    volumes.tag(volume.name, {BEGUN: wanted.location})
    tags = {**wanted.tags, **tagging.remote_backup(volumes.config, volume)}
    return volumes.api.volume_backup(volume.name, wanted.location, tags)
