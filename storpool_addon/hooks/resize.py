"""The hook that gives a VM the CPUs and the memory that its attributes ask for, by oned's own resize."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from storpool_addon.errors import (
    AddonError,
    ConfigError,
    HostError,
    OpenNebulaRefused,
    StateError,
    UsageError,
)
from storpool_addon.hooks import capacity
from storpool_addon.hooks.capacity import DONE, SHARES
from storpool_addon.hosts import shares
from storpool_addon.opennebula.apicall import ApiCall
from storpool_addon.opennebula.protocol import protocol
from storpool_addon.opennebula.states import LcmState

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.opennebula.vm import Vm

# A resize that is under way takes as long as virsh does.
_WAIT_S, _PAUSE_S = 45.0, 0.5
_MOST_TEXT = 300


@protocol(stdin=("call", ApiCall.parse))
def resize(driver: Driver, call: ApiCall) -> None:
    """Carry out what the VM asks for now; what is refused is said in its ERROR attribute."""
    if call.kind != "vm":
        raise UsageError('resize is a hook of one.vm.update; is ARGUMENTS = "vm $API"?')
    if call.succeeded and capacity.asked(_now(driver, call.object_id)):
        with driver.exclusive(f"resize-{call.object_id}"):
            _until_nothing_is_asked(driver, call.object_id)


def _until_nothing_is_asked(driver: Driver, vm_id: int) -> None:
    """What was carried out is marked so, unless the user has asked for something else meanwhile."""
    done: Mapping[str, str] = {}
    failed: AddonError | None = None
    while True:
        vm = _now(driver, vm_id)
        asked = capacity.asked(vm)
        over = {name: DONE for name, text in asked.items() if done.get(name) == text}
        if over:
            driver.one.update("vm", vm_id, {**over, **_told(failed)})
        done = {name: text for name, text in asked.items() if name not in over}
        if not done:
            break
        failed = _tried(driver, vm, done)
    if failed is not None:
        raise failed


def _told(failed: AddonError | None) -> dict[str, str]:
    """As oned itself writes what went wrong with a VM, for Sunstone to show."""
    if failed is None:
        return {}
    return {"ERROR": f"{time.strftime('%a %b %d %H:%M:%S %Y')} : {str(failed)[:_MOST_TEXT]}"}


def _tried(driver: Driver, vm: Vm, asked: Mapping[str, str]) -> AddonError | None:
    """Why it could not be done, None when it was."""
    try:
        wanted = capacity.differing(driver.config.for_vm(vm), vm, asked)
        if wanted:
            driver.log(f"VM {vm.id}: {', '.join(f'{key} {text}' for key, text in wanted.items())}")
            _resize(driver, vm.id, wanted)
        if SHARES in asked and _runs(vm):
            # oned's own resize changes what the VM is charged for, not what its guest gets of the host.
            shares.give(driver.hosts.on(vm.last.hostname), vm.deploy_id, float(asked[SHARES]))
    except (ConfigError, StateError, OpenNebulaRefused, HostError) as error:
        return error
    return None


def _resize(driver: Driver, vm_id: int, wanted: Mapping[str, str]) -> None:
    """Ask oned, which refuses while another resize is under way; ours, too, if its answer was lost."""
    until = time.monotonic() + _WAIT_S
    while True:
        try:
            driver.one.resize(vm_id, wanted)
            return
        except OpenNebulaRefused:
            vm = _now(driver, vm_id)
            if capacity.has(vm, wanted):
                return
            if vm.lcm_state != LcmState.HOTPLUG_RESIZE or time.monotonic() > until:
                raise
        time.sleep(_PAUSE_S)


def _runs(vm: Vm) -> bool:
    return vm.lcm_state in (LcmState.RUNNING, LcmState.HOTPLUG_RESIZE)


def _now(driver: Driver, vm_id: int) -> Vm:
    driver.one.forget("vm", vm_id)
    return driver.one.vm(vm_id)
