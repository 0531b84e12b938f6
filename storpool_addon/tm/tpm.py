"""The state of a VM's virtual TPM on a volume: what is left of it when its directory is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon import names
from storpool_addon.errors import AddonError, HostError, HostUnreachable, StateError
from storpool_addon.hosts import vtpm
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.vm import Vm
from storpool_addon.tm.own import Own
from storpool_addon.undo import Undo, uninterrupted
from storpool_addon.units import MIB

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

# swtpm's permanent state is some ten kB; the bash addon's volumes have this size.
SIZE = 4 * MIB


def is_kept(driver: Driver, vm: Vm) -> bool:
    """Whether the state of the VM's TPM is kept on a volume."""
    return vm.has_tpm and driver.config.one_tpm_save


def save(driver: Driver, vm: Vm, system: Datastore, place: Location) -> None:
    """The state in the VM's directory also on its volume; nothing to do where the directory has none."""
    if not is_kept(driver, vm):
        return
    state = Own.of(driver, vm, system, names.tpm)
    # Who comes second finds the directory as the first has left it: gone, in many a move.
    with driver.exclusive(state.volume):
        if vtpm.is_there(driver.hosts.on(place.host), place.directory):
            _save(driver, state, place)


def _save(driver: Driver, state: Own, place: Location) -> None:
    with Undo(driver.log) as undo:
        with uninterrupted():
            state.ensure(SIZE, "SWTPM")
            _attach(driver, state, undo, place.host)
        vtpm.save(driver.hosts.on(place.host), place.directory, state.reference, SIZE)
        state.volumes.release([state.volume])


def save_running(driver: Driver, vm: Vm, system: Datastore, place: Location) -> None:
    """Like `save`, of a guest that runs, so that it can be rescued later on.

    What fails is no obstacle: a live migration moves the state itself.
    """
    try:
        save_now(driver, vm, system, place)
    except AddonError as error:
        driver.log(f"{error}; the saved state of the TPM of VM {vm.id} is older than this")


def save_now(driver: Driver, vm: Vm, system: Datastore, place: Location) -> None:
    """Like `save`, of a guest that runs, whose state has to be there."""
    if not is_kept(driver, vm):
        return
    program = f"{driver.config.scripts_remote_dir}/vtpm_setup"
    vtpm.backup(driver.hosts.on(place.host), program, vm.deploy_id, place.directory)
    save(driver, vm, system, place)


def restore(driver: Driver, vm: Vm, system: Datastore, place: Location) -> None:
    """The state on the volume in the VM's directory; what is there and as new stays."""
    if not is_kept(driver, vm):
        return
    state = Own.of(driver, vm, system, names.tpm)
    with driver.exclusive(state.volume):
        if state.exists():
            _restore(driver, state, place)


def _restore(driver: Driver, state: Own, place: Location) -> None:
    with Undo(driver.log) as undo:
        with uninterrupted():
            _attach(driver, state, undo, place.host)
        try:
            vtpm.restore(driver.hosts.on(place.host), place.directory, state.reference, SIZE)
        except HostUnreachable:
            raise
        except HostError as error:
            raise StateError(
                f"the state of the TPM of VM {state.vm.id} on volume {state.volume} cannot be read"
                f" ({error.last_line}); delete the volume to start the VM without it"
            ) from None
        state.volumes.release([state.volume])


def _attach(driver: Driver, state: Own, undo: Undo, host: str) -> None:
    undo.add(f"detach volume {state.volume}", state.volumes.release, [state.volume])
    state.volumes.place([state.placement(driver, host)], force=True)
