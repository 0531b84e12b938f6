"""Disks that become images (`onevm disk-saveas`), as the scripts that oned runs for it."""

from __future__ import annotations

from storpool_addon.lab import machine, objects
from storpool_addon.lab.command import StepFailed, Steps, datastore_command
from storpool_addon.lab.images import Images
from storpool_addon.lab.machine import Vm, suffix_of
from storpool_addon.lab.objects import Image, action_data
from storpool_addon.lab.oned import Oned

# The LCM state meanwhile, by the VM's state.
_SAVING = {
    machine.ACTIVE: 26,
    machine.POWEROFF: 27,
    machine.SUSPENDED: 28,
    machine.UNDEPLOYED: 67,
    machine.STOPPED: 68,
}


class Saving:
    """Each method gives the scripts one after the other; Lab.do runs them."""

    def __init__(self, oned: Oned, images: Images) -> None:
        self._oned = oned
        self._images = images

    def disk_saveas(self, vm: Vm, disk_id: int, snapshot_id: int = -1) -> Steps[Image]:
        """`onevm disk-saveas`, in any state that allows it: `mkfs` for a name, then CPDS.

        The new image is in the datastore of the disk's image. snapshot_id: -1 for the disk as it is.
        """
        disk, state, lcm_state = vm.disks[disk_id], vm.state, vm.lcm_state
        original = self._oned.images[int(disk["IMAGE_ID"])]
        image = self._images.allocate(original.datastore, original.type, False, int(disk["SIZE"]))
        image.format = "save_as"
        image.attributes.update(
            SAVED_DISK_ID=str(disk_id), SAVED_IMAGE_ID=str(original.id), SAVED_VM_ID=str(vm.id)
        )
        disk.update(HOTPLUG_SAVE_AS_ACTIVE="YES", HOTPLUG_SAVE_AS_SNAPSHOT_ID=str(snapshot_id))
        vm.state, vm.lcm_state = machine.ACTIVE, _SAVING[state]
        image.state = objects.LOCKED
        try:
            yield from self._save(vm, disk_id, image, state in (machine.UNDEPLOYED, machine.STOPPED))
        except StepFailed:
            image.state = objects.ERROR
            self._end(vm, disk, state, lcm_state)
            raise
        self._end(vm, disk, state, lcm_state)
        image.format, image.state = disk["FORMAT"], objects.READY
        return image

    def _end(self, vm: Vm, disk: dict[str, str], state: int, lcm_state: int) -> None:
        for mark in [key for key in disk if key.startswith("HOTPLUG_SAVE_AS")]:
            del disk[mark]
        vm.state, vm.lcm_state = state, lcm_state

    def _save(self, vm: Vm, disk_id: int, image: Image, away: bool) -> Steps[None]:
        disk = vm.disks[disk_id]
        # oned does not decrypt the datastore for this one.
        document = action_data(image.datastore, image.document(self._oned.version), decrypt=False)
        answer = yield datastore_command(image.datastore.ds_mad, "mkfs", image.id, document)
        image.source = answer.stdout.strip()
        disk.update(HOTPLUG_SAVE_AS=str(image.id), HOTPLUG_SAVE_AS_SOURCE=image.source)
        path = f"{self._oned.frontend if away else vm.here.host}:{vm.home}/disk.{disk_id}"
        snapshot_id = disk["HOTPLUG_SAVE_AS_SNAPSHOT_ID"]
        yield self._oned.transfer(
            f"CPDS{suffix_of(disk)}",
            disk["TM_MAD"],
            path,
            image.source,
            snapshot_id,
            vm.id,
            disk["DATASTORE_ID"],
        )
