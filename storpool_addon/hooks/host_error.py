"""The hook of hosts in ERROR: the host is fenced, and only then OpenNebula may start its VMs elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from storpool_addon.config.fencing import ALL, NONE
from storpool_addon.errors import AddonError, StateError
from storpool_addon.hooks import chronicle, examining, fencing
from storpool_addon.opennebula.hookmessage import subject
from storpool_addon.opennebula.host import Host
from storpool_addon.opennebula.protocol import protocol
from storpool_addon.opennebula.states import HostState, LcmState, VmState

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.opennebula.vm import Vm

# What OpenNebula's own hook takes for lost (share/hooks/ft/host_error.rb).
_LOST = (HostState.ERROR, HostState.MONITORING_ERROR)
# Those that oned lets be rescheduled, beside powered off ones (DispatchManager::resched).
_RAN = (LcmState.RUNNING, LcmState.UNKNOWN)


def host_of(document: bytes) -> Host:
    """The host that the hook is about."""
    return Host.from_node(subject(document, "HOST"))


@protocol(stdin=("host", host_of))
def host_error(driver: Driver, host: Host) -> None:
    """Fence a host that stays in ERROR, then let its VMs be rescheduled; none of them when it is not sure."""
    if host.state not in _LOST or not _stays_lost(driver, host):
        driver.log(f"host {host.name} is not in ERROR any more; nothing is done")
        return
    fence_host(driver, host)
    _reschedule(driver, host)


@protocol(stdin=("host", host_of))
def fence_host(driver: Driver, host: Host) -> None:
    """Fence a host, as `fence_host.sh` of OpenNebula's own hook of hosts in ERROR is asked to."""
    with driver.exclusive(f"fence-host-{host.id}"):
        driver.one.forget("host", host.id)
        seen = examining.look(driver, driver.one.host(host.id))
        for note in seen.notes():
            driver.log(note)
        outcome = fencing.fence(driver, seen, chronicle.who(driver))
    outcome.check()
    driver.log(f"host {host.name} is cut off, fenced since {outcome.since}")


def _stays_lost(driver: Driver, host: Host) -> bool:
    time.sleep(driver.config.host_error_wait_s)
    return driver.one.host(host.id).state in _LOST


def _reschedule(driver: Driver, host: Host) -> None:
    """Let oned move the VMs, each by itself; StateError at the end for those that could not be."""
    if driver.config.host_error_vms == NONE:
        return
    driver.one.forget("host", host.id)
    troubles = []
    for vm_id in driver.one.host(host.id).vms:
        try:
            driver.one.forget("vm", vm_id)
            reason = _stays(driver, host, driver.one.vm(vm_id))
            if not reason:
                driver.one.call("one.vm.action", "resched", vm_id)
            driver.log(f"VM {vm_id} {reason or 'is to be started on another host'}")
        except AddonError as error:
            troubles.append(f"VM {vm_id}: {error}")
    if troubles:
        raise StateError(f"host {host.name} is cut off; not rescheduled: {'; '.join(troubles)}")


def _stays(driver: Driver, host: Host, vm: Vm) -> str:
    """Why a VM is left alone, "" when it is to be moved."""
    if vm.last.hid != host.id:
        return f"is not on host {host.name}"
    ran = vm.state == VmState.ACTIVE and vm.lcm_state in _RAN
    if not ran and not (vm.state == VmState.POWEROFF and driver.config.host_error_vms == ALL):
        return f"is left where it is, in state {vm.state:d}, LCM state {vm.lcm_state:d}"
    others = examining.others_disks(vm)
    if others:
        return f"is left where it is: disk {', '.join(map(str, others))} is another driver's"
    return ""
