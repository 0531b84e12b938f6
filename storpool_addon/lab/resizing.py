"""oned's resize of CPU and memory: at once where the VM does not run, else by its driver, which may fail."""

from __future__ import annotations

from storpool_addon.lab.documents import Value
from storpool_addon.lab.machine import ACTIVE, POWEROFF, UNDEPLOYED, Vm

RUNNING, HOTPLUG_RESIZE = 3, 66
CAPACITY = ("CPU", "VCPU", "MEMORY")


class Cannot(Exception):
    """Why oned does not resize a VM."""


class Resizing:
    """`one.vm.resize` (RequestManagerVirtualMachine.cc, 6.10). most_memory: the owner's quota, in MiB."""

    def __init__(self) -> None:
        self.most_memory = 1 << 20

    def begin(self, vm: Vm, wanted: dict[str, str]) -> None:
        """Take the request on; what the driver makes of it, `finish` says."""
        before = {key: str(vm.attributes.get(key, "0")) for key in CAPACITY}
        if int(wanted.get("MEMORY", "0")) > self.most_memory:
            raise Cannot(f"user [2] limit of {self.most_memory} reached for MEMORY quota in VMs")
        if vm.state == ACTIVE and vm.lcm_state != RUNNING:
            raise Cannot(f"Cannot resize a VM in state {vm.lcm_state}")
        if vm.state not in (ACTIVE, POWEROFF, UNDEPLOYED):
            raise Cannot(f"Cannot resize a VM in state {vm.state}")
        changed = {key: text for key, text in wanted.items() if key in CAPACITY and before[key] != text}
        vm.attributes.update(changed)
        if vm.state == ACTIVE and changed:
            vm.lcm_state = HOTPLUG_RESIZE
            vm.attributes["RESIZE"] = before

    def finish(self, vm: Vm, *, success: bool = True) -> None:
        """The driver has answered (LifeCycleManager::trigger_resize_success, trigger_resize_failure)."""
        before: Value = vm.attributes.pop("RESIZE", {})
        vm.lcm_state = RUNNING
        if not success and isinstance(before, dict):
            vm.attributes.update(before)
