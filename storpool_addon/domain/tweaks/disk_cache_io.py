"""disk-cache-io: what a guest writes to a volume reaches StorPool, and no cache of the host."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.ours import is_ours
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Open the driver's disks past the host's cache."""
    for disk in domain.disks:
        if is_ours(disk, vm):
            disk.driver(cache="none", io="native")


TWEAK = Tweak(
    name="disk-cache-io",
    doc="Disks of this driver are opened past the host's cache, as live migration needs it.",
    change=(
        "`driver` of disks of this driver, the context image too if the system datastore is this driver's:"
        " `cache='none' io='native'`."
    ),
    keys=(),
    apply=apply,
)
