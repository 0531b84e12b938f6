"""The documents that oned gives to datastore scripts and to VMM scripts."""

from __future__ import annotations

from typing import NamedTuple

from storpool_addon.errors import UsageError
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.image import Image
from storpool_addon.opennebula.vm import Vm
from storpool_addon.opennebula.xml import Attributes, Node, parse


class DatastoreAction(NamedTuple):
    """DS_DRIVER_ACTION_DATA: what a datastore script is to act on.

    image: None for `monitor`. monitor_vm_disks: for the `monitor` of a system datastore. marketplace: of an
    app that is imported. template: the options of `restore`.
    """

    datastore: Datastore
    image: Image | None
    vm: Vm | None
    monitor_vm_disks: bool
    marketplace: Attributes
    template: Attributes

    @classmethod
    def parse(cls, document: bytes) -> DatastoreAction:
        """The document on standard input; UsageError when it is another one."""
        root = _root(document, "DS_DRIVER_ACTION_DATA")
        image, vm = root.node("IMAGE"), root.node("VM")
        return cls(
            datastore=Datastore.from_node(root.required("DATASTORE")),
            image=Image.from_node(image) if image else None,
            vm=Vm.from_node(vm) if vm else None,
            monitor_vm_disks=root.flag("MONITOR_VM_DISKS"),
            marketplace=root.attributes("MARKETPLACE/TEMPLATE"),
            template=root.attributes("TEMPLATE"),
        )

    @property
    def the_image(self) -> Image:
        """The image; UsageError when the document has none."""
        if self.image is None:
            raise UsageError("standard input has no IMAGE, which this action needs")
        return self.image


class VmmAction(NamedTuple):
    """VMM_DRIVER_ACTION_DATA: what a VMM script is to act on. datastore: the system datastore, decrypted."""

    vm: Vm
    datastore: Datastore | None

    @classmethod
    def parse(cls, document: bytes) -> VmmAction:
        """The document on standard input; UsageError when it is another one."""
        root = _root(document, "VMM_DRIVER_ACTION_DATA")
        datastore = root.node("DATASTORE")
        return cls(
            vm=Vm.from_node(root.required("VM")),
            datastore=Datastore.from_node(datastore) if datastore else None,
        )

    def of(self, vm_id: int) -> tuple[Vm, Datastore]:
        """The VM and its system datastore; UsageError when the document is about another VM."""
        if self.vm.id != vm_id or self.datastore is None:
            raise UsageError(f"standard input is not about VM {vm_id} and its system datastore")
        return self.vm, self.datastore


def _root(document: bytes, tag: str) -> Node:
    root = parse(document)
    if root.tag != tag:
        raise UsageError(f"standard input holds a {root.tag[:60]}, not a {tag}")
    return root
