"""context-cache: CD drives do not fill the host's page cache."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Read images of CDs past the host's cache."""
    for disk in domain.disks:
        if disk.device != "cdrom" or disk.is_empty:
            continue
        # The context image stays meant where volatile2dev ran before.
        if disk.type == "file" or disk.disk_id == vm.context_disk_id:
            disk.driver(cache="none", io="native")


TWEAK = Tweak(
    name="context-cache",
    doc="The host's cache is left to others: images of CDs are read past it.",
    change="`driver` of CD drives with a file, and of the context image: `cache='none' io='native'`.",
    keys=(),
    apply=apply,
)
