"""A VM as oned describes it: its disks, where it ran, its snapshots, and what its user asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from storpool_addon.errors import StateError, UsageError
from storpool_addon.opennebula.disk import Disk
from storpool_addon.opennebula.pci import Pci
from storpool_addon.opennebula.snapshots import Snapshot, snapshots
from storpool_addon.opennebula.states import LcmState, VmState, known
from storpool_addon.opennebula.xml import Attributes, Node, parse

__all__ = ["TM_MAD", "Disk", "History", "Snapshot", "Vm", "VmSnapshot"]

# What oned calls the transfer manager that this driver is.
TM_MAD = "storpool"


class History(NamedTuple):
    """A stay of the VM on a host. hid, ds_id: OpenNebula's ids of the host and of the system datastore.

    retime: when the VM stopped running there, in seconds since 1970; 0 while it runs, or when it never did.
    """

    seq: int
    hostname: str
    hid: int
    ds_id: int
    tm_mad: str
    vm_mad: str
    action: int
    retime: int = 0


class VmSnapshot(NamedTuple):
    """A snapshot of the whole VM.

    hypervisor_id: what the driver answered when taking it, "" until then. time: when it was asked for.
    """

    id: int
    hypervisor_id: str
    name: str
    active: bool
    time: int = 0


class Vm(NamedTuple):
    """A VM.

    state, lcm_state: VmState and LcmState, or the bare number of one that is not known here.
    history: oldest first; documents that oned sends to drivers hold the newest only, `onevm show` all.
    context_disk_id: of the context image, which is not among `disks`; None without contextualisation.
    attributes: USER_TEMPLATE. template: the plain attributes of TEMPLATE. backup: BACKUP_CONFIG.
    backup_ids: of the images that hold its backups. pcis: devices of the host. graphics: its console.
    """

    id: int
    uid: int
    gid: int
    name: str
    state: int
    lcm_state: int
    deploy_id: str
    disks: tuple[Disk, ...]
    context_disk_id: int | None
    history: tuple[History, ...]
    snapshots: Mapping[int, tuple[Snapshot, ...]]
    vm_snapshots: tuple[VmSnapshot, ...]
    has_tpm: bool
    context: Attributes
    template: Attributes
    attributes: Attributes
    backup: Attributes
    backup_ids: tuple[int, ...]
    pcis: tuple[Pci, ...]
    graphics: Attributes

    @classmethod
    def parse(cls, document: bytes, source: str = "standard input") -> Vm:
        """The VM in a document: `<VM>` itself or the `<VM>` of driver action data."""
        root = parse(document, source)
        found = root if root.tag == "VM" else root.node("VM")
        if found is None:
            raise UsageError(f"{source} holds a {root.tag} and no VM")
        return cls.from_node(found)

    @classmethod
    def from_node(cls, node: Node) -> Vm:
        """The VM in a VM element."""
        vm_id = node.number("ID")
        node = node.named(f"VM {vm_id}")
        return cls(
            id=vm_id,
            uid=node.number("UID", -1),
            gid=node.number("GID", -1),
            name=node.text("NAME"),
            state=known(VmState, node.number("STATE", 0)),
            lcm_state=known(LcmState, node.number("LCM_STATE", 0)),
            deploy_id=node.text("DEPLOY_ID"),
            disks=tuple(Disk.from_node(each) for each in node.nodes("TEMPLATE/DISK")),
            context_disk_id=_context_disk_id(node),
            history=tuple(_history(each) for each in node.nodes("HISTORY_RECORDS/HISTORY")),
            snapshots={each.number("DISK_ID"): snapshots(each) for each in node.nodes("SNAPSHOTS")},
            vm_snapshots=tuple(_vm_snapshot(each) for each in node.nodes("TEMPLATE/SNAPSHOT")),
            has_tpm=bool(node.text("TEMPLATE/TPM/MODEL")),
            context=node.attributes("TEMPLATE/CONTEXT"),
            template=node.attributes("TEMPLATE"),
            attributes=node.attributes("USER_TEMPLATE"),
            backup=node.attributes("BACKUPS/BACKUP_CONFIG"),
            backup_ids=node.numbers("BACKUPS/BACKUP_IDS/ID"),
            pcis=tuple(Pci.from_node(each) for each in node.nodes("TEMPLATE/PCI")),
            graphics=node.attributes("TEMPLATE/GRAPHICS"),
        )

    def disk(self, disk_id: int) -> Disk:
        """The disk of that id; StateError when the VM has none."""
        for disk in self.disks:
            if disk.disk_id == disk_id:
                return disk
        there = ", ".join(str(disk.disk_id) for disk in self.disks) or "none"
        raise StateError(f"VM {self.id} has no disk {disk_id}; its disks are: {there}")

    def tm_mad_of(self, disk: Disk) -> str:
        """Whose a disk is. A volatile one is of the system datastore where the VM is, wherever it was made.

        That is how oned addresses its scripts (TransferManager.cc, trigger_prolog_migr).
        """
        return self.last.tm_mad if disk.is_volatile and self.history else disk.tm_mad

    @property
    def last(self) -> History:
        """Where the VM is, or was last; StateError when it was never deployed."""
        if not self.history:
            raise StateError(f"VM {self.id} was never deployed: it has no history record")
        return self.history[-1]

    @property
    def memory_mib(self) -> int:
        """The VM's memory, 0 when oned does not say."""
        text = self.template.get("MEMORY", "")
        return int(text) if text.isdigit() else 0

    def snapshots_of(self, disk_id: int) -> tuple[Snapshot, ...]:
        """The snapshots of a disk, in oned's order."""
        return self.snapshots.get(disk_id, ())

    def attribute(self, name: str) -> str:
        """An attribute of USER_TEMPLATE, "" when the VM does not have it."""
        return self.attributes.get(name, "")


def _context_disk_id(node: Node) -> int | None:
    text = node.text("TEMPLATE/CONTEXT/DISK_ID")
    return node.number("TEMPLATE/CONTEXT/DISK_ID") if text else None


def _history(node: Node) -> History:
    return History(
        seq=node.number("SEQ", 0),
        hostname=node.text("HOSTNAME"),
        hid=node.number("HID", -1),
        ds_id=node.number("DS_ID", -1),
        tm_mad=node.text("TM_MAD"),
        vm_mad=node.text("VM_MAD"),
        action=node.number("ACTION", 0),
        retime=node.number("RETIME", 0),
    )


def _vm_snapshot(node: Node) -> VmSnapshot:
    return VmSnapshot(
        id=node.number("SNAPSHOT_ID"),
        hypervisor_id=node.text("HYPERVISOR_ID"),
        name=node.text("NAME"),
        active=node.flag("ACTIVE"),
        time=node.number("TIME", 0),
    )
