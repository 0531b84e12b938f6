"""The memory of a guest as a part of a VM snapshot: on a volume for as long as that takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from storpool_addon import names
from storpool_addon.errors import AddonError, StateError
from storpool_addon.hosts import vmdir
from storpool_addon.hosts.guest import Guest
from storpool_addon.hosts.saved import saved
from storpool_addon.opennebula.vm import TM_MAD
from storpool_addon.opennebula.xml import is_true
from storpool_addon.tm import checkpoint
from storpool_addon.tm.own import Own
from storpool_addon.tm.remove import WITH_MEMORY
from storpool_addon.undo import uninterrupted

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
    memory = Own.of(driver, vm.vm, vm.system, names.memory)
    size, there = checkpoint.size_of_memory(vm.vm), memory.placement(driver, vm.place.host)
    shell = driver.hosts.on(vm.place.host)
    try:
        with uninterrupted():
            memory.ensure(size, "CHKPNT")
            memory.volumes.place([there])
        with saved(driver.processes, shell, deploy_id, vmdir.device(memory.reference)):
            yield
    finally:
        forget(driver, vm, deploy_id)


def forget(driver: Driver, vm: Whole, deploy_id: str) -> None:
    """Delete the volume once the guest runs; until then it may be all that is left of it."""
    memory = Own.of(driver, vm.vm, vm.system, names.memory)
    try:
        if not memory.exists():
            return
        if Guest(driver.hosts.on(vm.place.host), deploy_id, "").runs():
            memory.volumes.delete(memory.volume, keep=False, force=False)
        else:
            driver.log(
                f"the guest of VM {vm.vm.id} does not run; volume {memory.volume} with its memory stays"
            )
    except AddonError as error:
        driver.log(f"{error}; volume {memory.volume} is left for the next VM snapshot")
