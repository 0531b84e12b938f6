"""Snapshots of a whole VM: snapshot_create-storpool, snapshot_delete-storpool, snapshot_revert-storpool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from storpool_addon import names, tags
from storpool_addon.errors import StateError
from storpool_addon.hosts import firmware, freeze
from storpool_addon.opennebula.action import VmmAction
from storpool_addon.opennebula.location import checked_host
from storpool_addon.opennebula.protocol import number, protocol, text
from storpool_addon.tm import tpm
from storpool_addon.undo import Undo, uninterrupted
from storpool_addon.vmm import memory, whole
from storpool_addon.vmm.reverting import Reverting, prepare
from storpool_addon.vmm.whole import Whole

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.snapshots import Pair

_LIMIT = "VMSNAPSHOT_LIMIT"
_given = protocol(
    deploy_id=text,
    hypervisor_id=text,
    vm_id=number,
    host=checked_host,
    stdin=("action", VmmAction.parse),
)


@protocol(
    deploy_id=text, snapshot_id=number, vm_id=number, host=checked_host, stdin=("action", VmmAction.parse)
)
def snapshot_create_storpool(
    driver: Driver, deploy_id: str, snapshot_id: int, vm_id: int, host: str, action: VmmAction
) -> str:
    """Snapshots of all volumes of a VM that runs, at one moment; what oned is to call them."""
    vm = whole.of_vm(driver, action, vm_id, host)
    _check_allowed(vm)
    hypervisor_id, with_memory = _hypervisor_id(vm, snapshot_id), memory.wanted(driver, vm)
    pairs = vm.pairs(hypervisor_id, *([memory.volume(vm)] if with_memory else []))
    wanted = tags.vm_snapshot(vm.config, vm_id, len(pairs))
    with driver.exclusive(lock(vm_id)), Undo(driver.log) as undo:
        if not vm.snapshots.has_group(pairs, wanted):
            _be_ready(driver, vm)
            with memory.kept(driver, vm, deploy_id) if with_memory else _held(driver, vm, deploy_id):
                _take(undo, vm, pairs, wanted)
        elif with_memory:
            memory.forget(driver, vm, deploy_id)
    return hypervisor_id


@_given
def snapshot_delete_storpool(
    driver: Driver, deploy_id: str, hypervisor_id: str, vm_id: int, host: str, action: VmmAction
) -> None:
    """Delete a VM snapshot, all that is there of it."""
    check_known(action, hypervisor_id)
    for snapshots, volume in whole.ever(driver, action, vm_id):
        name = names.vm_snapshot(volume, hypervisor_id)
        found = snapshots.find(name)
        if found is None:
            continue
        if not is_of(driver, vm_id, found.tags):
            driver.log(f"snapshot {name} is of another VM that has the image, and is left alone")
            continue
        snapshots.delete(name)


@_given
def snapshot_revert_storpool(
    driver: Driver, deploy_id: str, hypervisor_id: str, vm_id: int, host: str, action: VmmAction
) -> None:
    """Give all of a VM the data of a VM snapshot, or nothing of it; its guest is started anew, or goes on."""
    check_known(action, hypervisor_id)
    vm = whole.of_vm(driver, action, vm_id, host)
    with driver.exclusive(lock(vm_id)):
        Reverting(driver, prepare(driver, vm, deploy_id, hypervisor_id)).run()


def check_known(action: VmmAction, hypervisor_id: str) -> None:
    """StateError for what is no VM snapshot of the VM: names are made of it."""
    if not hypervisor_id or hypervisor_id not in {each.hypervisor_id for each in action.vm.vm_snapshots}:
        raise StateError(f"VM {action.vm.id} has no VM snapshot {hypervisor_id!r} in OpenNebula")


def is_of(driver: Driver, vm_id: int, found: dict[str, str]) -> bool:
    """Whether a part is of this VM; one without that tag is, by its exact name."""
    return found.get(driver.config.vm_tag, "") in ("", str(vm_id))


def lock(vm_id: int) -> str:
    """What keeps two of these actions apart."""
    return f"snapshot-of-vm-{vm_id}"


def _check_allowed(vm: Whole) -> None:
    config = vm.config
    if not config.vmsnapshot_override:
        raise StateError(
            "VMSNAPSHOT_OVERRIDE is off: no VM snapshots are taken; switch it on, or take snapshotcreate"
            " out of the arguments of VM_MAD in oned.conf"
        )
    limit, given = config.vmsnapshot_limit, config.given(_LIMIT)
    if not config.vmsnapshot_enable_limit or limit is None or given is None:
        return
    # oned has entered the new one already.
    if len(vm.vm.vm_snapshots) > limit:
        most = f"at most {limit} VM snapshots" if limit else "no VM snapshots"
        raise StateError(
            f"VM {vm.vm.id} may have {most} ({_LIMIT} of {given.where}); delete one, or raise the limit"
        )


def _hypervisor_id(vm: Whole, snapshot_id: int) -> str:
    """Made of the time at which oned was asked, which it keeps: a repeat makes the same names."""
    for each in vm.vm.vm_snapshots:
        if each.id == snapshot_id and each.time > 0:
            return names.hypervisor_id(vm.config.vmsnapshot_tag, snapshot_id, each.time)
    raise StateError(
        f"OpenNebula knows no snapshot {snapshot_id} of VM {vm.vm.id}; take it with onevm snapshot-create"
    )


def _be_ready(driver: Driver, vm: Whole) -> None:
    """All that need not be done while the guest waits."""
    tpm.save_now(driver, vm.vm, vm.system, vm.place)
    variables = names.nvram(vm.config.one_px, vm.vm.id)
    for name in vm.names:
        vm.volumes.owned(name)
    if variables in vm.names:
        firmware.flush(driver.hosts.on(vm.place.host), vm.volumes.api.reference(variables))


@contextmanager
def _held(driver: Driver, vm: Whole, deploy_id: str) -> Iterator[None]:
    """With the guest's file systems frozen, if the site wants it and the guest can."""
    if not vm.config.vmsnapshot_fsfreeze:
        yield
        return
    shell = driver.hosts.on(vm.place.host)
    with freeze.frozen(driver.processes, shell, deploy_id, freeze.AGENT, False, driver.log):
        yield


def _take(undo: Undo, vm: Whole, pairs: Sequence[Pair], wanted: dict[str, str]) -> None:
    with uninterrupted():
        if vm.snapshots.take_group(pairs, wanted):
            for _, name in pairs:
                undo.add(f"delete snapshot {name}", vm.snapshots.delete, name)
