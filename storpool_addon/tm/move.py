"""Moving a VM that does not run: its disks one by one, then its directory with what is the VM's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon.hosts import vmdir
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.location import Location
from storpool_addon.opennebula.protocol import number, protocol
from storpool_addon.opennebula.vm import TM_MAD, Vm
from storpool_addon.tm import cdrom, checkpoint, disks, home, sharing, tpm
from storpool_addon.tm.disks import Subject
from storpool_addon.tm.plans import Plan, plan_of

if TYPE_CHECKING:
    from storpool_addon.driver import Driver


@protocol(source=Location.parse, target=Location.parse, vm_id=number, datastore_id=number)
def mv(driver: Driver, source: Location, target: Location, vm_id: int, datastore_id: int) -> None:
    """A disk of a VM, or (a path without disk.N) the VM's directory, from one host to another."""
    vm = driver.one.vm(vm_id)
    plan = plan_of(vm)
    if target.disk_id is None:
        for place in (source, target):
            vmdir.check(place.path, vm_id)
        _move_home(driver, plan, vm, driver.one.datastore(datastore_id), source, target)
    elif vm.tm_mad_of(vm.disk(target.disk_id)) not in ("", TM_MAD):
        # On resume OpenNebula 7.2 and later ask the driver of the VM's directory to move FILESYSTEM disks.
        driver.log(f"disk {target.disk_id} of VM {vm_id} is another driver's; nothing is moved")
    else:
        _move_disk(driver, plan, disks.subject(driver, target, vm_id, datastore_id), source, target)


def _move_home(
    driver: Driver, plan: Plan, vm: Vm, system: Datastore, source: Location, target: Location
) -> None:
    """The directory, and what is on volumes of it: saved before anything leaves, restored at the end."""
    left = home.left_behind(driver, vm, system) if plan.attach else None
    if plan.copy and not plan.returns:
        tpm.save(driver, vm, system, source)
    home.move(driver, plan, vm, system, source, target)
    if plan.returns or not plan.copy:
        tpm.restore(driver, vm, system, target)
    if plan.returns and plan.saved_memory:
        checkpoint.take_out_archive(driver, vm, system, target)
    if left:
        volumes, context = left
        for name in context:
            volumes.delete(name, keep=False)


def _move_disk(driver: Driver, plan: Plan, disk: Subject, source: Location, target: Location) -> None:
    image = cdrom.replaces(cdrom.volume_of(driver, disk))
    if plan.attach:
        _arrive(driver, plan, disk, source, target)
    elif sharing.is_shared(disk.disk):
        sharing.set_clients(driver, disk, (), force=plan.force)
    else:
        disk.volumes.release([disk.volume], force=plan.force)
    if image:
        if source.host != target.host:
            cdrom.detach_image(driver, disk, image, source.host, force=plan.force)
        cdrom.unmark(disk)


def _arrive(driver: Driver, plan: Plan, disk: Subject, source: Location, target: Location) -> None:
    client = driver.client_id(target.host, disk.vm, disk.datastore)
    if sharing.is_shared(disk.disk):
        sharing.set_clients(driver, disk, {client}, force=plan.force)
    else:
        disk.volumes.place([disk.placement(client)], force=plan.force)
        if source.directory != target.directory:
            _adopt(driver, disk)
    vmdir.link(driver.hosts.on(target.host), [(target.path, disk.reference)])


def _adopt(driver: Driver, disk: Subject) -> None:
    """Another system datastore asks for another class, and for another template of what is its own."""
    template = disks.template_of(disk) if disk.disk.is_volatile else None
    disk.volumes.adopt(disk.volume, template, disks.tags_of(driver, disk)["qc"])
