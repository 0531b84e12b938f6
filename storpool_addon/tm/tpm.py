"""The state of a VM's virtual TPM on a volume: what is left of it when its directory is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon import names, qos, tags
from storpool_addon.errors import AddonError, HostError, HostUnreachable, StateError
from storpool_addon.hosts import vtpm
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.vm import Vm
from storpool_addon.undo import Undo, uninterrupted
from storpool_addon.units import MIB
from storpool_addon.volumes import Placement, Volumes

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
    volumes = driver.volumes(system)
    name = names.tpm(volumes.config.one_px, vm.id)
    # Who comes second finds the directory as the first has left it: gone, in many a move.
    with driver.exclusive(name):
        if vtpm.is_there(driver.hosts.on(place.host), place.directory):
            _save(driver, volumes, vm, system, name, place)


def _save(driver: Driver, volumes: Volumes, vm: Vm, system: Datastore, name: str, place: Location) -> None:
    config = volumes.config.for_vm(vm)
    template = names.template(config.one_px, system.id)
    wanted = tags.vm_disk(config, vm, type="SWTPM", qc=qos.of_vm(config, vm, system))
    with Undo(driver.log) as undo:
        with uninterrupted():
            volumes.ensure(name, size=SIZE, template=template, tags=wanted)
            _attach(driver, volumes, undo, vm, system, name, place.host)
        vtpm.save(driver.hosts.on(place.host), place.directory, volumes.api.reference(name), SIZE)
        volumes.release([name])


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
    volumes = driver.volumes(system)
    name = names.tpm(volumes.config.one_px, vm.id)
    with driver.exclusive(name):
        if volumes.find(name) is not None:
            _restore(driver, volumes, vm, system, name, place)


def _restore(driver: Driver, volumes: Volumes, vm: Vm, system: Datastore, name: str, place: Location) -> None:
    with Undo(driver.log) as undo:
        with uninterrupted():
            _attach(driver, volumes, undo, vm, system, name, place.host)
        try:
            vtpm.restore(driver.hosts.on(place.host), place.directory, volumes.api.reference(name), SIZE)
        except HostUnreachable:
            raise
        except HostError as error:
            raise StateError(
                f"the state of the TPM of VM {vm.id} on volume {name} cannot be read ({error.last_line});"
                " delete the volume to start the VM without it"
            ) from None
        volumes.release([name])


def _attach(
    driver: Driver, volumes: Volumes, undo: Undo, vm: Vm, system: Datastore, name: str, host: str
) -> None:
    undo.add(f"detach volume {name}", volumes.release, [name])
    volumes.place([Placement(name, driver.client_id(host, vm, system))], force=True)
