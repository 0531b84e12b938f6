"""VMs as a report about all of them needs them: read from a pool in a tenth of the time of whole records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from storpool_addon.errors import AddonError
from storpool_addon.opennebula.disk import BRIEF, Disk
from storpool_addon.opennebula.xml import Node, Vector

_PARTS = ("ID", "TEMPLATE", "HISTORY_RECORDS", "SNAPSHOTS")
_VECTORS = ("DISK", "SNAPSHOT", "HISTORY")
_NAMES = (*_PARTS, *_VECTORS, *BRIEF, "SNAPSHOT_ID", "HYPERVISOR_ID", "DS_ID")


class UsedDisk(NamedTuple):
    """A disk, and the ids of its snapshots."""

    disk: Disk
    snapshot_ids: tuple[int, ...]


class VmUsage(NamedTuple):
    """A VM's disks. datastore_id: its system datastore, -1 for a VM that was never deployed.

    vm_snapshots: id and hypervisor id of each.
    """

    id: int
    datastore_id: int
    disks: tuple[UsedDisk, ...]
    vm_snapshots: tuple[tuple[int, str], ...]

    @classmethod
    def from_node(cls, node: Node) -> VmUsage:
        """The VM in a VM element of a pool."""
        vm_id = datastore_id = -1
        disks: list[Disk] = []
        chains: dict[int, tuple[int, ...]] = {}
        vm_snapshots: list[tuple[int, str]] = []
        for tag, text, vectors in node.walk(*_NAMES):
            if tag == "ID":
                vm_id = node.whole(tag, text)
            elif tag == "TEMPLATE":
                disks = [Disk.brief(vm_id, values) for kind, _, values in vectors if kind == "DISK"]
                vm_snapshots = list(_vm_snapshots(vectors))
            elif tag == "SNAPSHOTS":
                disk_id, ids = _chain(node, vectors)
                chains[disk_id] = ids
            elif tag == "HISTORY_RECORDS":
                datastore_id = system_datastore(vectors)
        used = tuple([UsedDisk(disk, chains.get(disk.disk_id, ())) for disk in disks])
        return cls(vm_id, datastore_id, used, tuple(vm_snapshots))


def _chain(node: Node, vectors: list[Vector]) -> tuple[int, tuple[int, ...]]:
    """The disk of a SNAPSHOTS element, and the ids of its snapshots."""
    disk_id = -1
    ids: list[int] = []
    for kind, text, values in vectors:
        if kind == "SNAPSHOT":
            number = values.get("ID", "")
            if number.isdecimal():
                ids.append(int(number))
        elif kind == "DISK_ID" and disk_id < 0:
            disk_id = node.whole(kind, text)
    return disk_id, tuple(ids)


def system_datastore(vectors: list[Vector]) -> int:
    """The system datastore of the newest record in a HISTORY_RECORDS element, -1 when there is none."""
    found = ""
    for kind, _, values in vectors:
        if kind == "HISTORY":
            found = values.get("DS_ID", "")
    return int(found) if found.isdecimal() else -1


def _vm_snapshots(vectors: list[Vector]) -> Iterator[tuple[int, str]]:
    for kind, _, values in vectors:
        if kind == "SNAPSHOT":
            number, hypervisor_id = values.get("SNAPSHOT_ID", ""), values.get("HYPERVISOR_ID", "")
            if number.isdecimal() and hypervisor_id:
                yield int(number), hypervisor_id


def usages(page: Node) -> Iterator[VmUsage | AddonError]:
    """The VMs of a pool, in its order; in the place of one that cannot be read, why."""
    for node in page.nodes("VM"):
        try:
            yield VmUsage.from_node(node)
        except AddonError as error:
            yield error
