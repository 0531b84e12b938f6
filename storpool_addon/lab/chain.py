"""The snapshots of a disk or an image as oned keeps them: who descends from whom, and which is active."""

from __future__ import annotations

from dataclasses import dataclass, field

from storpool_addon.lab.documents import cdata, element, vector

YES, NO, MIXED, LINEAR = "YES", "NO", "MIXED", "LINEAR"


@dataclass
class Entry:
    """One snapshot. parent: -1 for none. date_s: when oned was asked for it, after the lab's first day."""

    id: int
    name: str
    size_mib: int
    parent: int = -1
    date_s: int = 0

    def values(self, *, active: bool) -> dict[str, object]:
        """Its element; oned leaves out what is empty."""
        date = 1769002000 + self.date_s
        known = {"DATE": date, "ID": self.id, "PARENT": self.parent, "SIZE": self.size_mib}
        named = {"NAME": self.name} if self.name else {}
        return {**known, **named, **({"ACTIVE": "YES"} if active else {})}


@dataclass
class Chain:
    """A SNAPSHOTS element, and oned's own bookkeeping of it (src/vm/Snapshots.cc)."""

    orphans: str = YES
    entries: dict[int, Entry] = field(default_factory=dict)
    next_id: int = 0
    active: int = -1
    base: int = -1

    def create(self, name: str, size_mib: int, date_s: int = 0) -> int:
        """A new entry; an id is never given twice, even when the driver fails."""
        parent = {NO: self.active, MIXED: self.base}.get(self.orphans, -1)
        self.entries[self.next_id] = Entry(self.next_id, name, size_mib, parent, date_s)
        self.next_id += 1
        return self.next_id - 1

    def activate(self, snapshot_id: int, *, revert: bool) -> None:
        """After a snapshot was taken, or reverted to. LINEAR: what is younger than that is forgotten."""
        if self.orphans == MIXED and not revert:
            return
        if self.orphans == MIXED:
            self.base = snapshot_id
        self.active = snapshot_id
        if self.orphans == LINEAR and revert:
            self.entries = {each: entry for each, entry in self.entries.items() if each <= snapshot_id}

    def delete(self, snapshot_id: int) -> None:
        """Forget one; in a chain its children become its parent's."""
        gone = self.entries.pop(snapshot_id)
        for entry in self.entries.values():
            if entry.parent == snapshot_id:
                entry.parent = gone.parent
        if self.active == snapshot_id:
            self.active = gone.parent if self.orphans in (NO, MIXED) else -1

    def document(self, disk_id: int | None = None) -> str:
        """`<SNAPSHOTS>`. disk_id: of a VM's disk."""
        of = "" if disk_id is None else cdata("DISK_ID", disk_id)
        return element(
            "SNAPSHOTS",
            cdata("ALLOW_ORPHANS", self.orphans),
            cdata("CURRENT_BASE", self.base),
            of,
            cdata("NEXT_SNAPSHOT", self.next_id),
            *(
                vector("SNAPSHOT", each.values(active=each.id == self.active))
                for each in self.entries.values()
            ),
        )
