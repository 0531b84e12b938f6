"""What a VM asks for in T_VCPU_NEW, T_MEMORY_NEW and T_CPU_SHARES, and how far it may grow."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from storpool_addon.errors import ConfigError, StateError

if TYPE_CHECKING:
    from storpool_addon.config import Config
    from storpool_addon.opennebula.vm import Vm

# What a user writes, and what oned calls that. T_CPU_SHARES counts beside T_VCPU_NEW alone.
VCPU, MEMORY, SHARES = "T_VCPU_NEW", "T_MEMORY_NEW", "T_CPU_SHARES"
_CAPACITY = {VCPU: "VCPU", MEMORY: "MEMORY", SHARES: "CPU"}
# Where an attribute has been carried out: oned has no call that takes one out, and to write all others back
# would undo what a user has changed meanwhile.
DONE = "-"
_WHOLE, _DECIMAL = re.compile(r"[0-9]{1,9}", re.ASCII), re.compile(r"[0-9]{1,4}(\.[0-9]{1,4})?", re.ASCII)


def asked(vm: Vm) -> dict[str, str]:
    """The attributes that wait; nothing when it is T_CPU_SHARES alone, which VMs keep from former times."""
    found = {name: vm.attribute(name) for name in _CAPACITY}
    waiting = {name: text for name, text in found.items() if text not in ("", DONE)}
    if VCPU not in waiting:
        waiting.pop(SHARES, None)
    return waiting


def has(vm: Vm, wanted: Mapping[str, str]) -> bool:
    """Whether oned says that the VM has that."""
    return all(math.isclose(_has(vm, key), float(text)) for key, text in wanted.items())


def differing(config: Config, vm: Vm, wanted: Mapping[str, str]) -> dict[str, str]:
    """What of it differs from what the VM has; an AddonError when it may not have that."""
    found: dict[str, str] = {}
    for name, text in wanted.items():
        key = _CAPACITY[name]
        number, now = _number(vm, name, text), _has(vm, key)
        if number > now:
            _check_limit(config, vm, name, number)
        if not math.isclose(number, now):
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
