"""Moving a VM that does not run: one table says what `mv` does in each state, one function does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.errors import StateError
from storpool_addon.hosts import vmdir
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.protocol import number, protocol
from storpool_addon.opennebula.states import LcmState
from storpool_addon.opennebula.vm import Vm
from storpool_addon.tm import disks, sharing
from storpool_addon.tm.disks import Subject
from storpool_addon.volumes import Placement

if TYPE_CHECKING:
    from storpool_addon.driver import Driver


class Plan(NamedTuple):
    """What happens to a VM's volumes and directory on its way from one host to another.

    attach: the volumes go to the target host and to no other; otherwise they leave every host.
    force: a device that is open elsewhere loses its volume. That is right where oned knows that the VM
    runs nowhere or its host is dead; else it might be a running guest, and the move is refused.
    copy: the directory goes along; without it the source host is not asked for anything.
    leaves_cloud: the VM rests on the front-end afterwards (SKIP_UNDEPLOY_SSH may leave its directory out).
    """

    attach: bool
    force: bool = False
    copy: bool = True
    leaves_cloud: bool = False


_ARRIVE = Plan(attach=True)
_REST = Plan(attach=False, force=True, leaves_cloud=True)
_RESCUE = Plan(attach=True, force=True, copy=False)

# oned repeats an action in the state's _FAILURE twin after `onevm recover --retry`.
PLANS: Mapping[LcmState, Plan] = {
    LcmState.PROLOG_MIGRATE: _ARRIVE,
    LcmState.PROLOG_MIGRATE_FAILURE: _ARRIVE,
    LcmState.PROLOG_MIGRATE_POWEROFF: _ARRIVE,
    LcmState.PROLOG_MIGRATE_POWEROFF_FAILURE: _ARRIVE,
    LcmState.PROLOG_MIGRATE_SUSPEND: _ARRIVE,
    LcmState.PROLOG_MIGRATE_SUSPEND_FAILURE: _ARRIVE,
    LcmState.PROLOG_RESUME: _ARRIVE,
    LcmState.PROLOG_RESUME_FAILURE: _ARRIVE,
    LcmState.PROLOG_UNDEPLOY: _ARRIVE,
    LcmState.PROLOG_UNDEPLOY_FAILURE: _ARRIVE,
    LcmState.EPILOG_STOP: _REST,
    LcmState.EPILOG_STOP_FAILURE: _REST,
    LcmState.EPILOG_UNDEPLOY: _REST,
    LcmState.EPILOG_UNDEPLOY_FAILURE: _REST,
    LcmState.PROLOG_MIGRATE_UNKNOWN: _RESCUE,
    LcmState.PROLOG_MIGRATE_UNKNOWN_FAILURE: _RESCUE,
}


@protocol(source=Location.parse, target=Location.parse, vm_id=number, datastore_id=number)
def mv(driver: Driver, source: Location, target: Location, vm_id: int, datastore_id: int) -> None:
    """A disk of a VM, or (a path without disk.N) the VM's directory, from one host to another."""
    vm = driver.one.vm(vm_id)
    plan = PLANS.get(vm.lcm_state) if isinstance(vm.lcm_state, LcmState) else None
    if plan is None:
        raise StateError(f"VM {vm_id} is in LCM state {vm.lcm_state}, in which its disks do not move")
    if target.disk_id is None:
        for place in (source, target):
            vmdir.check(place.path, vm_id)
        _move_home(driver, plan, vm, driver.one.datastore(datastore_id), source, target)
    else:
        _move_disk(driver, plan, disks.subject(driver, target, vm_id, datastore_id), source, target)


def _move_disk(driver: Driver, plan: Plan, disk: Subject, source: Location, target: Location) -> None:
    disk.volumes.owned(disk.volume)
    shared = sharing.is_shared(disk.disk)
    if not plan.attach:
        if shared:
            sharing.be_on(driver, disk, (), force=plan.force)
            return
        disk.volumes.release([disk.volume], force=plan.force)
        return
    client = driver.client_id(target.host, disk.vm, disk.datastore)
    if shared:
        sharing.be_on(driver, disk, {client}, force=plan.force)
    else:
        disk.volumes.place([disk.placement(client)], force=plan.force)
    vmdir.link(driver.hosts.on(target.host), [(target.path, disk.volume)])


def _move_home(
    driver: Driver, plan: Plan, vm: Vm, system: Datastore, source: Location, target: Location
) -> None:
    """The VM's own volumes, then its directory; copied first and removed last, so that no step loses it."""
    volumes = driver.volumes(system)
    own = disks.home_volumes(driver, vm, system)
    if plan.attach:
        client = driver.client_id(target.host, vm, system)
        volumes.place([Placement(name, client) for name in own], force=plan.force)
    else:
        volumes.release(own, force=plan.force)
    if plan.copy:
        _move_directory(driver, plan, system, source, target)


def _move_directory(
    driver: Driver, plan: Plan, system: Datastore, source: Location, target: Location
) -> None:
    config = driver.config.for_datastore(system)
    if source.host == target.host:
        if source.path != target.path:
            vmdir.move_within(driver.hosts.on(target.host), source.path, target.path)
        return
    if config.sp_system == "shared" and source.path == target.path:
        return
    stays = plan.leaves_cloud and config.skip_undeploy_ssh
    if not stays:
        vmdir.copy_to(driver.hosts.on(source.host), source.path, target.host, target.path)
    if not stays or config.clean_src_on_undeploy:
        vmdir.remove(driver.hosts.on(source.host), source.path)
