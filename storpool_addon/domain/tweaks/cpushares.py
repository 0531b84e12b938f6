"""cpuShares: the CPU shares of a VM follow its CPUs."""

from __future__ import annotations

import re

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.shares import V1, V2, Scale
from storpool_addon.opennebula.vm import Vm

_MILLION = 1_000_000
_CPUS = re.compile(r"[0-9]{1,5}(\.[0-9]{1,6})?", re.ASCII)


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Compute the shares that oned wrote anew."""
    written = domain.find("cputune/shares")
    if written is None:
        return
    given = vm.template.get("VCPU", "")
    vcpus = int(given) if given.isascii() and given.isdigit() and len(given) < 6 else 1
    shares = -(-vcpus * config.t_cputune_mul * V1.base // _MILLION)
    most = _scale((written.text or "").strip(), vm).most
    domain.replace("cputune/shares", str(min(max(config.t_cputune_shares or shares, V1.least), most)))


def _scale(written: str, vm: Vm) -> Scale:
    """Of the host's cgroups: oned has written what the VM's CPU is there."""
    given = vm.template.get("CPU", "")
    cpus = float(given) if _CPUS.fullmatch(given) else 1.0
    is_weight = written in (str(V2.of(cpus)), str(V2.most)) and written != str(V1.of(cpus))
    return V2 if is_weight else V1


TWEAK = Tweak(
    name="cpuShares",
    doc="The CPU shares of a VM follow the number of its CPUs, not the part of a CPU that it is charged for.",
    change=(
        "`cputune/shares`, where there is one: VCPU × `T_CPUTUNE_MUL` × 1024, rounded up, from 2 to 262144;"
        " or `T_CPUTUNE_SHARES`. On a host with cgroup v2, which takes no more, 10000 at the most."
    ),
    keys=(Config.t_cputune_mul, Config.t_cputune_shares),
    apply=apply,
)
