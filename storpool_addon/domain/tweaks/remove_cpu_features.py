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
    # virCPUDefIsEqual compares the features of both domains; seen with libvirt 9.0, whatever cpu/@mode is.
    change=(
        "All `cpu/feature` go. libvirt 9.0 refuses to migrate a VM that had any (`Target CPU feature count 0"
        " does not match source …`); it goes on running where it is."
    ),
    keys=(),
    apply=apply,
)
