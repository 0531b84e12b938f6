"""What belongs to a VM itself and moves with it: its own volumes, and its directory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from storpool_addon import names, qos
from storpool_addon.errors import StateError
from storpool_addon.hosts import transfer, vmdir
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.vm import TM_MAD, Vm
from storpool_addon.tm import disks, tpm
from storpool_addon.tm.plans import Plan
from storpool_addon.volumes import Placement, Volumes

if TYPE_CHECKING:
    from storpool_addon.driver import Driver


def move(driver: Driver, plan: Plan, vm: Vm, system: Datastore, source: Location, target: Location) -> None:
    """The VM's own volumes, then its directory; copied first and removed last, so that no step loses it."""
    own = disks.home_volumes(driver, vm, system)
    if plan.attach:
        _attach(driver, plan, vm, system, own, target)
        if source.path != target.path:
            _adopt(driver, vm, system, own)
    else:
        driver.volumes(system).release(own, force=plan.force)
    if driver.config.for_datastore(system).sp_system == "shared" and source.path == target.path:
        return
    if plan.copy:
        _move_directory(driver, _stays(driver, plan, vm, system, own), system, source, target)
    else:
        driver.log(f"{source} is left behind, with all that was saved there and not on a volume")


def left_behind(driver: Driver, vm: Vm, system: Datastore) -> tuple[Volumes, list[str]] | None:
    """What of the VM's own is on the StorPool of the system datastore that it leaves, and not on its new one.

    That can only be the context image, which is made anew as the VM starts; StateError for any other.
    """
    if len(vm.history) < 2 or vm.history[-2].ds_id == system.id or vm.history[-2].tm_mad != TM_MAD:
        return None
    old = driver.one.datastore(vm.history[-2].ds_id)
    there, here = driver.volumes(old), driver.volumes(system)
    if there.api is here.api:
        return None
    config = there.config.for_vm(vm)
    wanted = disks.home_volume_names(config, vm) + ([names.tpm(config.one_px, vm.id)] if vm.has_tpm else [])
    found = [name for name in wanted if _is_only_there(name, there, here)]
    others = [name for name in found if not names.is_context(config.one_px, name)]
    if others:
        raise StateError(
            f"{', '.join(others)} of VM {vm.id} cannot leave the StorPool cluster of system datastore"
            f" {old.id}; datastore {system.id} is on another: choose one on the same"
        )
    return there, found


def _is_only_there(name: str, there: Volumes, here: Volumes) -> bool:
    """One cluster may have two addresses, and clusters may be joined."""
    volume = there.find(name)
    if volume is None:
        return False
    same = here.look(name)
    return same is None or same.global_id != volume.global_id


def _attach(
    driver: Driver, plan: Plan, vm: Vm, system: Datastore, own: Sequence[str], target: Location
) -> None:
    client = driver.client_id(target.host, vm, system)
    driver.volumes(system).place([Placement(name, client) for name in own], force=plan.force)


def _adopt(driver: Driver, vm: Vm, system: Datastore, own: Sequence[str]) -> None:
    """The VM has come from another system datastore."""
    volumes = driver.volumes(system)
    config = volumes.config.for_vm(vm)
    template = None if config.no_volume_template else names.template(config.one_px, system.id)
    for name in own:
        volumes.adopt(name, template, qos.of_vm(config, vm, system))


def _stays(driver: Driver, plan: Plan, vm: Vm, system: Datastore, own: Sequence[str]) -> bool:
    """Whether the site wants the directory left out; never while it has the only memory or TPM."""
    config = driver.config.for_datastore(system)
    if not (plan.leaves_cloud and config.skip_undeploy_ssh):
        return False
    if vm.has_tpm and not tpm.is_kept(driver, vm):
        return False
    # A save that failed may have left its volume: that alone does not say where the memory is.
    on_volume = config.checkpoint_on_volume and names.checkpoint(config.one_px, vm.id) in own
    return on_volume or not plan.saved_memory


def _move_directory(
    driver: Driver, stays: bool, system: Datastore, source: Location, target: Location
) -> None:
    there = driver.hosts.on(source.host)
    if source.host == target.host:
        if source.path != target.path:
            transfer.move_within(there, source.path, target.path)
        return
    if not stays and not transfer.copy_to(there, source.path, target.host, target.path):
        driver.log(f"{source.path} is one directory on both hosts; SP_SYSTEM=shared would say so")
        return
    if not stays or driver.config.for_datastore(system).clean_src_on_undeploy:
        vmdir.remove(there, source.path)
