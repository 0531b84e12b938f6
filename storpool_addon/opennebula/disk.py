"""A disk of a VM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from storpool_addon.errors import UsageError
from storpool_addon.opennebula.xml import Attributes, Node, is_true

# The attributes that `Disk.brief` reads.
BRIEF = ("DISK_ID", "TYPE", "IMAGE_ID", "SOURCE", "CLONE", "DATASTORE_ID", "TM_MAD")


class Disk(NamedTuple):
    """A DISK of a VM's template.

    type: FILE, BLOCK, CDROM, FS, SWAP, …, in upper case. clone: True for a private copy of an image, False
    for the image itself, None for a volatile disk. image_id: None for a volatile disk. source: the image's
    SOURCE. size_mib, original_size_mib: 0 when oned does not say. attributes: all of them.
    """

    disk_id: int
    type: str
    disk_type: str
    image_id: int | None
    source: str
    clone: bool | None
    save: bool
    readonly: bool
    persistent: bool
    shareable: bool
    size_mib: int
    original_size_mib: int
    datastore_id: int
    cluster_id: int
    tm_mad: str
    tm_mad_system: str
    format: str
    driver: str
    fs: str
    target: str
    dev_prefix: str
    attributes: Attributes

    @classmethod
    def from_node(cls, node: Node) -> Disk:
        """The disk in a DISK element."""
        disk_id = node.number("DISK_ID")
        node = node.named(f"disk {disk_id} of {node.name}")
        return cls(
            disk_id=disk_id,
            type=node.text("TYPE").upper(),
            disk_type=node.text("DISK_TYPE").upper(),
            image_id=node.number("IMAGE_ID") if node.text("IMAGE_ID") else None,
            source=node.text("SOURCE"),
            clone=node.flag("CLONE") if node.text("CLONE") else None,
            save=node.flag("SAVE"),
            readonly=node.flag("READONLY"),
            persistent=node.flag("PERSISTENT"),
            shareable=node.flag("SHAREABLE"),
            size_mib=node.size_mib("SIZE"),
            original_size_mib=node.size_mib("ORIGINAL_SIZE"),
            datastore_id=node.number("DATASTORE_ID", -1),
            cluster_id=node.number("CLUSTER_ID", -1) if node.text("CLUSTER_ID").isdigit() else -1,
            tm_mad=node.text("TM_MAD"),
            tm_mad_system=node.text("TM_MAD_SYSTEM"),
            format=node.text("FORMAT"),
            driver=node.text("DRIVER"),
            fs=node.text("FS"),
            target=node.text("TARGET"),
            dev_prefix=node.text("DEV_PREFIX"),
            attributes=node.attributes(),
        )

    @classmethod
    def brief(cls, vm_id: int, values: Mapping[str, str]) -> Disk:
        """What names the disk's volume, of a pool of many VMs; all else is as if oned had not said it."""
        get = values.get
        number = get("DISK_ID", "").strip()
        if not (number.isascii() and number.isdigit()):
            raise UsageError(f"VM {vm_id}: a disk has no DISK_ID that is a number")
        image, datastore = get("IMAGE_ID", "").strip(), get("DATASTORE_ID", "").strip()
        kind, source, clone, tm_mad = get("TYPE", ""), get("SOURCE", ""), get("CLONE", ""), get("TM_MAD", "")
        image_id = int(image) if image.isdecimal() else None
        private = is_true(clone) if clone else None
        # In the order of the fields: their names would take as long as all the rest.
        return cls._make((
            int(number), kind.strip().upper(), "", image_id, source.strip(), private,
            False, False, False, False, 0, 0, int(datastore) if datastore.isdecimal() else -1, -1,
            tm_mad.strip(), "", "", "", "", "", "", _UNSAID,
        ))  # fmt: skip

    @property
    def is_volatile(self) -> bool:
        """Whether the disk has no image: oned writes neither CLONE nor IMAGE_ID for those."""
        return self.clone is None and self.image_id is None

    @property
    def is_swap(self) -> bool:
        """Whether it is a volatile swap disk."""
        return self.type == "SWAP"

    @property
    def is_cdrom(self) -> bool:
        """Whether the guest sees a CD drive (BLOCK_CDROM comes from DISK_TYPE_<TM> of the datastore)."""
        return self.type.endswith("CDROM")

    @property
    def is_persistent(self) -> bool:
        """Whether what the VM writes is written to the image."""
        return self.clone is False and not self.is_immutable and not self.is_cdrom

    @property
    def is_immutable(self) -> bool:
        """Whether the VM reads the image itself and never writes it: CLONE=NO, SAVE=NO, READONLY=YES."""
        return self.clone is False and not self.save and self.readonly

    @property
    def is_shared(self) -> bool:
        """Whether the disk is an image that other VMs may have too: SHAREABLE or IMMUTABLE.

        oned writes for the first SHAREABLE=YES, for the second SAVE=NO and READONLY=YES with CLONE=NO, which
        a CDROM has as well (Image.cc, disk_attribute).
        """
        return self.clone is False and not self.is_cdrom and (self.shareable or self.is_immutable)

    @property
    def has_own_volume(self) -> bool:
        """Whether the VM has a volume of its own: a volatile disk, a clone, or its copy of a CDROM."""
        return self.is_volatile or bool(self.clone) or self.is_cdrom

    def attribute(self, name: str) -> str:
        """An attribute by OpenNebula's name, "" when the disk does not have it."""
        return self.attributes.get(name, "")

    def flagged(self, name: str) -> bool:
        """Whether oned marked the disk: ATTACH, RESIZE, DISK_SNAPSHOT_ACTIVE, HOTPLUG_SAVE_AS_ACTIVE, …"""
        return is_true(self.attribute(name))


# Nobody changes it.
_UNSAID = Attributes()
