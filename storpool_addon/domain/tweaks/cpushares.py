"""cpuShares: the CPU shares of a VM follow its CPUs."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm

_BASE, _MILLION = 1024, 1_000_000
# What the kernel takes for cpu.shares.
_LEAST, _MOST = 2, 262144


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Compute the shares that oned wrote anew."""
    if domain.find("cputune/shares") is None:
        return
    given = vm.template.get("VCPU", "")
    vcpus = int(given) if given.isascii() and given.isdigit() and len(given) < 6 else 1
    shares = -(-vcpus * config.t_cputune_mul * _BASE // _MILLION)
    domain.replace("cputune/shares", str(config.t_cputune_shares or min(max(shares, _LEAST), _MOST)))


TWEAK = Tweak(
    name="cpuShares",
    doc="The CPU shares of a VM follow the number of its CPUs, not the part of a CPU that it is charged for.",
    change=(
        "`cputune/shares`, where there is one: VCPU × `T_CPUTUNE_MUL` × 1024, rounded up, from 2 to 262144;"
        " or `T_CPUTUNE_SHARES`."
    ),
    keys=(Config.t_cputune_mul, Config.t_cputune_shares),
    apply=apply,
)
