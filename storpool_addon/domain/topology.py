"""Sockets, cores, threads and NUMA cells of a guest."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain, whole
from storpool_addon.domain.layout import insert
from storpool_addon.errors import StateError

# Units of sizes, as libvirt understands them ("Memory Allocation"); without one it means KiB.
_UNITS = {
    "b": 1, "bytes": 1,
    "KB": 10**3, "k": 1 << 10, "KiB": 1 << 10,
    "MB": 10**6, "M": 1 << 20, "MiB": 1 << 20,
    "GB": 10**9, "G": 1 << 30, "GiB": 1 << 30,
    "TB": 10**12, "T": 1 << 40, "TiB": 1 << 40,
}  # fmt: skip
# x86 of QEMU 7 to 9.
_MOST_VCPUS = 4096


def lay_out(domain: Domain, config: Config) -> None:
    """Write topology and NUMA cells for the domain's CPUs and memory, as T_CPU_SOCKETS asks.

    StateError when the numbers do not fit.
    """
    sockets, threads, vcpus = config.t_cpu_sockets, config.t_cpu_threads, domain.vcpus
    if not sockets:
        return
    if vcpus % (sockets * threads):
        raise StateError(
            f"T_CPU_SOCKETS={sockets} and T_CPU_THREADS={threads} do not fit {vcpus} CPUs:"
            " sockets times threads has to divide them"
        )
    if domain.find("numatune/memnode") is not None:
        raise StateError(
            f"T_CPU_SOCKETS={sockets} does not go with NUMA cells that are bound to the host's; leave one out"
        )
    cores = vcpus // sockets // threads
    shape = {"sockets": str(sockets), "cores": str(cores), "threads": str(threads)}
    domain.replace("cpu/topology", "", shape)
    _cells(domain, sockets, alternate=config.t_cpu_alt_numa and threads == 1)


def list_vcpus(domain: Domain) -> None:
    """Name every CPU: those that the guest starts with, and those that it may be given."""
    vcpu = domain.find("vcpu")
    current = None if vcpu is None else whole(str(vcpu.get("current", "")))
    if domain.vcpus > _MOST_VCPUS:
        raise StateError(f"the domain has {domain.vcpus} CPUs; QEMU runs up to {_MOST_VCPUS}")
    listed = domain.replace("vcpus")
    for number in range(domain.vcpus):
        is_first, is_on = number == 0, number < (current or domain.vcpus)
        states = {"enabled": "yes" if is_on else "no", "hotpluggable": "no" if is_first else "yes"}
        insert(listed, "vcpu", id=str(number), **states)


def memory_kib(domain: Domain) -> int:
    """The memory that the guest may have; StateError when the domain does not say."""
    found = domain.find("memory")
    text = domain.text("memory")
    unit = "KiB" if found is None else str(found.get("unit", "KiB"))
    number = whole(text)
    if unit not in _UNITS or number is None:
        raise StateError(
            f"the domain's memory is {text[:40]!r} {unit[:20]}; a number and a unit are expected"
        )
    return number * _UNITS[unit] >> 10


def _cells(domain: Domain, sockets: int, *, alternate: bool) -> None:
    old = domain.find("cpu/numa/cell")
    access = "" if old is None else str(old.get("memAccess", ""))
    numa = domain.replace("cpu/numa")
    for number, memory in enumerate(_shared(memory_kib(domain), sockets)):
        cpus = _cpus(number, sockets, domain.vcpus, alternate=alternate)
        cell = insert(numa, "cell", id=str(number), cpus=cpus, memory=str(memory), unit="KiB")
        if access:
            cell.set("memAccess", access)


def _cpus(number: int, sockets: int, vcpus: int, *, alternate: bool) -> str:
    if alternate:
        return ",".join(map(str, range(number, vcpus, sockets)))
    each = vcpus // sockets
    return f"{number * each}-{(number + 1) * each - 1}" if each > 1 else str(number)


def _shared(memory: int, cells: int) -> list[int]:
    """The memory in whole MiB for each cell, as even as that goes; nothing is lost."""
    mib, rest = divmod(memory, 1024)
    each, more = divmod(mib, cells)
    sizes = [(each + (number < more)) * 1024 for number in range(cells)]
    return [*sizes[:-1], sizes[-1] + rest]
