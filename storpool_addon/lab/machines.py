"""What people do with VMs, as the scripts that oned and its VM driver run for it, in their order.

The order and the arguments are those of OpenNebula 7.4 (TransferManager.cc, one_vmm_exec.rb), which have
not changed since 6.10.
"""

from __future__ import annotations

from typing import Callable

from storpool_addon.lab import machine, objects
from storpool_addon.lab.command import Command, StepFailed, Steps
from storpool_addon.lab.hypervisor import Driver, NoDriver
from storpool_addon.lab.machine import Record, Vm, Volatile, image_disk, is_volatile, volatile_disk
from storpool_addon.lab.objects import Datastore, Image
from storpool_addon.lab.oned import Oned

PROLOG, BOOT, RUNNING, MIGRATE, PROLOG_MIGRATE, PROLOG_RESUME, EPILOG_STOP, EPILOG = 1, 2, 3, 4, 8, 9, 10, 11
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
WriteFile = Callable[[str, str], None]


class Machines:
    """Each method gives the scripts one after the other; Lab.do runs them.

    write: puts a text into a file of the front-end, where oned itself writes context.sh. driver: what is done
    to domains.
    """

    def __init__(self, oned: Oned, write: WriteFile, driver: Driver | None = None) -> None:
        self._oned = oned
        self._write = write
        self._driver = driver or NoDriver()

    # The life of a VM

    def create(self, *disks: Image | Volatile, context: bool = True, **user_attributes: str) -> Vm:
        """`onevm create`: nothing runs yet. user_attributes: of its USER_TEMPLATE."""
        number = next(self._oned.next_vm)
        vm = Vm(number, f"vm-{number}", {}, user_attributes=dict(user_attributes))
        for disk in disks:
            self._add_disk(vm, disk)
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
        self._place(vm, host, system or self._the_system())
        for disk in vm.disks.values():
            self._settle(disk, vm.here.system)
        vm.state, vm.lcm_state = machine.ACTIVE, PROLOG
        yield from self._failing_to(vm, PROLOG_FAILURE, self._prolog(vm))
        vm.attributes["TM_MAD_SYSTEM"] = vm.here.system.tm_mad
        yield from self._boot(vm)

    def cancel_prolog(self, vm: Vm) -> Steps[None]:
        """`onevm recover --delete` of a VM that never came up, or of any other."""
        vm.lcm_state = CLEANUP_DELETE
        yield from self._cleanup(vm)
        self._gone(vm)

    def recreate(self, vm: Vm) -> Steps[None]:
        """`onevm recover --recreate`: everything goes, and the VM waits to be deployed again."""
        vm.lcm_state = CLEANUP_RESUBMIT
        yield from self._cleanup(vm)
        vm.state, vm.lcm_state, vm.deploy_id = machine.PENDING, 0, ""

    def terminate(self, vm: Vm, *, hard: bool = False) -> Steps[None]:
        """`onevm terminate`: persistent disks go back, all others away, then the directory."""
        away = vm.state in (machine.STOPPED, machine.UNDEPLOYED)
        if vm.state == machine.ACTIVE and vm.lcm_state == RUNNING:
            vm.lcm_state = SHUTDOWN
            yield from self._driver.shut(vm, hard=hard)
        vm.state, vm.lcm_state = machine.ACTIVE, EPILOG
        yield from self._failing_to(
            vm, EPILOG_FAILURE, self._epilog(vm, self._oned.frontend if away else vm.here.host)
        )
        self._gone(vm)

    def poweroff(self, vm: Vm) -> None:
        """`onevm poweroff`: nothing for a storage driver to do."""
        vm.state, vm.lcm_state, vm.deploy_id = machine.POWEROFF, 0, ""

    def suspend(self, vm: Vm) -> None:
        """`onevm suspend`: the guest's memory lies in the VM's directory; that is the VM driver's work."""
        vm.state, vm.lcm_state = machine.SUSPENDED, 0

    def stop(self, vm: Vm) -> Steps[None]:
        """`onevm stop`, after the guest's memory was saved: the VM leaves its host."""
        vm.state, vm.lcm_state = machine.ACTIVE, EPILOG_STOP
        yield from self._move(vm, vm.here.host, self._oned.frontend)
        vm.state, vm.lcm_state = machine.STOPPED, 0

    def undeploy(self, vm: Vm) -> Steps[None]:
        """`onevm undeploy`: the VM leaves its host without memory."""
        vm.state, vm.lcm_state, vm.deploy_id = machine.ACTIVE, EPILOG_UNDEPLOY, ""
        yield from self._move(vm, vm.here.host, self._oned.frontend)
        vm.state, vm.lcm_state = machine.UNDEPLOYED, 0

    def resume(self, vm: Vm, host: str = "") -> Steps[None]:
        """`onevm resume`, and for a stopped or undeployed VM the deployment that follows."""
        if vm.state in (machine.STOPPED, machine.UNDEPLOYED):
            lcm = PROLOG_RESUME if vm.state == machine.STOPPED else PROLOG_UNDEPLOY
            self._place(vm, host or vm.here.host, vm.here.system)
            vm.state, vm.lcm_state = machine.ACTIVE, lcm
            yield from self._move(vm, self._oned.frontend, vm.here.host)
        vm.state = machine.ACTIVE
        yield from self._boot(vm)

    # Migration

    def live_migrate(self, vm: Vm, host: str, *, fails: bool = False) -> Steps[None]:
        """`onevm migrate --live`. fails: libvirt cannot move the guest."""
        source = vm.here.host
        self._place(vm, host, vm.here.system)
        vm.lcm_state = MIGRATE
        try:
            yield self._migration("PREMIGRATE", vm, source, host)
            yield from self._driver.move(vm, source, host)
            if vm.here.system.attributes.get("SHARED") == "NO" and not fails:
                yield Command("vmm/kvm/migrate", (vm.deploy_id, host, source, vm.home))
        except StepFailed as failed:
            if self._oned.version.startswith("7.4") or failed.command.name != "premigrate":
                yield from self._tolerated(self._migration("FAILMIGRATE", vm, source, host))
            self._back(vm, source)
            raise
        if fails:
            yield self._migration("FAILMIGRATE", vm, source, host)
            self._back(vm, source)
            return
        yield from self._tolerated(self._migration("POSTMIGRATE", vm, source, host))
        vm.lcm_state = RUNNING

    def migrate(self, vm: Vm, host: str, system: Datastore | None = None) -> Steps[None]:
        """`onevm migrate`, as the VM's state has it: powered off, suspended, or saved while running."""
        before, old, lcm = vm.state, vm.here, _COLD[vm.state]
        self._place(vm, host, system or old.system)
        vm.state, vm.lcm_state = machine.ACTIVE, lcm
        yield from self._move(vm, old.host, host, old.system)
        if before == machine.ACTIVE:
            yield from self._boot(vm)
        else:
            vm.state, vm.lcm_state = before, 0

    def evacuate(self, vm: Vm, host: str, lcm: int = PROLOG_MIGRATE_UNKNOWN) -> Steps[None]:
        """The VM's host is dead: its disks go to another, where it starts anew."""
        source = vm.here.host
        self._place(vm, host, vm.here.system)
        vm.state, vm.lcm_state = machine.ACTIVE, lcm
        yield from self._move(vm, source, host)
        yield from self._boot(vm)

    # Disks

    def attach_disk(self, vm: Vm, disk: Image | Volatile, *, fails: bool = False) -> Steps[int]:
        """`onevm disk-attach`; gives the disk's id. fails: libvirt refuses the device."""
        disk_id = self._add_disk(vm, disk)
        wire = vm.disks[disk_id]
        if is_volatile(wire):
            machine.give_system_datastore(wire, vm.here.system)
        wire["ATTACH"] = "YES"
        wire["TM_MAD_SYSTEM"] = vm.here.system.tm_mad
        off = vm.state == machine.POWEROFF
        vm.state, vm.lcm_state = machine.ACTIVE, HOTPLUG_PROLOG_POWEROFF if off else HOTPLUG
        give, take = self._give(vm, disk_id), self._take(vm, disk_id, vm.here.host)
        try:
            yield give
            if not off:
                yield from self._or_back(self._driver.plug(vm, disk_id, (give, take)), take)
            if fails:
                yield from self._tolerated(take)
                raise RuntimeError("libvirt refused the device, as asked")
        except (StepFailed, RuntimeError):
            self._drop_disk(vm, disk_id)
            self._rest(vm, off)
            raise
        del wire["ATTACH"]
        self._rest(vm, off)
        return disk_id

    def detach_disk(self, vm: Vm, disk_id: int) -> Steps[None]:
        """`onevm disk-detach`."""
        off = vm.state == machine.POWEROFF
        vm.disks[disk_id]["ATTACH"] = "YES"
        vm.state, vm.lcm_state = machine.ACTIVE, HOTPLUG_EPILOG_POWEROFF if off else HOTPLUG
        take = self._take(vm, disk_id, vm.here.host)
        try:
            if not off:
                yield from self._driver.unplug(vm, disk_id, take)
        except StepFailed:
            del vm.disks[disk_id]["ATTACH"]
            self._rest(vm, off)
            raise
        yield take
        self._drop_disk(vm, disk_id)
        self._rest(vm, off)

    def resize_disk(self, vm: Vm, disk_id: int, size_mib: int) -> Steps[None]:
        """`onevm disk-resize`, in any state that allows it."""
        before, disk = vm.state, vm.disks[disk_id]
        disk.update(SIZE_PREV=disk["SIZE"], SIZE=str(size_mib), RESIZE="YES")
        vm.state, vm.lcm_state = machine.ACTIVE, _RESIZE[before]
        path = f"{vm.here.host}:{vm.home}/disk.{disk_id}"
        yield self._disk_command("RESIZE", disk, path, size_mib, vm.id, disk["DATASTORE_ID"])
        if before == machine.ACTIVE:
            yield from self._driver.resize(vm, disk_id, size_mib)
        del disk["RESIZE"], disk["SIZE_PREV"]
        vm.state, vm.lcm_state = before, RUNNING if before == machine.ACTIVE else 0

    def update_context(self, vm: Vm, **values: str) -> Steps[None]:
        """`onevm updateconf` while the VM runs: the image is built anew."""
        assert vm.context is not None
        vm.context.update(values)
        yield from self._driver.eject(vm)
        yield self._context(vm)
        yield from self._driver.insert(vm)

    # Parts

    def _prolog(self, vm: Vm) -> Steps[None]:
        for disk_id in vm.disks:
            yield self._give(vm, disk_id)

    def _give(self, vm: Vm, disk_id: int) -> Command:
        """MKSWAP, MKIMAGE, CLONE or LN of one disk."""
        disk, system = vm.disks[disk_id], vm.here.system
        target = f"{vm.here.host}:{vm.home}/disk.{disk_id}"
        if disk["TYPE"].lower() == "swap":
            return self._oned.transfer("MKSWAP", system.tm_mad, disk["SIZE"], target, vm.id, system.id)
        if is_volatile(disk):
            return self._oned.transfer(
                "MKIMAGE", system.tm_mad, disk["SIZE"], disk["FORMAT"], target, vm.id, system.id
            )
        verb = "CLONE" if disk["CLONE"] == "YES" else "LN"
        source = f"{self._oned.frontend}:{disk['SOURCE']}"
        return self._disk_command(verb, disk, source, target, vm.id, disk["DATASTORE_ID"])

    def _take(self, vm: Vm, disk_id: int, host: str, suffix: str = "") -> Command:
        """MVDS or DELETE of one disk."""
        disk = vm.disks[disk_id]
        path = f"{host}:{vm.home}/disk.{disk_id}"
        if disk.get("SAVE") == "YES":
            return self._disk_command("MVDS", disk, path, disk["SOURCE"], vm.id, disk["DATASTORE_ID"])
        return self._disk_command("DELETE", disk, path, vm.id, disk["DATASTORE_ID"], suffix=suffix)

    def _epilog(self, vm: Vm, host: str) -> Steps[None]:
        for disk_id in vm.disks:
            yield self._take(vm, disk_id, host)
        yield self._delete_home(vm, host)

    def _cleanup(self, vm: Vm) -> Steps[None]:
        """DELETE of everything, persistent disks too; oned goes on whatever fails."""
        suffix = ""
        for disk_id, disk in vm.disks.items():
            suffix = _suffix(disk) or suffix
            path = f"{vm.here.host}:{vm.home}/disk.{disk_id}"
            command = self._disk_command("DELETE", disk, path, vm.id, disk["DATASTORE_ID"], suffix=suffix)
            yield from self._tolerated(command)
        yield from self._tolerated(self._delete_home(vm, vm.here.host))

    def _delete_home(self, vm: Vm, host: str) -> Command:
        system = vm.here.system
        return self._oned.transfer("DELETE", system.tm_mad, f"{host}:{vm.home}", vm.id, system.id)

    def _move(self, vm: Vm, source: str, target: str, old: Datastore | None = None) -> Steps[None]:
        """MV of each disk, then of the directory. oned forgets to drop a disk's suffix for the next."""
        suffix, system = "", vm.here.system
        there, here = f"{source}:{vm.home_in(old or system)}", f"{target}:{vm.home}"
        for disk_id, disk in vm.disks.items():
            suffix = _suffix(disk) or suffix
            paths = (f"{there}/disk.{disk_id}", f"{here}/disk.{disk_id}")
            yield self._disk_command("MV", disk, *paths, vm.id, disk["DATASTORE_ID"], suffix=suffix)
        yield self._oned.transfer("MV", system.tm_mad, there, here, vm.id, system.id)

    def _migration(self, verb: str, vm: Vm, source: str, target: str) -> Command:
        system = vm.here.system
        document = vm.document(self._oned.version, whole_history=False)
        return self._oned.transfer(
            verb, system.tm_mad, source, target, vm.home, vm.id, system.id, stdin=document
        )

    def _boot(self, vm: Vm) -> Steps[None]:
        vm.lcm_state = BOOT
        if vm.context is not None:
            yield self._context(vm)
        try:
            if vm.is_saved:
                yield from self._driver.restore(vm)
            else:
                vm.deploy_id = yield from self._driver.boot(vm)
        except StepFailed:
            vm.lcm_state = BOOT_FAILURE
            raise
        vm.lcm_state, vm.is_saved = RUNNING, False

    def _context(self, vm: Vm) -> Command:
        assert vm.context is not None
        directory, system = f"/var/lib/one/vms/{vm.id}", vm.here.system
        lines = [f"{name}='{vm.context[name]}'" for name in sorted(vm.context)]
        self._write(
            f"{directory}/context.sh",
            "# Context variables generated by OpenNebula\n" + "\n".join(lines) + "\n",
        )
        files = vm.context.get("FILES", "").split()
        target = f"{vm.here.host}:{vm.home}/disk.{vm.context['DISK_ID']}"
        return self._oned.transfer(
            "CONTEXT", system.tm_mad, f"{directory}/context.sh", *files, target, vm.id, system.id
        )

    def _disk_command(self, verb: str, disk: dict[str, str], *args: object, suffix: str = "") -> Command:
        return self._oned.transfer(verb + (_suffix(disk) or suffix), disk["TM_MAD"], *args)

    def _or_back(self, steps: Steps[None], back: Command) -> Steps[None]:
        try:
            yield from steps
        except StepFailed:
            yield from self._tolerated(back)
            raise

    def _failing_to(self, vm: Vm, lcm: int, steps: Steps[None]) -> Steps[None]:
        try:
            yield from steps
        except StepFailed:
            vm.lcm_state = lcm
            raise

    def _tolerated(self, command: Command) -> Steps[None]:
        try:
            yield command
        except StepFailed:
            return

    # Bookkeeping

    def _settle(self, disk: dict[str, str], system: Datastore) -> None:
        """What deployment on a system datastore writes into a disk."""
        if is_volatile(disk):
            machine.give_system_datastore(disk, system)
        elif disk["TM_MAD"] != system.tm_mad:
            images = self._oned.datastores[int(disk["DATASTORE_ID"])]
            machine.suit_system_datastore(disk, images, system)

    def _place(self, vm: Vm, host: str, system: Datastore) -> None:
        # A repeat of what failed stays in the record that the first try opened.
        if vm.history and vm.here.host == host and vm.here.system is system and vm.state == machine.ACTIVE:
            return
        vm.history.append(Record(len(vm.history), host, self._oned.host(host).id, system))

    def _back(self, vm: Vm, host: str) -> None:
        vm.history.append(Record(len(vm.history), host, self._oned.host(host).id, vm.here.system))
        vm.lcm_state = RUNNING

    def _add_disk(self, vm: Vm, disk: Image | Volatile) -> int:
        disk_id, vm.next_disk = vm.next_disk, vm.next_disk + 1
        if isinstance(disk, Volatile):
            vm.disks[disk_id] = volatile_disk(disk_id, disk)
        else:
            vm.disks[disk_id] = image_disk(disk_id, disk)
            disk.vms.add(vm.id)
            disk.state = disk.states_in_use
        return disk_id

    def _drop_disk(self, vm: Vm, disk_id: int) -> None:
        image = self._oned.images.get(int(vm.disks.pop(disk_id).get("IMAGE_ID", "-1")))
        if image is not None:
            image.vms.discard(vm.id)
            image.state = image.states_in_use if image.vms else objects.READY

    def _gone(self, vm: Vm) -> None:
        for disk_id in list(vm.disks):
            self._drop_disk(vm, disk_id)
        vm.state, vm.lcm_state = machine.DONE, 0

    def _rest(self, vm: Vm, off: bool) -> None:
        vm.state, vm.lcm_state = (machine.POWEROFF, 0) if off else (machine.ACTIVE, RUNNING)

    def _the_system(self) -> Datastore:
        return next(each for each in self._oned.datastores.values() if each.system)


def _suffix(disk: dict[str, str]) -> str:
    return f".{disk['TM_MAD_SYSTEM']}" if "TM_MAD_SYSTEM" in disk else ""
