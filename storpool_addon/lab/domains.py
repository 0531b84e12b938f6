"""What people do with guests that run: for a lab with libvirt, beside what `Machines` does on any lab."""

from __future__ import annotations

from storpool_addon.lab.command import Result, StepFailed, Steps
from storpool_addon.lab.hosts import captured
from storpool_addon.lab.hostset import Hosts
from storpool_addon.lab.hypervisor import Hypervisor
from storpool_addon.lab.libvirtd import URI
from storpool_addon.lab.machine import RUNNING, Vm
from storpool_addon.lab.machines import Machines

SAVE_STOP, SAVE_SUSPEND, SHUTDOWN_POWEROFF, SHUTDOWN_UNDEPLOY = 5, 6, 18, 29


class Domains:
    """Each method but `virsh` gives the scripts one after the other; Lab.do runs them."""

    def __init__(self, hosts: Hosts, vms: Machines, driver: Hypervisor) -> None:
        self._hosts = hosts
        self._vms = vms
        self._driver = driver

    def virsh(self, host: str, *words: str, timeout_s: float = 60.0) -> str:
        """What virsh on a host prints; RuntimeError with its words where it fails."""
        node = self._hosts.nodes[host]
        done = captured([*node.enter, *node.login, "virsh", "-c", URI, *words], timeout_s)
        if done.returncode != 0:
            raise RuntimeError(f"virsh {' '.join(words)} on {host}: {done.stderr.strip()}")
        return done.stdout.strip()

    def where(self, vm: Vm) -> dict[str, str]:
        """The hosts that have the VM's domain, and what libvirt says it does there."""
        found = {}
        for name, node in self._hosts.nodes.items():
            words = ["virsh", "-c", URI, "domstate", f"one-{vm.id}"]
            done = captured([*node.enter, *node.login, *words], 60.0)
            if done.returncode == 0:
                found[name] = done.stdout.strip()
        return found

    def poweroff(self, vm: Vm, *, hard: bool = False) -> Steps[None]:
        """`onevm poweroff`."""
        yield from self._shut(vm, SHUTDOWN_POWEROFF, hard=hard)
        self._vms.poweroff(vm)

    def undeploy(self, vm: Vm, *, hard: bool = False) -> Steps[None]:
        """`onevm undeploy`."""
        yield from self._shut(vm, SHUTDOWN_UNDEPLOY, hard=hard)
        yield from self._vms.undeploy(vm)

    def reboot(self, vm: Vm, *, hard: bool = False) -> Steps[Result]:
        """`onevm reboot`."""
        return (yield from self._driver.plain("reset" if hard else "reboot", vm, vm.deploy_id, vm.here.host))

    def suspend(self, vm: Vm) -> Steps[None]:
        """`onevm suspend`."""
        yield from self._save(vm, SAVE_SUSPEND)
        self._vms.suspend(vm)

    def stop(self, vm: Vm) -> Steps[None]:
        """`onevm stop`."""
        yield from self._save(vm, SAVE_STOP)
        yield from self._vms.stop(vm)

    def _shut(self, vm: Vm, lcm: int, *, hard: bool) -> Steps[None]:
        vm.lcm_state = lcm
        yield from self._or_running(vm, self._driver.shut(vm, hard=hard))

    def _save(self, vm: Vm, lcm: int) -> Steps[None]:
        vm.lcm_state = lcm
        yield from self._or_running(vm, self._driver.save(vm))
        vm.is_saved = True

    def _or_running(self, vm: Vm, steps: Steps[None]) -> Steps[None]:
        try:
            yield from steps
        except StepFailed:
            vm.lcm_state = RUNNING
            raise
