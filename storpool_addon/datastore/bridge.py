"""The host that works on an image: one of BRIDGE_LIST, or the front-end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from storpool_addon.errors import OpenNebulaError, StateError
from storpool_addon.opennebula.states import HostState

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.hosts.shell import Shell

_NOT_NOW = frozenset((HostState.ERROR, HostState.MONITORING_ERROR, HostState.OFFLINE))


def choose(driver: Driver, bridge_list: Sequence[str], number: int) -> Shell:
    """The host for the image of that id: entry `number % n`, as OpenNebula's own drivers take it.

    Hosts that oned knows to be off are left out; StateError when no other is there.
    """
    if not bridge_list:
        return driver.hosts.here
    usable = _usable(driver, bridge_list) if len(bridge_list) > 1 else list(bridge_list)
    if not usable:
        raise StateError(f"no host of BRIDGE_LIST ({' '.join(bridge_list)}) is on; start one")
    return on(driver, usable[number % len(usable)])


def on(driver: Driver, name: str) -> Shell:
    """A host by name; without ssh when it is the front-end itself."""
    return driver.hosts.here if name == driver.hosts.here.name else driver.hosts.on(name)


def _usable(driver: Driver, bridge_list: Sequence[str]) -> list[str]:
    try:
        states = {host.name: host.state for host in driver.one.hosts()}
    except OpenNebulaError as error:
        driver.log(f"{error}; taking the first choice of BRIDGE_LIST")
        return list(bridge_list)
    return [name for name in bridge_list if states.get(name) not in _NOT_NOW]
