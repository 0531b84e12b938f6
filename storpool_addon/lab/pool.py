"""What oned writes down of its VMs: the disks that they have, the images that those take, where they are."""

from __future__ import annotations

from storpool_addon.lab import machine, objects
from storpool_addon.lab.machine import RUNNING, Record, Vm, Volatile, image_disk, is_volatile, volatile_disk
from storpool_addon.lab.objects import Datastore, Image
from storpool_addon.lab.oned import Oned


class Pool:
    """Each method only writes down; what oned runs for it is in Transfers."""

    def __init__(self, oned: Oned) -> None:
        self._oned = oned

    def settle(self, disk: dict[str, str], system: Datastore) -> None:
        """What deployment on a system datastore writes into a disk."""
        if is_volatile(disk):
            machine.give_system_datastore(disk, system)
        elif disk["TM_MAD"] != system.tm_mad:
            images = self._oned.datastores[int(disk["DATASTORE_ID"])]
            machine.suit_system_datastore(disk, images, system)

    def place(self, vm: Vm, host: str, system: Datastore) -> None:
        """A new history record; a repeat of what failed stays in the one that the first try opened."""
        if vm.history and vm.here.host == host and vm.here.system is system and vm.state == machine.ACTIVE:
            return
        vm.history.append(Record(len(vm.history), host, self._oned.host(host).id, system))

    def back(self, vm: Vm, host: str) -> None:
        """A live migration has failed, and the VM runs on where it was."""
        vm.history.append(Record(len(vm.history), host, self._oned.host(host).id, vm.here.system))
        vm.lcm_state = RUNNING

    def add_disk(self, vm: Vm, disk: Image | Volatile) -> int:
        """The VM has one more disk; its id."""
        disk_id, vm.next_disk = vm.next_disk, vm.next_disk + 1
        if isinstance(disk, Volatile):
            vm.disks[disk_id] = volatile_disk(disk_id, disk)
        else:
            vm.disks[disk_id] = image_disk(disk_id, disk)
            disk.vms.add(vm.id)
            disk.state = disk.states_in_use
        return disk_id

    def drop_disk(self, vm: Vm, disk_id: int) -> None:
        """The VM has that disk no more, and leaves its image."""
        image = self._oned.images.get(int(vm.disks.pop(disk_id).get("IMAGE_ID", "-1")))
        if image is not None:
            image.vms.discard(vm.id)
            image.state = image.states_in_use if image.vms else objects.READY

    def gone(self, vm: Vm) -> None:
        """The VM is done with."""
        for disk_id in list(vm.disks):
            self.drop_disk(vm, disk_id)
        vm.state, vm.lcm_state = machine.DONE, 0

    def the_system(self) -> Datastore:
        """The first system datastore."""
        return next(each for each in self._oned.datastores.values() if each.system)
