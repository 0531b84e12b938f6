"""VMs as a look at the policies of all volumes needs them: read from a pool faster than whole records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from storpool_addon.errors import AddonError, OpenNebulaError
from storpool_addon.opennebula.disk import BRIEF, Disk
from storpool_addon.opennebula.states import VmState
from storpool_addon.opennebula.usage import system_datastore
from storpool_addon.opennebula.xml import Attributes, Node, Vector, is_true, parse

_PARTS = ("ID", "STATE", "TEMPLATE", "USER_TEMPLATE", "HISTORY_RECORDS")
_ASKED = ("VC_POLICY", "SP_QOSCLASS")
_MODES = ("SAVE", "READONLY", "SHAREABLE")
_NAMES = (*_PARTS, "DISK", "CONTEXT", "HISTORY", *BRIEF, *_MODES, *_ASKED, "DS_ID")


class VmPolicy(NamedTuple):
    """A VM's disks, and what it asks for. datastore_id: its system datastore, -1 if it was never deployed.

    context_disk_id: -1 without contextualisation. attributes: those of USER_TEMPLATE that are policies.
    """

    id: int
    state: int
    datastore_id: int
    context_disk_id: int
    disks: dict[int, Disk]
    attributes: Attributes

    @classmethod
    def parse(cls, document: bytes) -> VmPolicy:
        """The VM in a document as `onevm show -x` prints it."""
        return cls.from_node(parse(document, "the answer to one.vm.info", OpenNebulaError))

    @classmethod
    def from_node(cls, node: Node) -> VmPolicy:
        """The VM in a VM element."""
        vm_id = state = datastore_id = context = -1
        disks: dict[int, Disk] = {}
        attributes = Attributes()
        for tag, text, vectors in node.walk(*_NAMES):
            if tag == "ID":
                vm_id = node.whole(tag, text)
            elif tag == "STATE":
                state = node.whole(tag, text)
            elif tag == "TEMPLATE":
                disks = {disk.disk_id: disk for disk in _disks(vm_id, vectors)}
                context = _context(node, vectors)
            elif tag == "USER_TEMPLATE":
                attributes = Attributes((kind, text.strip()) for kind, text, _ in vectors if kind in _ASKED)
            elif tag == "HISTORY_RECORDS":
                datastore_id = system_datastore(vectors)
        if vm_id < 0:
            raise OpenNebulaError("a VM has no ID")
        return cls(vm_id, state, datastore_id, context, disks, attributes)

    @property
    def has_volumes(self) -> bool:
        """Whether it may have any: it was deployed, and is not done."""
        return self.datastore_id >= 0 and self.state != VmState.DONE


def _disks(vm_id: int, vectors: list[Vector]) -> Iterator[Disk]:
    for kind, _, values in vectors:
        if kind != "DISK":
            continue
        save, readonly, shareable = [is_true(values.get(key, "")) for key in _MODES]
        disk = Disk.brief(vm_id, values)
        # A copy of the record takes a tenth of all the time, and most disks are none of these.
        plain = not (save or readonly or shareable)
        yield disk if plain else disk._replace(save=save, readonly=readonly, shareable=shareable)


def _context(node: Node, vectors: list[Vector]) -> int:
    for kind, _, values in vectors:
        if kind == "CONTEXT" and "DISK_ID" in values:
            return node.whole("DISK_ID", values["DISK_ID"])
    return -1


def policies(page: Node) -> Iterator[VmPolicy | AddonError]:
    """The VMs of a pool, in its order; in the place of one that cannot be read, why."""
    for node in page.nodes("VM"):
        try:
            yield VmPolicy.from_node(node)
        except AddonError as error:
            yield type(error)(f"VM {node.text('ID') or 'without an ID'}: {error}")
