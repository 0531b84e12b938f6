"""What belongs to a VM itself and moves with it: its own volumes, and its directory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from storpool_addon import names, qos
from storpool_addon.hosts import transfer, vmdir
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.vm import Vm
from storpool_addon.tm import disks, tpm
from storpool_addon.tm.plans import Plan
from storpool_addon.volumes import Placement

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
