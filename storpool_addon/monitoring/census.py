"""How many volumes, snapshots and attachments of ours a cluster has, counted while its lists pass by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from storpool_addon.monitoring.sizes import Wanted
from storpool_addon.tags import UNFINISHED

# What a volume is doing, and why a snapshot is there.
ATTACHED, DETACHED, HALF = "attached", "detached", "unfinished"
KEPT, DELETED = "kept", "deleted"
# What an entry of a list may do that is not what StorPool sends; such a one is counted by Sizes.
_ODD = (AttributeError, KeyError, TypeError)


class Attached(NamedTuple):
    """names: of ours that clients have. clients: how many by cluster, client id and rights."""

    names: Collection[str]
    clients: dict[tuple[str, int, str], int]

    @classmethod
    def none(cls) -> Attached:
        """Of nothing."""
        return cls((), {})

    @classmethod
    def read(cls, entries: Iterable[Any], prefix: str) -> Attached:
        """Out of AttachmentsList; which are ours is told by the names, for nothing else is there of them."""
        names: set[str] = set()
        clients: dict[tuple[str, int, str], int] = defaultdict(int)
        for entry in entries:
            try:
                name, client, rights = entry["volume"], entry["client"], entry["rights"]
                if name.startswith(prefix) and type(client) is int and type(rights) is str:
                    clients[str(entry.get("clusterId") or ""), client, rights] += 1
                    names.add(name)
            except _ODD:
                continue
        return cls(names, clients)


class Census:
    """Counts what passes, by template and state; of deleted disks also the bytes that StorPool gets back."""

    def __init__(self, wanted: Wanted, attached: Attached, deleted_tag: str) -> None:
        self._wanted = wanted
        self._attached = attached
        self._deleted_tag = deleted_tag
        self._volumes: dict[tuple[str, str], int] = {}
        self._snapshots: dict[tuple[str, str], int] = {}
        self._freed: dict[str, int] = {}

    def volumes(self, entries: Iterable[Any]) -> Iterator[Any]:
        """The entries of VolumesSpace, counted from the first on."""
        (prefix, tag, value, _), names = self._wanted, self._attached.names
        found = self._volumes = defaultdict(int)
        for entry in entries:
            yield entry
            try:
                name, tags = entry["name"], entry.get("tags") or {}
                if name.startswith(prefix) and tags.get(tag, value) == value:
                    state = HALF if UNFINISHED in tags else ATTACHED if name in names else DETACHED
                    found[entry.get("templateName") or "", state] += 1
            except _ODD:
                continue

    def snapshots(self, entries: Iterable[Any]) -> Iterator[Any]:
        """The entries of SnapshotsSpace, counted from the first on."""
        (prefix, tag, value, _), deleted = self._wanted, self._deleted_tag
        found: dict[tuple[str, str], int] = defaultdict(int)
        freed: dict[str, int] = defaultdict(int)
        self._snapshots, self._freed = found, freed
        for entry in entries:
            yield entry
            try:
                tags = entry.get("tags") or {}
                if entry["name"].startswith(prefix) and tags.get(tag, value) == value:
                    template = entry.get("templateName") or ""
                    found[template, DELETED if deleted in tags else KEPT] += 1
                    if deleted in tags and type(entry["spaceUsed"]) is int:
                        freed[template] += entry["spaceUsed"]
            except _ODD:
                continue

    def content(self) -> dict[str, Any]:
        """As it is kept: rows of words and numbers."""
        return {
            "volumes": [[*key, count] for key, count in self._volumes.items()],
            "snapshots": [[*key, count] for key, count in self._snapshots.items()],
            "freed": [[key, count] for key, count in self._freed.items()],
            "attachments": [[*key, count] for key, count in self._attached.clients.items()],
        }
