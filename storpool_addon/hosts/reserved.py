"""What OpenNebula must not give to VMs of a host whose CPUs and memory are StorPool's too."""

from __future__ import annotations

from typing import NamedTuple

from storpool_addon.errors import StateError
from storpool_addon.hosts.resources import STORPOOL, Facts

# What StorPool's knowledge base wants the limits of all slices to leave to the kernel.
KERNEL_KIB = 1 << 20
_CPU = 100


class Reserved(NamedTuple):
    """What a host's VMs may use. usable_cpus, usable_kib: None when nothing on the host says it.

    cpus, memory: as OpenNebula counts them. kernel: KiB that the machine has beyond, 0 when unknown.
    outside: CPUs that run, and not for VMs. notes: what a person should know.
    """

    cpus: int
    usable_cpus: frozenset[int] | None
    outside: tuple[int, ...]
    memory: int
    usable_kib: int | None
    kernel: int
    client: str
    notes: tuple[str, ...]

    def attributes(self, *, skip_cpu: bool = False) -> dict[str, str]:
        """The host's attributes in OpenNebula: RESERVED_MEM in KiB, RESERVED_CPU in hundredths of a CPU."""
        found = {}
        if self.usable_cpus is not None and not skip_cpu:
            found["RESERVED_CPU"] = str((self.cpus - len(self.usable_cpus)) * _CPU)
        if self.usable_kib is not None:
            found["RESERVED_MEM"] = str(self.memory - self.usable_kib)
        if self.client.isascii() and self.client.isdigit():
            found["SP_OURID"] = self.client
        if self.usable_cpus is not None:
            found["ISOLCPUS"] = ",".join(map(str, self.outside))
        return found


def reserved(facts: Facts, *, pinned: bool = False) -> Reserved:
    """The arithmetic. pinned: OpenNebula pins the host's VMs to CPUs, which makes isolated ones useful.

    StateError when the host has neither controller.
    """
    if facts.vms is None and facts.place is None:
        raise StateError("it has no cgroup with cpuset or memory; what is reserved there cannot be told")
    notes: list[str] = []
    cpus = _cpus(facts, pinned, notes)
    return Reserved(
        cpus=len(facts.present),
        usable_cpus=cpus,
        outside=() if cpus is None else tuple(sorted(facts.online - cpus)),
        memory=facts.memory,
        usable_kib=_memory(facts, notes),
        kernel=max(0, facts.installed - facts.memory),
        client=facts.client,
        notes=tuple(notes),
    )


def _cpus(facts: Facts, pinned: bool, notes: list[str]) -> frozenset[int] | None:
    if facts.vms is None:
        notes.append("no cpuset controller: CPUs are not told")
        return None
    found = facts.online if facts.vms.cpus is None else facts.online & facts.vms.cpus
    if not facts.vms.place:
        notes.append("the VMs' slice is not there")
    storpool = facts.storpool
    if found == facts.online and storpool and storpool.place and storpool.cpus and storpool.cpus < found:
        notes.append(f"nothing bounds the VMs' CPUs: those of {STORPOOL} are taken away")
        found -= storpool.cpus
    elif storpool and storpool.place and storpool.cpus and storpool.cpus & found:
        notes.append(f"{STORPOOL} and the VMs share CPUs")
    if found & facts.isolated and not pinned:
        if found <= facts.isolated:
            notes.append("the kernel isolates all CPUs of the VMs: only VMs that are pinned run well there")
        else:
            found -= facts.isolated
    if not found:
        notes.append("the VMs' slice has no CPU that runs")
    if found == facts.online and not facts.vms.place:
        # Its cgroups may not be set up yet: nothing is no reason to tell OpenNebula that nothing is reserved.
        notes.append("nothing says which CPUs are for VMs: CPUs are not told")
        return None
    return found


def _memory(facts: Facts, notes: list[str]) -> int | None:
    if facts.place is None:
        notes.append("no memory controller: memory is not told")
        return None
    far = 0
    if facts.vms and facts.vms.mems:
        far = sum(size for node, size in facts.nodes.items() if node not in facts.vms.mems)
    near = max(0, facts.memory - far)
    own = facts.place.split("/")[1] if facts.place else ""
    others = sum(limit or 0 for name, limit in facts.tops.items() if name != own)
    if facts.limit is not None:
        if facts.limit + others + KERNEL_KIB > facts.memory:
            notes.append("the limits of all slices leave less than 1 GiB to the kernel")
        return min(near, facts.limit)
    if not others and not facts.place:
        notes.append("nothing says what memory is for VMs: memory is not told")
        return None
    if not others:
        notes.append("no slice has a limit of memory")
        return near
    if near <= others + KERNEL_KIB:
        notes.append("the limits of other slices are more than the host has: memory is not told")
        return None
    notes.append("nothing bounds the VMs' memory: the limits of all other slices and 1 GiB are taken away")
    return near - others - KERNEL_KIB
