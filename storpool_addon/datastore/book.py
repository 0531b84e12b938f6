"""The file of what was collected, as a round fills it: each answer is in it as soon as it has come."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from storpool_addon.datastore.clusters import Cluster
from storpool_addon.errors import StateError
from storpool_addon.monitoring import cache
from storpool_addon.monitoring.cache import CENSUS, DISKS, ROUND, SPACE, Part
from storpool_addon.monitoring.message import Messages

# When disks were collected.
_DISKS = (ROUND, "disks")


class Book:
    """The parts of the file, as far as they are known; threads write it, one after the other."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._writing = threading.Lock()
        self._parts: dict[cache.Title, Part] = {}

    def remember(self) -> str:
        """Read what is there; what is wrong with that, "" for nothing. StateError without a directory."""
        cache.prepare(self._directory)
        try:
            self._parts = cache.read(self._directory)
        except StateError as error:
            return str(error)
        return ""

    def are_disks_due(self, minutes: int) -> bool:
        """Whether they were collected longer ago than that."""
        last = self._parts.get(_DISKS)
        return last is None or not last.is_fresh(minutes * 60.0)

    def forget_others(self, found: Iterable[Cluster]) -> None:
        """Clusters and datastores that are no more; how the last round went is known until this one ends."""
        titles = {_DISKS, cache.LAST}
        for cluster in found:
            titles |= {(SPACE, cluster.title), (CENSUS, cluster.title)}
            titles |= {(DISKS, str(each.id)) for each in cluster.datastores}
        self._parts = {title: part for title, part in self._parts.items() if title in titles}

    def keep(self, kind: str, cluster: Cluster, part: Part) -> bool:
        """What a cluster answered; whether that was in time."""
        with self._writing:
            if cluster.closed:
                return False
            self._parts[kind, cluster.title] = part
            cache.write(self._directory, self._parts)
            return True

    def keep_disks(self, made: Mapping[int, Messages], part: Part, found: Sequence[Cluster]) -> None:
        """Where a silent cluster let nothing be learned, what was known before stays, with its time."""
        sizes = [each.sizes for each in found]
        with self._writing:
            for datastore_id, messages in made.items():
                packed = messages.packed()
                if packed or None not in sizes:
                    title = (DISKS, str(datastore_id))
                    self._parts[title] = part._replace(content={**part.content, "messages": packed})
            if any(sizes) or None not in sizes:
                self._parts[_DISKS] = part._replace(content={})
            cache.write(self._directory, self._parts)

    def keep_last(self, content: Mapping[str, Any]) -> None:
        """How the round went, for who watches the watching."""
        with self._writing:
            self._parts[cache.LAST] = Part.now(**content)
            cache.write(self._directory, self._parts)
