"""The snapshots of a disk or an image, as oned keeps them (its SNAPSHOTS element)."""

from __future__ import annotations

from typing import NamedTuple

from storpool_addon.opennebula.xml import Node


class Snapshot(NamedTuple):
    """One snapshot. parent: its parent's id, -1 for none. size_mib: of the disk when it was taken.

    orphans: oned's rule for the snapshots of this disk or image: YES, NO, MIXED, FORMAT or LINEAR.
    """

    id: int
    name: str
    parent: int
    size_mib: int
    date: int
    active: bool
    orphans: str = ""


def snapshots(node: Node) -> tuple[Snapshot, ...]:
    """Those of one SNAPSHOTS element."""
    return tuple(
        Snapshot(
            id=each.number("ID"),
            name=each.text("NAME"),
            parent=each.number("PARENT", -1),
            size_mib=each.size_mib("SIZE"),
            date=each.number("DATE", 0),
            active=each.flag("ACTIVE"),
            orphans=node.text("ALLOW_ORPHANS").upper(),
        )
        for each in node.nodes("SNAPSHOT")
    )


def forgotten_by_revert(known: tuple[Snapshot, ...], target: int) -> tuple[Snapshot, ...]:
    """Those that oned forgets when a disk is reverted to `target`: with LINEAR, all that are younger."""
    return tuple(each for each in known if each.orphans == "LINEAR" and each.id > target)
