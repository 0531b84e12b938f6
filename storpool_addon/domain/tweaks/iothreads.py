"""iothreads: one thread of QEMU does the I/O of all disks."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.drivers import driver_of, scsi_controllers
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm

_THREAD = "1"
# libvirt refuses native I/O on disks that the host caches.
_UNCACHED = ("none", "directsync")


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Have an I/O thread, and give it all virtio disks and SCSI controllers."""
    override = config.t_iothreads_override
    if override is False or (override is None and domain.find("iothreads") is not None):
        return
    domain.set("iothreads", _THREAD)
    for disk in domain.disks:
        if disk.bus == "virtio":
            disk.driver(iothread=_THREAD)
            if driver_of(disk.element).get("cache") in _UNCACHED:
                disk.driver(io="native")
    for controller in scsi_controllers(domain):
        driver_of(controller).set("iothread", _THREAD)


TWEAK = Tweak(
    name="iothreads",
    doc="A thread of its own in QEMU does the I/O of virtio disks.",
    change=(
        "`<iothreads>1`; `iothread='1'` in the driver of each virtio disk and each virtio SCSI controller,"
        " and `io='native'` for those of the disks with `cache='none'` or `directsync`. A VM that has"
        " `<iothreads>` by its template is left alone unless `T_IOTHREADS_OVERRIDE` is 1; with 0 every VM"
        " is."
    ),
    keys=(Config.t_iothreads_override,),
    apply=apply,
)
