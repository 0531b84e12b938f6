"""The hook that gives a VM the CPUs and the memory that its attributes ask for, by oned's own resize."""

from __future__ import annotations

import math
import re
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
from storpool_addon.hosts import shares
from storpool_addon.opennebula.apicall import ApiCall
from storpool_addon.opennebula.protocol import protocol
from storpool_addon.opennebula.states import LcmState

if TYPE_CHECKING:
    from storpool_addon.config import Config
    from storpool_addon.driver import Driver
    from storpool_addon.opennebula.vm import Vm

# What a user writes, and what oned calls that. T_CPU_SHARES counts beside T_VCPU_NEW alone.
VCPU, MEMORY, SHARES = "T_VCPU_NEW", "T_MEMORY_NEW", "T_CPU_SHARES"
_CAPACITY = {VCPU: "VCPU", MEMORY: "MEMORY", SHARES: "CPU"}
# Where an attribute has been carried out: oned has no call that takes one out, and to write all others back
# would undo what a user has changed meanwhile.
DONE = "-"
_WHOLE, _DECIMAL = re.compile(r"[0-9]{1,9}", re.ASCII), re.compile(r"[0-9]{1,4}(\.[0-9]{1,4})?", re.ASCII)
# A resize that is under way takes as long as virsh does.
_WAIT_S, _PAUSE_S = 45.0, 0.5
_MOST_TEXT = 300


@protocol(stdin=("call", ApiCall.parse))
def resize(driver: Driver, call: ApiCall) -> None:
    """Carry out what the VM asks for now; what is refused is said in its ERROR attribute."""
    if call.kind != "vm":
        raise UsageError('resize is a hook of one.vm.update; is ARGUMENTS = "vm $API"?')
    if call.succeeded and _asked(_now(driver, call.object_id)):
        with driver.exclusive(f"resize-{call.object_id}"):
            _until_nothing_is_asked(driver, call.object_id)


def _until_nothing_is_asked(driver: Driver, vm_id: int) -> None:
    """What was carried out is marked so, unless the user has asked for something else meanwhile."""
    done: Mapping[str, str] = {}
    failed: AddonError | None = None
    while True:
        vm = _now(driver, vm_id)
        asked = _asked(vm)
        over = {name: DONE for name, text in asked.items() if done.get(name) == text}
        if over:
            driver.one.update("vm", vm_id, {**over, **_told(failed)})
        done = {name: text for name, text in asked.items() if name not in over}
        if not done:
            break
        failed = _tried(driver, vm, done)
    if failed is not None:
        raise failed


def _asked(vm: Vm) -> dict[str, str]:
    """The attributes that wait; nothing when it is T_CPU_SHARES alone, which VMs keep from former times."""
    found = {name: vm.attribute(name) for name in _CAPACITY}
    waiting = {name: text for name, text in found.items() if text not in ("", DONE)}
    if VCPU not in waiting:
        waiting.pop(SHARES, None)
    return waiting


def _told(failed: AddonError | None) -> dict[str, str]:
    """As oned itself writes what went wrong with a VM, for Sunstone to show."""
    if failed is None:
        return {}
    return {"ERROR": f"{time.strftime('%a %b %d %H:%M:%S %Y')} : {str(failed)[:_MOST_TEXT]}"}


def _tried(driver: Driver, vm: Vm, asked: Mapping[str, str]) -> AddonError | None:
    """Why it could not be done, None when it was."""
    try:
        capacity = _capacity(driver.config.for_vm(vm), vm, asked)
        if capacity:
            driver.log(f"VM {vm.id}: {', '.join(f'{key} {text}' for key, text in capacity.items())}")
            _resize(driver, vm.id, capacity)
        if SHARES in asked and _runs(vm):
            # oned's own resize changes what the VM is charged for, not what its guest gets of the host.
            shares.give(driver.hosts.on(vm.last.hostname), vm.deploy_id, float(asked[SHARES]))
    except (ConfigError, StateError, OpenNebulaRefused, HostError) as error:
        return error
    return None


def _capacity(config: Config, vm: Vm, asked: Mapping[str, str]) -> dict[str, str]:
    """What of it differs from what the VM has."""
    found: dict[str, str] = {}
    for name, text in asked.items():
        key = _CAPACITY[name]
        wanted, has = _number(vm, name, text), _has(vm, key)
        if wanted > has:
            _check_limit(config, vm, name, wanted)
        if not math.isclose(wanted, has):
            found[key] = text
    return found


def _number(vm: Vm, name: str, text: str) -> float:
    form = _DECIMAL if name == SHARES else _WHOLE
    if not form.fullmatch(text) or not float(text):
        raise ConfigError(f"VM {vm.id}: {name} is {text[:40]!r}; a number above 0 is expected")
    return float(text)


def _has(vm: Vm, key: str) -> float:
    text = vm.template.get(key, "")
    # A VM without VCPU has one CPU.
    return float(text) if _DECIMAL.fullmatch(text) or _WHOLE.fullmatch(text) else float(key == "VCPU")


def _check_limit(config: Config, vm: Vm, name: str, wanted: float) -> None:
    """A running domain cannot grow above what it was started with."""
    if name == SHARES:
        return
    key = _CAPACITY[name]
    ours, own = f"T_{key}_MAX", f"{key}_MAX"
    configured = config.t_vcpu_max if name == VCPU else config.t_memory_max
    limits = [each for each in (float(configured), _has(vm, own)) if each]
    if not limits:
        raise StateError(f"VM {vm.id}: {name} is {wanted:.0f}, but neither {ours} nor {own} lets it grow")
    if wanted > min(limits):
        raise StateError(
            f"VM {vm.id}: {name} is {wanted:.0f}; {ours} and {own} let it grow to {min(limits):.0f}"
        )


def _resize(driver: Driver, vm_id: int, capacity: Mapping[str, str]) -> None:
    """Ask oned, which refuses while another resize is under way; ours, too, if its answer was lost."""
    until = time.monotonic() + _WAIT_S
    while True:
        try:
            driver.one.resize(vm_id, capacity)
            return
        except OpenNebulaRefused:
            vm = _now(driver, vm_id)
            if all(math.isclose(_has(vm, key), float(text)) for key, text in capacity.items()):
                return
            if vm.lcm_state != LcmState.HOTPLUG_RESIZE or time.monotonic() > until:
                raise
        time.sleep(_PAUSE_S)


def _runs(vm: Vm) -> bool:
    return vm.lcm_state in (LcmState.RUNNING, LcmState.HOTPLUG_RESIZE)


def _now(driver: Driver, vm_id: int) -> Vm:
    driver.one.forget("vm", vm_id)
    return driver.one.vm(vm_id)
