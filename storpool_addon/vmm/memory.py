"""The memory of a guest as a part of a VM snapshot: on a volume for as long as that takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from storpool_addon import names, qos, tags
from storpool_addon.errors import AddonError, StateError
from storpool_addon.hosts import vmdir
from storpool_addon.hosts.guest import Guest
from storpool_addon.hosts.saved import saved
from storpool_addon.opennebula.vm import TM_MAD
from storpool_addon.opennebula.xml import is_true
from storpool_addon.tm import checkpoint
from storpool_addon.tm.remove import WITH_MEMORY
from storpool_addon.undo import uninterrupted
from storpool_addon.volumes import Placement

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.vmm.whole import Whole


def wanted(driver: Driver, vm: Whole) -> bool:
    """Whether the VM's user wants it; StateError when there is no place for it beside the disks."""
    if not is_true(vm.vm.attribute(WITH_MEMORY)):
        return False
    there = vm.system.tm_mad == TM_MAD and driver.volumes(vm.system).api is vm.volumes.api
    if not there:
        raise StateError(
            f"{WITH_MEMORY} of VM {vm.vm.id}: its system datastore {vm.system.id} is not in the StorPool"
            " cluster of its disks; take the attribute away"
        )
    return True


def volume(vm: Whole) -> str:
    """Where it is meanwhile."""
    return names.memory(vm.config.one_px, vm.vm.id)


@contextmanager
def kept(driver: Driver, vm: Whole, deploy_id: str) -> Iterator[None]:
    """With the guest's memory on its volume, and the guest at rest; it goes on afterwards, whatever fails."""
    name, volumes, shell = volume(vm), driver.volumes(vm.system), driver.hosts.on(vm.place.host)
    qc = qos.of_vm(vm.config, vm.vm, vm.system)
    own = tags.vm_disk(vm.config, vm.vm, type="CHKPNT", qc=qc)
    size, template = checkpoint.size_of_memory(vm.vm), names.template(vm.config.one_px, vm.system.id)
    client = driver.client_id(vm.place.host, vm.vm, vm.system)
    try:
        with uninterrupted():
            volumes.ensure(name, size=size, template=template, tags=own)
            volumes.place([Placement(name, client)])
        with saved(driver.processes, shell, deploy_id, vmdir.device(volumes.api.reference(name))):
            yield
    finally:
        forget(driver, vm, deploy_id)


def forget(driver: Driver, vm: Whole, deploy_id: str) -> None:
    """Delete the volume once the guest runs; until then it may be all that is left of it."""
    name, volumes = volume(vm), driver.volumes(vm.system)
    try:
        if volumes.find(name) is None:
            return
        if Guest(driver.hosts.on(vm.place.host), deploy_id, "").runs():
            volumes.delete(name, keep=False, force=False)
        else:
            driver.log(f"the guest of VM {vm.vm.id} does not run; volume {name} with its memory stays")
    except AddonError as error:
        driver.log(f"{error}; volume {name} is left for the next VM snapshot")
