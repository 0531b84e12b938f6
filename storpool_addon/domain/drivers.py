"""The `<driver>` of a device, and the devices that take queues and I/O threads in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon.domain.document import Domain
from storpool_addon.domain.layout import insert

if TYPE_CHECKING:
    from lxml.etree import _Element

# Of the SCSI controllers that libvirt knows, only these take queues and I/O threads; it refuses a domain that
# has them on another.
_VIRTIO = ("virtio-scsi", "virtio-transitional", "virtio-non-transitional")


def scsi_controllers(domain: Domain) -> list[_Element]:
    """The virtio SCSI controllers."""
    found = domain.all("devices/controller[@type='scsi']")
    return [each for each in found if each.get("model") in _VIRTIO]


def driver_of(device: _Element) -> _Element:
    """The driver of a device, made when it is absent."""
    found = device.find("driver")
    return insert(device, "driver") if found is None else found
