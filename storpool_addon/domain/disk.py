"""A disk element of a domain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lxml.etree import _Element

# The last part of a disk's path in the VM's directory.
_DISK = re.compile(r"disk\.([0-9]{1,9})", re.ASCII)


class Disk(NamedTuple):
    """A `<disk>`."""

    element: _Element

    @property
    def type(self) -> str:
        """How the disk is reached: file, block, network; libvirt's default is file."""
        return str(self.element.get("type", "file"))

    @property
    def device(self) -> str:
        """What the guest sees: disk, cdrom, floppy, lun."""
        return str(self.element.get("device", "disk"))

    @property
    def source(self) -> str:
        """The path of its file or device, "" for an empty drive or a disk that is reached by network."""
        found = self.element.find("source")
        return "" if found is None else str(found.get("file") or found.get("dev") or "")

    @property
    def is_empty(self) -> bool:
        """Whether it is a drive with nothing in it."""
        return not self.source and self.type in ("file", "block")

    @property
    def disk_id(self) -> int | None:
        """OpenNebula's id: oned gives every disk the path `<directory of the VM>/disk.<id>`."""
        found = _DISK.fullmatch(self.source.rpartition("/")[2])
        return int(found[1]) if found else None

    @property
    def target(self) -> str:
        """The name of the device, such as vda; "" when there is none."""
        found = self.element.find("target")
        return "" if found is None else str(found.get("dev", ""))

    @property
    def bus(self) -> str:
        """The bus; libvirt takes it from the target's first letters when it is not written."""
        found = self.element.find("target")
        given = "" if found is None else str(found.get("bus", ""))
        return given or {"vd": "virtio", "sd": "scsi", "hd": "ide", "xv": "xen"}.get(self.target[:2], "")

    def driver(self, **attributes: str) -> None:
        """Set attributes of the disk's driver, which is made when it is absent."""
        found = self.element.find("driver")
        if found is None:
            from storpool_addon.domain.layout import insert

            found = insert(self.element, "driver", name="qemu", type="raw")
        for name, value in attributes.items():
            found.set(name, value)
