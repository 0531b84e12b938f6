"""What people do with VMs, as the scripts that oned and its VM driver run for it, in their order.

The order and the arguments are those of OpenNebula 7.4 (TransferManager.cc, one_vmm_exec.rb), which have
not changed since 6.10.
"""

from __future__ import annotations

from storpool_addon.lab import machine
from storpool_addon.lab.command import Command, StepFailed, Steps, tolerated
from storpool_addon.lab.hypervisor import Driver, NoDriver
from storpool_addon.lab.machine import RUNNING, Vm, Volatile, is_volatile
from storpool_addon.lab.objects import Datastore, Image
from storpool_addon.lab.oned import Oned
from storpool_addon.lab.pool import Pool
from storpool_addon.lab.transfers import Transfers, WriteFile

PROLOG, BOOT, MIGRATE, PROLOG_MIGRATE, PROLOG_RESUME, EPILOG_STOP, EPILOG = 1, 2, 4, 8, 9, 10, 11
SHUTDOWN, BOOT_FAILURE = 12, 36
CLEANUP_RESUBMIT, HOTPLUG, CLEANUP_DELETE, EPILOG_UNDEPLOY, PROLOG_UNDEPLOY = 15, 17, 23, 30, 31
HOTPLUG_PROLOG_POWEROFF, HOTPLUG_EPILOG_POWEROFF, PROLOG_FAILURE, EPILOG_FAILURE = 33, 34, 39, 40
PROLOG_MIGRATE_POWEROFF, PROLOG_MIGRATE_SUSPEND, PROLOG_MIGRATE_UNKNOWN = 43, 45, 60
DISK_RESIZE, DISK_RESIZE_POWEROFF, DISK_RESIZE_UNDEPLOYED = 62, 63, 64
_COLD = {
    machine.POWEROFF: PROLOG_MIGRATE_POWEROFF,
    machine.SUSPENDED: PROLOG_MIGRATE_SUSPEND,
    machine.ACTIVE: PROLOG_MIGRATE,
}
_RESIZE = {
    machine.ACTIVE: DISK_RESIZE,
    machine.POWEROFF: DISK_RESIZE_POWEROFF,
    machine.UNDEPLOYED: DISK_RESIZE_UNDEPLOYED,
}


class Machines:
    """Each method gives the scripts one after the other; Lab.do runs them.

    write: puts a text into a file of the front-end. driver: what is done to domains. pool: what oned knows of
    VMs, for tests of odd ones.
    """

    def __init__(self, oned: Oned, write: WriteFile, driver: Driver | None = None) -> None:
        self._oned = oned
        self._transfers = Transfers(oned, write)
        self.pool = Pool(oned)
        self._driver = driver or NoDriver()

    # The life of a VM

    def create(self, *disks: Image | Volatile, context: bool = True, **user_attributes: str) -> Vm:
        """`onevm create`: nothing runs yet. user_attributes: of its USER_TEMPLATE."""
        number = next(self._oned.next_vm)
        vm = Vm(number, f"vm-{number}", {}, user_attributes=dict(user_attributes))
        for disk in disks:
            self.pool.add_disk(vm, disk)
        if context:
            vm.context = {
                "DISK_ID": str(vm.next_disk),
                "NETWORK": "YES",
                "TARGET": "sda",
                "HOSTNAME": vm.name,
            }
            vm.next_disk += 1
        self._oned.vms[number] = vm
        return vm

    def deploy(self, vm: Vm, host: str, system: Datastore | None = None) -> Steps[None]:
        """`onevm deploy`: the prolog, then the context image as the VM starts."""
        self.pool.place(vm, host, system or self.pool.the_system())
        for disk in vm.disks.values():
            self.pool.settle(disk, vm.here.system)
        vm.state, vm.lcm_state = machine.ACTIVE, PROLOG
        yield from self._failing_to(vm, PROLOG_FAILURE, self._transfers.prolog(vm))
        vm.attributes["TM_MAD_SYSTEM"] = vm.here.system.tm_mad
        yield from self._boot(vm)

    def cancel_prolog(self, vm: Vm) -> Steps[None]:
        """`onevm recover --delete` of a VM that never came up, or of any other."""
        vm.lcm_state = CLEANUP_DELETE
        yield from self._transfers.cleanup(vm)
        self.pool.gone(vm)

    def recreate(self, vm: Vm) -> Steps[None]:
        """`onevm recover --recreate`: everything goes, and the VM waits to be deployed again."""
        vm.lcm_state = CLEANUP_RESUBMIT
        yield from self._transfers.cleanup(vm)
        vm.state, vm.lcm_state, vm.deploy_id = machine.PENDING, 0, ""

    def terminate(self, vm: Vm, *, hard: bool = False) -> Steps[None]:
        """`onevm terminate`: persistent disks go back, all others away, then the directory."""
        away = vm.state in (machine.STOPPED, machine.UNDEPLOYED)
        if vm.state == machine.ACTIVE and vm.lcm_state == RUNNING:
            vm.lcm_state = SHUTDOWN
            yield from self._driver.shut(vm, hard=hard)
        vm.state, vm.lcm_state = machine.ACTIVE, EPILOG
        yield from self._failing_to(
            vm, EPILOG_FAILURE, self._transfers.epilog(vm, self._oned.frontend if away else vm.here.host)
        )
        self.pool.gone(vm)

    def poweroff(self, vm: Vm) -> None:
        """`onevm poweroff`: nothing for a storage driver to do."""
        vm.state, vm.lcm_state, vm.deploy_id = machine.POWEROFF, 0, ""

    def suspend(self, vm: Vm) -> None:
        """`onevm suspend`: the guest's memory lies in the VM's directory; that is the VM driver's work."""
        vm.state, vm.lcm_state = machine.SUSPENDED, 0

    def stop(self, vm: Vm) -> Steps[None]:
        """`onevm stop`, after the guest's memory was saved: the VM leaves its host."""
        vm.state, vm.lcm_state = machine.ACTIVE, EPILOG_STOP
        yield from self._transfers.move(vm, vm.here.host, self._oned.frontend)
        vm.state, vm.lcm_state = machine.STOPPED, 0

    def undeploy(self, vm: Vm) -> Steps[None]:
        """`onevm undeploy`: the VM leaves its host without memory."""
        vm.state, vm.lcm_state, vm.deploy_id = machine.ACTIVE, EPILOG_UNDEPLOY, ""
        yield from self._transfers.move(vm, vm.here.host, self._oned.frontend)
        vm.state, vm.lcm_state = machine.UNDEPLOYED, 0

    def resume(self, vm: Vm, host: str = "") -> Steps[None]:
        """`onevm resume`, and for a stopped or undeployed VM the deployment that follows."""
        if vm.state in (machine.STOPPED, machine.UNDEPLOYED):
            lcm = PROLOG_RESUME if vm.state == machine.STOPPED else PROLOG_UNDEPLOY
            self.pool.place(vm, host or vm.here.host, vm.here.system)
            vm.state, vm.lcm_state = machine.ACTIVE, lcm
            yield from self._transfers.move(vm, self._oned.frontend, vm.here.host)
        vm.state = machine.ACTIVE
        yield from self._boot(vm)

    # Migration

    def live_migrate(self, vm: Vm, host: str, *, fails: bool = False) -> Steps[None]:
        """`onevm migrate --live`. fails: libvirt cannot move the guest."""
        source = vm.here.host
        self.pool.place(vm, host, vm.here.system)
        vm.lcm_state = MIGRATE
        try:
            yield self._transfers.migration("PREMIGRATE", vm, source, host)
            yield from self._driver.move(vm, source, host)
            if vm.here.system.attributes.get("SHARED") == "NO" and not fails:
                yield Command("vmm/kvm/migrate", (vm.deploy_id, host, source, vm.home))
        except StepFailed as failed:
            if self._oned.version.startswith("7.4") or failed.command.name != "premigrate":
                yield from tolerated(self._transfers.migration("FAILMIGRATE", vm, source, host))
            self.pool.back(vm, source)
            raise
        if fails:
            yield self._transfers.migration("FAILMIGRATE", vm, source, host)
            self.pool.back(vm, source)
            return
        yield from tolerated(self._transfers.migration("POSTMIGRATE", vm, source, host))
        vm.lcm_state = RUNNING

    def migrate(self, vm: Vm, host: str, system: Datastore | None = None) -> Steps[None]:
        """`onevm migrate`, as the VM's state has it: powered off, suspended, or saved while running."""
        before, old, lcm = vm.state, vm.here, _COLD[vm.state]
        self.pool.place(vm, host, system or old.system)
        vm.state, vm.lcm_state = machine.ACTIVE, lcm
        yield from self._transfers.move(vm, old.host, host, old.system)
        if before == machine.ACTIVE:
            yield from self._boot(vm)
        else:
            vm.state, vm.lcm_state = before, 0

    def evacuate(self, vm: Vm, host: str, lcm: int = PROLOG_MIGRATE_UNKNOWN) -> Steps[None]:
        """The VM's host is dead: its disks go to another, where it starts anew."""
        source = vm.here.host
        self.pool.place(vm, host, vm.here.system)
        vm.state, vm.lcm_state = machine.ACTIVE, lcm
        yield from self._transfers.move(vm, source, host)
        yield from self._boot(vm)

    # Disks

    def attach_disk(self, vm: Vm, disk: Image | Volatile, *, fails: bool = False) -> Steps[int]:
        """`onevm disk-attach`; gives the disk's id. fails: libvirt refuses the device."""
        disk_id = self.pool.add_disk(vm, disk)
        wire = vm.disks[disk_id]
        if is_volatile(wire):
            machine.give_system_datastore(wire, vm.here.system)
        wire["ATTACH"] = "YES"
        wire["TM_MAD_SYSTEM"] = vm.here.system.tm_mad
        before, off = vm.state, vm.state == machine.POWEROFF
        vm.state, vm.lcm_state = machine.ACTIVE, HOTPLUG_PROLOG_POWEROFF if off else HOTPLUG
        give, take = self._transfers.give(vm, disk_id), self._transfers.take(vm, disk_id, vm.here.host)
        try:
            yield give
            if not off:
                yield from self._or_back(self._driver.plug(vm, disk_id, (give, take)), take)
            if fails:
                yield from tolerated(take)
                raise RuntimeError("libvirt refused the device, as asked")
        except (StepFailed, RuntimeError):
            self.pool.drop_disk(vm, disk_id)
            vm.rest(before)
            raise
        del wire["ATTACH"]
        vm.rest(before)
        return disk_id

    def detach_disk(self, vm: Vm, disk_id: int) -> Steps[None]:
        """`onevm disk-detach`."""
        before, off = vm.state, vm.state == machine.POWEROFF
        vm.disks[disk_id]["ATTACH"] = "YES"
        vm.state, vm.lcm_state = machine.ACTIVE, HOTPLUG_EPILOG_POWEROFF if off else HOTPLUG
        take = self._transfers.take(vm, disk_id, vm.here.host)
        try:
            if not off:
                yield from self._driver.unplug(vm, disk_id, take)
        except StepFailed:
            del vm.disks[disk_id]["ATTACH"]
            vm.rest(before)
            raise
        yield take
        self.pool.drop_disk(vm, disk_id)
        vm.rest(before)

    def resize_disk(self, vm: Vm, disk_id: int, size_mib: int) -> Steps[None]:
        """`onevm disk-resize`, in any state that allows it."""
        before, disk = vm.state, vm.disks[disk_id]
        disk.update(SIZE_PREV=disk["SIZE"], SIZE=str(size_mib), RESIZE="YES")
        vm.state, vm.lcm_state = machine.ACTIVE, _RESIZE[before]
        yield self._transfers.resize(vm, disk_id)
        if before == machine.ACTIVE:
            yield from self._driver.resize(vm, disk_id, size_mib)
        del disk["RESIZE"], disk["SIZE_PREV"]
        vm.rest(before)

    def update_context(self, vm: Vm, **values: str) -> Steps[None]:
        """`onevm updateconf` while the VM runs: the image is built anew."""
        assert vm.context is not None
        vm.context.update(values)
        yield from self._driver.eject(vm)
        yield self._transfers.context(vm)
        yield from self._driver.insert(vm)

    # Parts

    def _boot(self, vm: Vm) -> Steps[None]:
        vm.lcm_state = BOOT
        if vm.context is not None:
            yield self._transfers.context(vm)
        try:
            if vm.is_saved:
                yield from self._driver.restore(vm)
            else:
                vm.deploy_id = yield from self._driver.boot(vm)
        except StepFailed:
            vm.lcm_state = BOOT_FAILURE
            raise
        vm.lcm_state, vm.is_saved = RUNNING, False

    def _or_back(self, steps: Steps[None], back: Command) -> Steps[None]:
        try:
            yield from steps
        except StepFailed:
            yield from tolerated(back)
            raise

    def _failing_to(self, vm: Vm, lcm: int, steps: Steps[None]) -> Steps[None]:
        try:
            yield from steps
        except StepFailed:
            vm.lcm_state = lcm
            raise
