"""Giving all of a VM the data of a VM snapshot, or nothing of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Callable, NamedTuple

from storpool_addon import names, tags
from storpool_addon.errors import AddonError, StateError
from storpool_addon.hosts import vmdir, vtpm
from storpool_addon.hosts.guest import Guest
from storpool_addon.snapshots import Revert
from storpool_addon.storpool import Snapshot, Volume
from storpool_addon.tm import tpm
from storpool_addon.undo import Undo, uninterrupted
from storpool_addon.vmm.whole import Whole

if TYPE_CHECKING:
    from storpool_addon.driver import Driver


class Piece(NamedTuple):
    """A volume, the part of the VM snapshot that it is to hold, and what is set aside of it, if anything."""

    before: Volume
    source: Snapshot
    aside_name: str
    aside: Snapshot | None = None

    def known(self, aside: Snapshot, deleted_tag: str) -> Piece:
        """With what is set aside, by an earlier run perhaps, which knew what the volume was like."""
        own = {key: word for key, word in aside.tags.items() if key != deleted_tag}
        before = self.before._replace(size=max(self.before.size, aside.size), tags=self.before.tags or own)
        return self._replace(before=before, aside=aside)


class Task(NamedTuple):
    """A revert. memory: the part with the guest's memory, None for a snapshot without."""

    vm: Whole
    pieces: Sequence[Piece]
    memory: Snapshot | None
    client: int
    guest: Guest


def prepare(driver: Driver, vm: Whole, deploy_id: str, hypervisor_id: str) -> Task:
    """All that a revert needs, of which nothing has been touched yet (D-5); StateError when a part lacks."""
    found = {volume: vm.snapshots.find(name) for volume, name in vm.pairs(hypervisor_id)}
    parts = {volume: part for volume, part in found.items() if part is not None}
    for part in parts.values():
        _check_owner(vm, part)
    lacking = [volume for volume in found if volume not in parts]
    _check_whole(driver, vm, lacking, parts.values(), hypervisor_id)
    memory = vm.snapshots.find(names.vm_snapshot(names.memory(vm.config.one_px, vm.vm.id), hypervisor_id))
    if memory is not None:
        _check_memory(vm, memory, len(parts))
    # Whatever lets a guest run on the disks that an interrupted revert has left opens a history record.
    word = f"{hypervisor_id}-{vm.vm.last.seq}"
    pieces = [_piece(vm, volume, part, word) for volume, part in parts.items()]
    client = driver.client_id(vm.place.host, vm.vm, vm.system)
    file = f"{vm.place.path}/.{word}.xml"
    return Task(vm, pieces, memory, client, Guest(driver.hosts.on(vm.place.host), deploy_id, file))


def _piece(vm: Whole, volume: str, part: Snapshot, word: str) -> Piece:
    before, source = vm.snapshots.plan(volume, part)
    piece = Piece(before, source, names.reverted(volume, word))
    aside = vm.snapshots.find(piece.aside_name)
    return piece if aside is None else piece.known(aside, vm.config.deleted_tag)


def _check_owner(vm: Whole, part: Snapshot) -> None:
    owner = part.tags.get(vm.config.vm_tag, "")
    if owner not in ("", str(vm.vm.id)):
        raise StateError(f"snapshot {part.name} is of VM {owner}, not of VM {vm.vm.id}, and is left alone")


def _check_whole(
    driver: Driver, vm: Whole, lacking: Sequence[str], parts: Iterable[Snapshot], hypervisor_id: str
) -> None:
    """The context image is made anew whenever a VM starts; the bash addon's snapshots have no NVRAM."""
    ours = [part for part in parts if tags.PARTS in part.tags]
    disks = {each.volume: each.disk.disk_id for each in vm.disks}
    for volume in lacking:
        if volume in disks:
            raise StateError(
                f"disk {disks[volume]} of VM {vm.vm.id} has no part in VM snapshot {hypervisor_id}: it came"
                " later, or its part was deleted; detach the disk, or delete the VM snapshot"
            )
        if ours and not names.is_context(vm.config.one_px, volume):
            raise StateError(
                f"volume {volume} of VM {vm.vm.id} has no part in VM snapshot {hypervisor_id}: it came later,"
                " or its part was deleted; delete the VM snapshot"
            )
        driver.log(f"volume {volume} has no part in VM snapshot {hypervisor_id} and stays as it is")
    if len(lacking) == len(vm.names):
        raise StateError(
            f"nothing is there of VM snapshot {hypervisor_id} of VM {vm.vm.id}; delete it in OpenNebula"
        )


def _check_memory(vm: Whole, memory: Snapshot, parts: int) -> None:
    _check_owner(vm, memory)
    wanted = memory.tags.get(tags.PARTS, "")
    if wanted and wanted != str(parts + 1):
        raise StateError(
            f"VM {vm.vm.id} has not the disks that it had when snapshot {memory.name} of its memory was"
            " taken; its guest could not go on"
        )


class Reverting:
    """One revert, and how far it has come."""

    def __init__(self, driver: Driver, task: Task) -> None:
        self._driver = driver
        self._task = task
        self._vm = task.vm
        self._pieces = list(task.pieces)
        self._bootable = self._detached = self._changed = False

    def run(self) -> None:
        """Carry it out; what fails puts everything back.

        What an interrupted run has set aside is what the disks held before it, if no guest has run since.
        """
        self._changed = any(each.aside for each in self._pieces) and self._task.guest.is_between()
        if not self._changed:
            for piece in self._pieces:
                self._retire(piece)
            self._pieces = [each._replace(aside=None) for each in self._pieces]
            tpm.save_running(self._driver, self._vm.vm, self._vm.system, self._vm.place)
        with Undo(self._driver.log) as undo:
            undo.add(f"give VM {self._vm.vm.id} back what it had, and start it", self._put_back)
            self._bootable = True
            self._bootable = self._task.guest.end()
            with uninterrupted():
                self._detach()
            for at, piece in enumerate(self._pieces):
                with uninterrupted():
                    self._pieces[at] = self._set_aside(piece)
            self._changed = True
            for piece in self._pieces:
                with uninterrupted():
                    self._vm.snapshots.carry_out(Revert(piece.before, piece.source), keep_size=True)
            self._attach()
            self._start()
        self._clean_up()

    def _detach(self) -> None:
        self._detached = True
        self._vm.volumes.release(self._vm.names, force=False)

    def _set_aside(self, piece: Piece) -> Piece:
        if piece.aside is not None:
            return piece
        aside = self._vm.snapshots.set_aside(piece.before, piece.aside_name)
        return piece.known(aside, self._vm.config.deleted_tag)

    def _attach(self) -> None:
        with uninterrupted():
            self._vm.volumes.place(self._vm.placements(self._task.client))
        if self._vm.vm.has_tpm:
            vtpm.forget(self._driver.hosts.on(self._vm.place.host), self._vm.place.path)
            tpm.restore(self._driver, self._vm.vm, self._vm.system, self._vm.place)

    def _start(self) -> None:
        """oned takes the VM for one that runs, however a revert ends (LifeCycleStates.cc)."""
        memory = self._task.memory
        if memory is not None:
            with uninterrupted():
                self._vm.snapshots.attach([memory.name], self._task.client)
            reference = self._vm.volumes.api.reference(memory.name, snapshot=True)
            self._task.guest.restore(vmdir.device(reference), self._devices())
        elif self._bootable:
            self._boot()
        else:
            self._driver.log(f"the guest of VM {self._vm.vm.id} did not run, and is not started")
            self._task.guest.leave_off()

    def _boot(self) -> None:
        vm = self._vm.vm
        program = f"{self._driver.config.scripts_remote_dir}/vtpm_setup" if vm.has_tpm else ""
        self._task.guest.boot(self._devices(), program)

    def _devices(self) -> list[str]:
        api = self._vm.volumes.api
        return [vmdir.device(api.reference(each.volume)) for each in self._vm.placements(self._task.client)]

    def _put_back(self) -> None:
        """All disks as they were, then the guest; it is not started on anything else."""
        if self._detached:
            kept = [(piece, piece.aside) for piece in self._pieces if piece.aside is not None]
            if self._changed:
                self._vm.volumes.release(self._vm.names, force=False)
                for piece, aside in kept:
                    self._vm.snapshots.carry_out(Revert(piece.before, aside), keep_size=False)
            for _, aside in kept:
                self._tolerate(self._vm.snapshots.delete, aside.name)
            self._attach()
        if self._bootable:
            self._boot()
        else:
            self._task.guest.leave_off()
        self._give_up_memory()

    def _clean_up(self) -> None:
        """The VM is what it is to be: what fails now is no failure, and goes by itself in a week."""
        self._give_up_memory()
        for piece in self._pieces:
            self._tolerate(self._retire, piece)

    def _give_up_memory(self) -> None:
        if self._task.memory is not None:
            self._tolerate(self._vm.snapshots.detach, [self._task.memory.name])

    def _retire(self, piece: Piece) -> None:
        """What was set aside is nothing to go back to any more."""
        if piece.aside is None:
            return
        if self._vm.holds_data(piece.before.name):
            self._vm.snapshots.retire(piece.aside, piece.before.name)
        else:
            self._vm.snapshots.delete(piece.aside.name)

    def _tolerate(self, step: Callable[..., object], *args: object) -> None:
        try:
            step(*args)
        except AddonError as error:
            self._driver.log(f"{error}; it is left for later")
