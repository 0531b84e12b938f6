"""resizeCpuMem: a VM that can grow while it runs."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.topology import list_vcpus, memory_kib
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Let CPUs and memory grow to what is configured; what oned has already made so stays."""
    if config.t_vcpu_max > domain.vcpus and not _has_fixed_cpus(domain):
        _let_cpus_grow(domain, config.t_vcpu_max)
    if config.t_memory_max and not _has_fixed_memory(domain):
        _let_memory_grow(domain, config.t_memory_max << 10)


def _has_fixed_cpus(domain: Domain) -> bool:
    """Whether they can grow already, or are dealt out to sockets that must match their number."""
    found = domain.find("vcpu")
    grows = found is not None and found.get("current") is not None
    return grows or domain.find("cpu/topology") is not None


def _let_cpus_grow(domain: Domain, most: int) -> None:
    domain.set("vcpu", str(most), current=str(domain.vcpus))
    list_vcpus(domain)


def _has_fixed_memory(domain: Domain) -> bool:
    """Whether it can grow already, or is dealt out to NUMA nodes, whose sum counts."""
    return any(domain.find(path) is not None for path in ("currentMemory", "maxMemory", "cpu/numa"))


def _let_memory_grow(domain: Domain, most_kib: int) -> None:
    now = memory_kib(domain)
    if most_kib > now:
        domain.set("currentMemory", str(now), unit="KiB")
        domain.set("memory", str(most_kib), unit="KiB")


TWEAK = Tweak(
    name="resizeCpuMem",
    doc="Lets a VM's CPUs and memory grow while it runs, for an OpenNebula that cannot do so by itself.",
    change=(
        "`T_VCPU_MAX` above the VM's CPUs: `<vcpu current='now'>max`, and `<vcpus>` with those that it"
        " starts with and those to plug in; not for a VM with a `cpu/topology` of its own. `T_MEMORY_MAX`"
        " above its memory: `<currentMemory>` is what `<memory>` was, and `<memory>` the maximum; not for a"
        " VM with NUMA nodes. What oned has written for its own `VCPU_MAX` and `MEMORY_MAX` stays. Runs"
        " before the other tweaks."
    ),
    keys=(Config.t_vcpu_max, Config.t_memory_max),
    apply=apply,
)
