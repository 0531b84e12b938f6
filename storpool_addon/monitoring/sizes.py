"""What each volume and snapshot of ours takes, out of StorPool's lists of their space."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple


class Wanted(NamedTuple):
    """Whose objects count, and which of the two figures.

    prefix: of their names. tag, value: what says whose an object is; one without the tag is known by its name
    alone, as the bash addon's disk snapshots are. stored: what was written to the volume itself, and not what
    it takes with all its parents.
    """

    prefix: str
    tag: str
    value: str
    stored: bool = False


class Sizes:
    """Bytes by name. odd: how many entries of the lists were not what StorPool sends."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._bytes: dict[str, int] = {}
        self.odd = 0

    def __len__(self) -> int:
        return len(self._bytes)

    def __bool__(self) -> bool:
        """True: that a cluster has nothing is known as well."""
        return True

    def add(self, entries: Iterable[Any]) -> None:
        """Entries of VolumesSpace or SnapshotsSpace; those of others are left out."""
        prefix, tag, value, stored = self._wanted
        member = "storedSize" if stored else "spaceUsed"
        kept = self._bytes
        for entry in entries:
            try:
                name = entry["name"]
                if name.startswith(prefix) and (entry.get("tags") or {}).get(tag, value) == value:
                    kept[name] = _size(entry[member])
            except (AttributeError, KeyError, TypeError, ValueError):
                self.odd += 1

    def of(self, name: str) -> int | None:
        """Bytes of a volume or snapshot, None when StorPool did not tell."""
        return self._bytes.get(name)


def _size(value: Any) -> int:
    # True is an int as well.
    if type(value) is not int or value < 0:
        raise TypeError("a size")
    return value
