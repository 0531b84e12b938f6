"""disable-iothreads: a migration to a host where disks have no I/O threads."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.drivers import scsi_controllers
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Take the I/O threads from virtio disks and SCSI controllers."""
    disks = [each.element for each in domain.disks if each.bus == "virtio"]
    for device in (*disks, *scsi_controllers(domain)):
        driver = device.find("driver")
        if driver is None or not driver.attrib.pop("iothread", ""):
            continue
        # libvirt forgets a driver that says nothing, and then refuses the migration because the target lacks
        # one (virDomainVirtioOptionsCheckABIStability); this is what QEMU does anyway.
        if not driver.attrib and not len(driver):
            driver.set("ioeventfd", "on")


TWEAK = Tweak(
    name="disable-iothreads",
    doc="Takes disks off their I/O threads on a migration.",
    change=(
        "`driver/@iothread` of virtio disks and virtio SCSI controllers goes; `ioeventfd='on'`, QEMU's"
        " default, takes its place in a driver that says nothing else. The threads themselves, in"
        " `<iothreads>`, stay."
    ),
    keys=(),
    apply=apply,
)
