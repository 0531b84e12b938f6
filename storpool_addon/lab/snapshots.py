"""What people do with the snapshots of disks and images, as the scripts that oned runs for it.

States and arguments are those of OpenNebula 7.4 (DispatchManagerActions.cc, TransferManager.cc,
one_vmm_exec.rb); what it remembers afterwards is in `chain`.
"""

from __future__ import annotations

from copy import deepcopy

from storpool_addon.lab import machine, objects
from storpool_addon.lab.chain import Chain
from storpool_addon.lab.command import Command, StepFailed, Steps, datastore_command
from storpool_addon.lab.machine import Record, Vm, suffix_of
from storpool_addon.lab.objects import Image, action_data
from storpool_addon.lab.oned import Oned

CREATE = {machine.POWEROFF: 51, machine.SUSPENDED: 54, machine.ACTIVE: 57}
REVERT = {machine.POWEROFF: 52}
DELETE = {machine.POWEROFF: 53, machine.SUSPENDED: 56, machine.ACTIVE: 59}


class DiskSnapshots:
    """`onevm disk-snapshot-…`: each method gives the scripts one after the other; Lab.do runs them."""

    def __init__(self, oned: Oned) -> None:
        self._oned = oned

    def create(self, vm: Vm, disk_id: int, name: str = "") -> Steps[int]:
        """`disk-snapshot-create`; gives the snapshot's id, which oned has chosen before the script runs."""
        chain = self.chain(vm, disk_id)
        # The requests of a VM have a history record each.
        snapshot_id = chain.create(name, int(vm.disks[disk_id]["SIZE"]), len(vm.history))
        verb = "SNAP_CREATE_LIVE" if vm.state == machine.ACTIVE else "SNAP_CREATE"
        try:
            yield from self._step(vm, disk_id, snapshot_id, verb, CREATE)
        except StepFailed:
            chain.delete(snapshot_id)
            raise
        chain.activate(snapshot_id, revert=False)
        self._remember(vm, disk_id)
        return snapshot_id

    def revert(self, vm: Vm, disk_id: int, snapshot_id: int) -> Steps[None]:
        """`disk-snapshot-revert`: the disk's size stays what oned knows."""
        yield from self._step(vm, disk_id, snapshot_id, "SNAP_REVERT", REVERT)
        self.chain(vm, disk_id).activate(snapshot_id, revert=True)
        self._remember(vm, disk_id)

    def delete(self, vm: Vm, disk_id: int, snapshot_id: int) -> Steps[None]:
        """`disk-snapshot-delete`, of a running VM's too."""
        yield from self._step(vm, disk_id, snapshot_id, "SNAP_DELETE", DELETE)
        self.chain(vm, disk_id).delete(snapshot_id)
        self._remember(vm, disk_id)

    def chain(self, vm: Vm, disk_id: int) -> Chain:
        """The disk's snapshots: those of a persistent image come with it."""
        if disk_id not in vm.chains:
            image = self._image(vm, disk_id)
            fresh = Chain(vm.disks[disk_id]["ALLOW_ORPHANS"])
            vm.chains[disk_id] = fresh if image is None else deepcopy(image.chain)
        return vm.chains[disk_id]

    def _step(self, vm: Vm, disk_id: int, snapshot_id: int, verb: str, states: dict[int, int]) -> Steps[None]:
        before, disk = vm.state, vm.disks[disk_id]
        disk.update(DISK_SNAPSHOT_ACTIVE="YES", DISK_SNAPSHOT_ID=str(snapshot_id))
        vm.state, vm.lcm_state = machine.ACTIVE, states[before]
        here = vm.here
        vm.history.append(Record(len(vm.history), here.host, here.host_id, here.system))
        try:
            yield self._command(vm, verb, disk_id, snapshot_id)
        finally:
            del disk["DISK_SNAPSHOT_ACTIVE"], disk["DISK_SNAPSHOT_ID"]
            vm.rest(before)

    def _command(self, vm: Vm, verb: str, disk_id: int, snapshot_id: int) -> Command:
        disk = vm.disks[disk_id]
        path = f"{vm.here.host}:{vm.home}/disk.{disk_id}"
        words = (disk["TM_MAD"], path, snapshot_id, vm.id, disk["DATASTORE_ID"])
        return self._oned.transfer(verb + suffix_of(disk), *words)

    def _remember(self, vm: Vm, disk_id: int) -> None:
        """A persistent image has the snapshots of its disk."""
        image = self._image(vm, disk_id)
        if image is not None and vm.disks[disk_id].get("PERSISTENT_SNAPSHOTS") != "NO":
            image.chain = deepcopy(vm.chains[disk_id])

    def _image(self, vm: Vm, disk_id: int) -> Image | None:
        disk = vm.disks[disk_id]
        return self._oned.images[int(disk["IMAGE_ID"])] if disk.get("SAVE") == "YES" else None


class ImageSnapshots:
    """`oneimage snapshot-…` of an image that no VM uses."""

    def __init__(self, oned: Oned) -> None:
        self._oned = oned

    def delete(self, image: Image, snapshot_id: int) -> Steps[None]:
        """`snapshot-delete`."""
        yield from self._step(image, "snap_delete", snapshot_id)
        image.chain.delete(snapshot_id)

    def revert(self, image: Image, snapshot_id: int) -> Steps[None]:
        """`snapshot-revert`."""
        yield from self._step(image, "snap_revert", snapshot_id)
        image.chain.activate(snapshot_id, revert=True)

    def flatten(self, image: Image, snapshot_id: int) -> Steps[None]:
        """`snapshot-flatten`: no snapshot is left, the image is what this one was."""
        yield from self._step(image, "snap_flatten", snapshot_id)
        image.chain = Chain(image.chain.orphans)

    def _step(self, image: Image, action: str, snapshot_id: int) -> Steps[None]:
        image.state, image.target_snapshot = objects.LOCKED, snapshot_id
        document = action_data(image.datastore, image.document(self._oned.version))
        try:
            yield datastore_command(image.datastore.ds_mad, action, image.id, document)
        finally:
            image.state, image.target_snapshot = objects.READY, -1
