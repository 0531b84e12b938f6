"""scsi-queues: a queue for each CPU on SCSI controllers, and on virtio disks."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.drivers import driver_of, scsi_controllers
from storpool_addon.domain.layout import insert
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Set as many queues as the guest has CPUs."""
    queues = str(domain.vcpus)
    if domain.find("devices/controller[@type='scsi']") is None:
        insert(domain.ensure("devices"), "controller", type="scsi", index="0", model="virtio-scsi")
    for controller in scsi_controllers(domain):
        driver_of(controller).set("queues", queues)
    if config.t_blk_queues:
        for disk in domain.disks:
            if disk.bus == "virtio":
                disk.driver(queues=queues)


TWEAK = Tweak(
    name="scsi-queues",
    doc="As many queues as the guest has CPUs, so that each can have its own I/O under way.",
    change=(
        "`driver/@queues` of each virtio SCSI controller is the number of CPUs; a domain without any SCSI"
        " controller gets one, `model='virtio-scsi'`. With `T_BLK_QUEUES` also `driver/@queues` of each"
        " virtio disk."
    ),
    keys=(Config.t_blk_queues,),
    apply=apply,
)
