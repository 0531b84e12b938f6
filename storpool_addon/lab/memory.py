"""Saving and restoring guests' memory, as the VM driver does it where the hooks of this driver are set up.

Around OpenNebula's own scripts on the host, of which the one part is played here that a storage driver meets:
bytes are written to a file of the VM's directory, and read from it later on.
"""

from __future__ import annotations

import base64
from shlex import quote
from typing import Protocol

from storpool_addon.lab import machine
from storpool_addon.lab.command import Command, StepFailed, Steps
from storpool_addon.lab.hostset import Hosts
from storpool_addon.lab.machine import RUNNING, Vm
from storpool_addon.lab.oned import Oned

SAVE_STOP, SAVE_SUSPEND, SAVE_MIGRATE = 5, 6, 7
LENGTH = 64 << 10
# kvm/save: what is there as a file is moved away, a device is written in place.
_SAVE = r"""
set -eu
[ ! -f "$0" ] || [ -L "$0" ] || mv "$0" "$0.old"
yes "$1" 2>/dev/null | head -c "$2" | dd of="$0" bs=64k iflag=fullblock conv=notrunc status=none
""".strip()
# kvm/restore: the file goes once the guest runs.
_RESTORE = 'set -eu; [ -s "$0" ]; head -c "$1" "$0" | head -n 1; rm "$0"'


class Verbs(Protocol):
    """What becomes of the VM apart from its memory: Machines."""

    def stop(self, vm: Vm) -> Steps[None]:
        """The VM leaves its host."""

    def resume(self, vm: Vm, host: str = "") -> Steps[None]:
        """It comes to a host."""

    def migrate(self, vm: Vm, host: str) -> Steps[None]:
        """From one to the other."""


class Memory:
    """Each method gives the scripts one after the other; Lab.do runs them. restored: by VM, what it found."""

    def __init__(self, oned: Oned, hosts: Hosts, vms: Verbs) -> None:
        self._oned = oned
        self._hosts = hosts
        self._vms = vms
        self.restored: dict[int, str] = {}

    def suspend(self, vm: Vm) -> Steps[None]:
        """`onevm suspend`."""
        yield from self.save(vm, SAVE_SUSPEND)
        vm.state, vm.lcm_state = machine.SUSPENDED, 0

    def stop(self, vm: Vm) -> Steps[None]:
        """`onevm stop`."""
        yield from self.save(vm, SAVE_STOP)
        yield from self._vms.stop(vm)

    def resume(self, vm: Vm, host: str = "") -> Steps[None]:
        """`onevm resume` of a suspended VM, or of a stopped one on any host."""
        yield from self._vms.resume(vm, host)
        yield from self.restore(vm)

    def migrate(self, vm: Vm, host: str) -> Steps[None]:
        """`onevm migrate` of a running VM."""
        yield from self.save(vm, SAVE_MIGRATE)
        yield from self._vms.migrate(vm, host)
        yield from self.restore(vm)

    def save(self, vm: Vm, lcm: int) -> Steps[None]:
        """The VM driver's save: the guest runs no more when it is done."""
        host, file = vm.here.host, f"{vm.home}/checkpoint"
        vm.lcm_state = lcm
        before, after = (self._hook(name, vm, vm.deploy_id, file, host) for name in ("presave", "postsave"))
        try:
            yield before
            self._on_host(host, _SAVE, file, self.of(vm), str(LENGTH))
            yield after
        except StepFailed:
            vm.lcm_state = RUNNING
            raise

    def restore(self, vm: Vm) -> Steps[None]:
        """The VM driver's restore."""
        host, file = vm.here.host, f"{vm.home}/checkpoint"
        args = (file, host, vm.deploy_id)
        yield self._hook("prerestore", vm, *args)
        self.restored[vm.id] = self._on_host(host, _RESTORE, file, str(LENGTH)).rstrip("\n")
        yield self._hook("postrestore", vm, *args)

    def of(self, vm: Vm) -> str:
        """What a VM's memory is full of."""
        return f"memory of VM {vm.id}"

    def _hook(self, name: str, vm: Vm, *args: str) -> Command:
        """tm/storpool/presave and the others, with the arguments of save and restore."""
        document = vm.action_data(self._oned.version, CHECKPOINT_FILE=f"{vm.home}/checkpoint")
        stdin = base64.b64encode(document.encode())
        return Command(f"tm/{vm.here.system.tm_mad}/{name}", (*args, str(vm.id), vm.here.host), stdin)

    def _on_host(self, name: str, script: str, *args: str) -> str:
        words = ["bash", "-c", script, *args]
        done = self._hosts.nodes[name].run(" ".join(map(quote, words)))
        if done.returncode != 0:
            raise RuntimeError(f"OpenNebula's own script failed on {name}: {done.stderr.strip()}")
        return done.stdout
