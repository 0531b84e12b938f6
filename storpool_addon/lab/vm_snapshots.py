"""`onevm snapshot-…`: snapshots of a whole VM that runs, as oned has its VM driver's local scripts take them.

States, names and arguments are those of OpenNebula 7.4 (DispatchManagerActions.cc, VirtualMachine.cc,
one_vmm_exec.rb, with the scripts of this driver after `-l`), which have not changed since 6.10.
"""

from __future__ import annotations

import base64

from storpool_addon.lab.command import Command, StepFailed, Steps
from storpool_addon.lab.machine import RUNNING, Vm
from storpool_addon.lab.oned import Oned

HOTPLUG_SNAPSHOT = 24
# What oned's clock says at the first of them; a second later at each that follows.
TIME = 1_769_009_100


class VmSnapshots:
    """Each method gives the scripts one after the other; Lab.do runs them."""

    def __init__(self, oned: Oned) -> None:
        self._oned = oned

    def create(self, vm: Vm, name: str = "") -> Steps[int]:
        """`snapshot-create`; gives the snapshot's id, which oned has chosen before the script runs."""
        number = max((int(each["SNAPSHOT_ID"]) for each in vm.snapshots), default=-1) + 1
        entry = {
            "ACTION": "CREATE", "ACTIVE": "YES", "HYPERVISOR_ID": "", "NAME": name or f"snapshot-{number}",
            "SNAPSHOT_ID": str(number), "SYSTEM_DISK_SIZE": "0", "TIME": str(TIME + vm.snapshots_asked),
        }  # fmt: skip
        vm.snapshots_asked += 1
        vm.snapshots.append(entry)
        try:
            answer = yield from self._step(vm, entry, "create", str(number))
        except StepFailed:
            vm.snapshots.remove(entry)
            raise
        entry["HYPERVISOR_ID"] = answer.partition("\n")[0]
        return number

    def revert(self, vm: Vm, number: int) -> Steps[None]:
        """`snapshot-revert`: however it ends, oned takes the VM for one that runs."""
        entry = self._entry(vm, number)
        entry.update(ACTION="REVERT", ACTIVE="YES")
        yield from self._step(vm, entry, "revert", entry["HYPERVISOR_ID"])

    def delete(self, vm: Vm, number: int) -> Steps[None]:
        """`snapshot-delete`."""
        entry = self._entry(vm, number)
        entry.update(ACTION="DELETE", ACTIVE="YES")
        yield from self._step(vm, entry, "delete", entry["HYPERVISOR_ID"])
        vm.snapshots.remove(entry)

    def _entry(self, vm: Vm, number: int) -> dict[str, str]:
        return next(each for each in vm.snapshots if each["SNAPSHOT_ID"] == str(number))

    def _step(self, vm: Vm, entry: dict[str, str], verb: str, word: str) -> Steps[str]:
        vm.lcm_state = HOTPLUG_SNAPSHOT
        try:
            answer = yield self._command(vm, verb, word)
        finally:
            for key in ("ACTION", "ACTIVE"):
                entry.pop(key, None)
            vm.lcm_state = RUNNING
        return answer.stdout

    def _command(self, vm: Vm, verb: str, word: str) -> Command:
        args = (vm.deploy_id, word, str(vm.id), vm.here.host)
        document = vm.action_data(self._oned.version)
        return Command(f"vmm/kvm/snapshot_{verb}-storpool", args, base64.b64encode(document.encode()))
