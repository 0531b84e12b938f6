"""remove_cpu_features: a migration to a host whose CPU lacks some."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Ask for no single CPU feature any more."""
    domain.remove("cpu/feature")


TWEAK = Tweak(
    name="remove_cpu_features",
    doc="Asks the target of a migration for no single CPU feature.",
    change="All `cpu/feature` go.",
    keys=(),
    apply=apply,
)
