"""Growing a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.protocol import number, protocol
from storpool_addon.opennebula.states import LcmState
from storpool_addon.tm import disks

if TYPE_CHECKING:
    from storpool_addon.driver import Driver


@protocol(target=Location.parse, size_mib=number, vm_id=number, datastore_id=number)
def resize(driver: Driver, target: Location, size_mib: int, vm_id: int, datastore_id: int) -> None:
    """Grow the disk's volume; for a running VM, once its host knows the new size (libvirt is told next)."""
    disk = disks.subject(driver, target, vm_id, datastore_id)
    size = disks.size_of(disk, size_mib)
    disk.volumes.grow(disk.volumes.owned(disk.volume), size)
    if disk.vm.lcm_state == LcmState.DISK_RESIZE:
        disk.volumes.api.client_config_wait(driver.client_id(target.host, disk.vm, disk.datastore))
