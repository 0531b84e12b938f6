"""VMs as a report about all of them needs them: read from a pool in a tenth of the time of whole records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from storpool_addon.errors import AddonError
from storpool_addon.opennebula.disk import BRIEF, Disk
from storpool_addon.opennebula.xml import Node

_PARTS = ("ID", "TEMPLATE", "HISTORY_RECORDS", "SNAPSHOTS")


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
        """The VM in a VM element of a pool. Without paths, which would take most of the time."""
        vm_id = datastore_id = -1
        disks: list[Disk] = []
        chains: dict[int, tuple[int, ...]] = {}
        vm_snapshots: list[tuple[int, str]] = []
        for part in node.children(*_PARTS):
            tag = part.tag
            if tag == "ID":
                vm_id = part.own_number
            elif tag == "TEMPLATE":
                disks = [Disk.brief(f"VM {vm_id}", values) for values in part.vectors("DISK", *BRIEF)]
                vm_snapshots = list(_vm_snapshots(part))
            elif tag == "SNAPSHOTS":
                disk_id, ids = _chain(part)
                chains[disk_id] = ids
            else:
                datastore_id = system_datastore(part)
        used = tuple(UsedDisk(disk, chains.get(disk.disk_id, ())) for disk in disks)
        return cls(vm_id, datastore_id, used, tuple(vm_snapshots))


def _chain(node: Node) -> tuple[int, tuple[int, ...]]:
    """The disk of a SNAPSHOTS element, and the ids of its snapshots."""
    disk_id = next((each.own_number for each in node.children("DISK_ID")), -1)
    ids = (values.get("ID", "") for values in node.vectors("SNAPSHOT", "ID"))
    return disk_id, tuple(int(each) for each in ids if each.isdecimal())


def system_datastore(node: Node) -> int:
    """The system datastore of the newest record in a HISTORY_RECORDS element, -1 when there is none."""
    found = ""
    for values in node.vectors("HISTORY", "DS_ID"):
        found = values.get("DS_ID", "")
    return int(found) if found.isdecimal() else -1


def _vm_snapshots(node: Node) -> Iterator[tuple[int, str]]:
    for values in node.vectors("SNAPSHOT", "SNAPSHOT_ID", "HYPERVISOR_ID"):
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
