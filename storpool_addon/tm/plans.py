"""What `mv` does to a VM in each state: this table is the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from storpool_addon.errors import StateError
from storpool_addon.opennebula.states import LcmState
from storpool_addon.opennebula.vm import Vm


class Plan(NamedTuple):
    """What happens to a VM's volumes and directory on its way from one host to another.

    attach: the volumes go to the target host and to no other; otherwise they leave every host.
    force: a device that is open elsewhere loses its volume. That is right where oned knows that the VM
    runs nowhere or its host is dead; else it might be a running guest, and the move is refused.
    copy: the directory goes along; without it the source host is not asked for anything.
    leaves_cloud: the VM rests on the front-end afterwards (SKIP_UNDEPLOY_SSH may leave its directory out).
    saved_memory: the directory holds the guest's memory, if no volume does.
    returns: it comes from the front-end, where the directory may not have been.
    """

    attach: bool
    force: bool = False
    copy: bool = True
    leaves_cloud: bool = False
    saved_memory: bool = False
    returns: bool = False


_ARRIVE = Plan(attach=True)
_RETURN = _ARRIVE._replace(returns=True)
_RETURN_WITH_MEMORY = _RETURN._replace(saved_memory=True)
_REST = Plan(attach=False, force=True, leaves_cloud=True)
_REST_WITH_MEMORY = _REST._replace(saved_memory=True)
_RESCUE = Plan(attach=True, force=True, copy=False)

# oned writes mv lines in three places (TransferManager.cc: trigger_prolog_migr, trigger_prolog_resume,
# trigger_epilog_stop), which LifeCycleActions.cc and LifeCycleStates.cc reach in these states alone. By
# `onevm recover --failure` it turns to the _FAILURE twin while lines are being carried out: the rest of them
# runs in that state. `recover --retry` turns back before it writes them anew.
PLANS: Mapping[LcmState, Plan] = {
    LcmState.PROLOG_MIGRATE: _ARRIVE,
    LcmState.PROLOG_MIGRATE_FAILURE: _ARRIVE,
    LcmState.PROLOG_MIGRATE_POWEROFF: _ARRIVE,
    LcmState.PROLOG_MIGRATE_POWEROFF_FAILURE: _ARRIVE,
    LcmState.PROLOG_MIGRATE_SUSPEND: _ARRIVE,
    LcmState.PROLOG_MIGRATE_SUSPEND_FAILURE: _ARRIVE,
    LcmState.PROLOG_RESUME: _RETURN_WITH_MEMORY,
    LcmState.PROLOG_RESUME_FAILURE: _RETURN_WITH_MEMORY,
    LcmState.PROLOG_UNDEPLOY: _RETURN,
    LcmState.PROLOG_UNDEPLOY_FAILURE: _RETURN,
    LcmState.EPILOG_STOP: _REST_WITH_MEMORY,
    LcmState.EPILOG_STOP_FAILURE: _REST_WITH_MEMORY,
    LcmState.EPILOG_UNDEPLOY: _REST,
    LcmState.EPILOG_UNDEPLOY_FAILURE: _REST,
    LcmState.PROLOG_MIGRATE_UNKNOWN: _RESCUE,
    LcmState.PROLOG_MIGRATE_UNKNOWN_FAILURE: _RESCUE,
}


def plan_of(vm: Vm) -> Plan:
    """The plan for the state that the VM is in; StateError when its disks do not move in that."""
    plan = PLANS.get(vm.lcm_state) if isinstance(vm.lcm_state, LcmState) else None
    if plan is None:
        raise StateError(f"VM {vm.id} is in LCM state {vm.lcm_state}, in which its disks do not move")
    return plan
