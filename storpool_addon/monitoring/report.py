"""What OpenNebula is told about the disks of each VM: a line for each, by system datastore."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Callable, NamedTuple

from storpool_addon import names
from storpool_addon.errors import AddonError, UsageError
from storpool_addon.opennebula.disk import Disk
from storpool_addon.opennebula.usage import UsedDisk, VmUsage
from storpool_addon.opennebula.vm import TM_MAD
from storpool_addon.units import bytes_to_mib_up

# Bytes of a volume or snapshot by its name, None when that is not known.
Lookup = Callable[[str], "int | None"]


class Rules(NamedTuple):
    """How the report is made. px: ONE_PX. lookups: by datastore, None for one that was not asked.

    vm_snapshots: whether snapshots of whole VMs are told too.
    """

    px: str
    lookups: Mapping[int, Lookup | None]
    vm_snapshots: bool = False


class Told(NamedTuple):
    """What is told about one VM. line: in monitord's words, empty for nothing. unknown: sizes left out."""

    datastore_id: int
    line: bytes
    unknown: int


def told(vms: Iterable[VmUsage | AddonError], rules: Rules) -> Iterator[Told | AddonError]:
    """Each VM, with nothing on a datastore that the rules do not know; in the place of one not read, why."""
    for vm in vms:
        if isinstance(vm, AddonError):
            yield vm
        elif vm.datastore_id in rules.lookups:
            yield _of_vm(vm, rules)
        else:
            yield Told(vm.datastore_id, b"", 0)


def _of_vm(vm: VmUsage, rules: Rules) -> Told:
    words: list[str] = []
    unknown = 0
    volumes: list[tuple[str, Lookup]] = []
    for used in vm.disks:
        found = _volume(vm, used.disk, rules)
        if found is None:
            unknown += _is_ours(used.disk, vm, rules)
            continue
        volumes.append(found)
        unknown += _disk(used, *found, words)
    if rules.vm_snapshots:
        unknown += _vm_snapshots(vm, volumes, words)
    text = b2a_base64("\n".join(words).encode(), newline=False)
    return Told(vm.datastore_id, b'VM=[ID="%d",MONITOR="%s"]\n' % (vm.id, text) if words else b"", unknown)


def _volume(vm: VmUsage, disk: Disk, rules: Rules) -> tuple[str, Lookup] | None:
    """The disk's volume, and who knows its size: the cluster of its own datastore."""
    lookup = rules.lookups.get(vm.datastore_id if disk.is_volatile else disk.datastore_id)
    if lookup is None:
        return None
    try:
        return names.of_disk(rules.px, vm.id, disk), lookup
    except UsageError:
        return None


def _is_ours(disk: Disk, vm: VmUsage, rules: Rules) -> bool:
    return disk.is_volatile or disk.tm_mad == TM_MAD or disk.datastore_id in rules.lookups


def _disk(used: UsedDisk, volume: str, lookup: Lookup, words: list[str]) -> int:
    """Add what is known of a disk and its snapshots; how much is not."""
    unknown = 0
    disk_id, size = used.disk.disk_id, lookup(volume)
    if size is None:
        unknown += 1
    else:
        words.append(f'DISK_SIZE=[ID="{disk_id}",SIZE="{bytes_to_mib_up(size)}"]')
    for number in used.snapshot_ids:
        size = lookup(f"{volume}-snap{number}")
        if size is None:
            unknown += 1
        else:
            words.append(f'SNAPSHOT_SIZE=[ID="{number}",DISK_ID="{disk_id}",SIZE="{bytes_to_mib_up(size)}"]')
    return unknown


def _vm_snapshots(vm: VmUsage, volumes: list[tuple[str, Lookup]], words: list[str]) -> int:
    """Add the bytes of each snapshot of the whole VM: of its parts that are there."""
    unknown = 0
    for number, hypervisor_id in vm.vm_snapshots:
        parts = [lookup(f"{volume}-{hypervisor_id}") for volume, lookup in volumes]
        known = [size for size in parts if size is not None]
        if known:
            words.append(f'VMSNAPSHOT=[ID="{number}",BYTES="{sum(known)}"]')
        else:
            unknown += 1
    return unknown
