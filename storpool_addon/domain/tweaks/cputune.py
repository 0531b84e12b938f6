"""cputune: limits of CPU time."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm

_LIMITS = {
    "period": Config.t_cputune_period,
    "quota": Config.t_cputune_quota,
    "global_period": Config.t_cputune_global_period,
    "global_quota": Config.t_cputune_global_quota,
    "emulator_period": Config.t_cputune_emulator_period,
    "emulator_quota": Config.t_cputune_emulator_quota,
    "iothread_period": Config.t_cputune_iothread_period,
    "iothread_quota": Config.t_cputune_iothread_quota,
}


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Write the limits that are given."""
    given = {name: key.read(config.given(key.name)) for name, key in _LIMITS.items()}
    limits = {name: value for name, value in given.items() if value is not None}
    for name, value in limits.items():
        domain.replace(f"cputune/{name}", str(value))
    if limits and not config.t_cputune_shares_keep:
        domain.remove("cputune/shares")


TWEAK = Tweak(
    name="cputune",
    doc="The CPU time of a VM, of its emulator and of its I/O threads is limited.",
    change=(
        "`cputune/period`, `quota`, `global_period`, … in place of those that are there. Where one is given,"
        " `cputune/shares` is removed unless `T_CPUTUNE_SHARES_KEEP` says to keep it."
    ),
    keys=(*_LIMITS.values(), Config.t_cputune_shares_keep),
    apply=apply,
)
