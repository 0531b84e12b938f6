"""The hook of NIC aliases that come to a running VM, or go: all their addresses count at once.

OpenNebula's own network drivers add fewer of them to a running VM than they do when it starts: those of
virtual routers and the link-local ones are missing until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon.hosts import addresses
from storpool_addon.opennebula.hookmessage import subject
from storpool_addon.opennebula.nic import Nics
from storpool_addon.opennebula.protocol import protocol
from storpool_addon.opennebula.xml import parse

if TYPE_CHECKING:
    from storpool_addon.driver import Driver


def nics_of(document: bytes) -> Nics:
    """The NICs of the VM that the hook is about."""
    return Nics.from_node(subject(document, "VM"))


@protocol(stdin=("vm", nics_of))
def nic_alias(driver: Driver, vm: Nics) -> None:
    """Bring the sets of each NIC that filters in line with its aliases as they are now."""
    changing = [alias for alias in vm.aliases if alias.changing]
    if not changing:
        return
    # The message may be old: an alias that could not be attached is gone again by now.
    host = driver.one.vm(vm.vm_id).last.hostname
    now = Nics.from_node(parse(driver.one.vm_document(vm.vm_id), f"VM {vm.vm_id}"))
    for nic in now.nics:
        gone = [each for alias in changing if alias.parent_id == nic.id for each in alias.addresses]
        if nic.filters and gone:
            there = sorted(set(now.there(nic)))
            fewer = sorted(set(gone) - set(there))
            addresses.allow(driver.hosts.on(host), now.vm_id, nic.id, there, fewer)
