"""What a host has of CPUs and memory, and what its cgroups leave to VMs: facts, read in one round trip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from storpool_addon.errors import StateError
from storpool_addon.hosts.prelude import PRELUDE
from storpool_addon.hosts.shell import Shell

# StorPool's services run in it (StorPool's knowledge base, "StorPool and Cgroups").
STORPOOL = "storpool.slice"
# Any controller is in a v1 tree of its own or in the unified one; hybrid hosts have both. A slice is at the
# top or in other slices, as systemd has a-b.slice in a.slice; of memory it may use what it and all above it
# allow. $1: the VMs' slice. $2: StorPool's. $3: what to take for the root directory, in tests.
FACTS = (
    PRELUDE
    + r"""
root=${3:-}
fact() {
    local value=
    [ ! -r "$2" ] || IFS= read -r value <"$2" || :
    [ -z "$value" ] || printf '%s\t%s\n' "$1" "$value"
}
total() { printf '%s\t%s\n' "$1" "$(sed -n 's/.*MemTotal: *\([0-9]*\) kB.*/\1/p' "$2")"; }
tree_of() {
    local found= where kind options
    while read -r _ where kind options _; do
        case $kind,$options, in cgroup,*,"$1",*) found=${found:-$root$where} ;; esac
    done <"$root/proc/mounts"
    while [ -z "$found" ] && read -r _ where kind _; do
        [ "$kind" != cgroup2 ] || ! grep -qsw "$1" "$root$where/cgroup.controllers" || found=$root$where
    done <"$root/proc/mounts"
    echo "$found"
}
group_of() {
    local each
    for each in "$1/$2" "$1"/*.slice/"$2" "$1"/*.slice/*.slice/"$2"; do
        if [ -d "$each" ]; then echo "$each"; return; fi
    done
    echo "$1"
}
levels() {
    local what=$1 tree=$2 at=$3 file
    shift 3
    while :; do
        for file; do
            if [ -r "$at/$file" ]; then fact "$what" "$at/$file"; break; fi
        done
        [ "$at" != "$tree" ] || break
        at=${at%/*}
    done
}

for each in present online isolated; do fact "$each" "$root/sys/devices/system/cpu/$each"; done
total memory "$root/proc/meminfo"
for each in "$root"/sys/devices/system/node/node[0-9]*/meminfo; do
    [ ! -r "$each" ] || { node=${each%/meminfo}; total "node ${node##*/node}" "$each"; }
done
blocks=$root/sys/devices/system/memory
fact block_size "$blocks/block_size_bytes"
printf 'blocks\t%s\n' "$(cat "$blocks"/memory[0-9]*/state 2>/dev/null | grep -c '^online')"
[ -n "$root" ] || storpool_confget 2>/dev/null | sed -n 's/^SP_OURID=/client\t/p' || :

cpuset=$(tree_of cpuset) memory=$(tree_of memory)
if [ -n "$cpuset" ]; then
    for slice in "$1" "$2"; do
        group=$(group_of "$cpuset" "$slice")
        printf 'cpuset %s\t%s\n' "$slice" "${group#"$cpuset"}"
        levels "cpus $slice" "$cpuset" "$group" cpuset.cpus.effective cpuset.effective_cpus cpuset.cpus
        levels "mems $slice" "$cpuset" "$group" cpuset.mems.effective cpuset.effective_mems cpuset.mems
    done
fi
if [ -n "$memory" ]; then
    group=$(group_of "$memory" "$1")
    printf 'memory %s\t%s\n' "$1" "${group#"$memory"}"
    levels limit "$memory" "$group" memory.max memory.limit_in_bytes
    for each in "$memory"/*.slice; do
        levels "top ${each##*/}" "$each" "$each" memory.max memory.limit_in_bytes
    done
fi
"""
)
_TIMEOUT_S = 20
# The kernel's own limit of CPUs is a quarter of it.
_MOST = 1 << 15


class Group(NamedTuple):
    """A slice in the cpuset tree. place: its path there, "" when it is not there.

    cpus, mems: the CPUs and NUMA nodes that it may use; None when nothing says.
    """

    place: str
    cpus: frozenset[int] | None
    mems: frozenset[int] | None


class Facts(NamedTuple):
    """A host. Memory is in KiB.

    present, online, isolated: CPUs; OpenNebula counts those that are present (lscpu), the kernel runs
    nothing on those that are isolated unless it is pinned there. memory: what the kernel has, nodes: the same
    by NUMA node. installed: what the machine has, 0 when unknown. vms, storpool: None without cpusets.
    place: of the VMs' slice in the memory tree, "" when it is not there, None without a memory controller.
    limit: of that slice; tops: of each slice at the top; None for no limit. client: SP_OURID.
    """

    present: frozenset[int]
    online: frozenset[int]
    isolated: frozenset[int]
    memory: int
    nodes: Mapping[int, int]
    installed: int
    vms: Group | None
    storpool: Group | None
    place: str | None
    limit: int | None
    tops: Mapping[str, int | None]
    client: str


def read(shell: Shell, slice_name: str) -> Facts:
    """The facts of a host. Raises HostError, and StateError when what it says cannot be understood."""
    printed = shell.run(FACTS, slice_name, STORPOOL, what="reading CPUs and memory", timeout_s=_TIMEOUT_S)
    try:
        return understood(printed, slice_name)
    except ValueError as error:
        raise StateError(
            f"host {shell.name} says of its CPUs and memory what no kernel does: {error}"
        ) from None


def understood(printed: str, slice_name: str) -> Facts:
    """The facts that FACTS printed; ValueError when they are none."""
    said: dict[str, list[str]] = {}
    for line in printed.splitlines():
        name, _, value = line.partition("\t")
        said.setdefault(name, []).append(value)
    online, present = _one(said, "online"), _one(said, "present")
    memory = int(_one(said, "memory"))
    tops = {name[4:]: _least(said[name], memory) for name in said if name.startswith("top ")}
    return Facts(
        present=numbers(present or online),
        online=numbers(online or present),
        isolated=numbers(_one(said, "isolated")),
        memory=memory,
        nodes={int(name[5:]): int(said[name][0]) for name in said if name.startswith("node ")},
        installed=int(_one(said, "blocks") or 0) * int(_one(said, "block_size") or "0", 16) >> 10,
        vms=_group(said, slice_name),
        storpool=_group(said, STORPOOL),
        place=said.get(f"memory {slice_name}", [None])[0],
        limit=_least(said.get("limit", []), memory),
        tops=tops,
        client=_one(said, "client").strip("'\""),
    )


def numbers(text: str) -> frozenset[int]:
    """What a list of the kernel's means: "0-3,8"; ValueError when it is none."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        span = range(int(first), int(last or first) + 1)
        if not span or span[0] < 0 or span[-1] >= _MOST:
            raise ValueError(f"{part!r} is no range of CPUs or nodes")
        found.update(span)
    return frozenset(found)


def _one(said: Mapping[str, list[str]], name: str) -> str:
    return said.get(name, [""])[0]


def _group(said: Mapping[str, list[str]], name: str) -> Group | None:
    place = said.get(f"cpuset {name}")
    if place is None:
        return None
    return Group(place[0], _nearest(said.get(f"cpus {name}")), _nearest(said.get(f"mems {name}")))


def _nearest(lists: list[str] | None) -> frozenset[int] | None:
    """Of a slice and all above it, nearest first: the kernel has left out there what those above forbid.

    The groups above may well have others: they lose the CPUs of a partition (cgroup-v2.rst of the kernel).
    """
    return numbers(lists[0]) if lists else None


def _least(limits: list[str], memory: int) -> int | None:
    """The lowest limit in KiB; one that is no less than all memory is none (v1 writes 2**63 less a page)."""
    found = [int(each) >> 10 for each in limits if each != "max"]
    return min((each for each in found if each < memory), default=None)
