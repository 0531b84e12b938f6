"""Which disks of a domain are volumes of this driver."""

from __future__ import annotations

from storpool_addon.domain.disk import Disk
from storpool_addon.opennebula.vm import TM_MAD, Vm


def is_ours(disk: Disk, vm: Vm) -> bool:
    """Whether the disk is a volume: the context image and volatile disks are where the VM is."""
    system = vm.last.tm_mad if vm.history else ""
    if disk.disk_id is None:
        return False
    if disk.disk_id == vm.context_disk_id:
        return system == TM_MAD
    return any(vm.tm_mad_of(each) == TM_MAD for each in vm.disks if each.disk_id == disk.disk_id)
