"""volatile2dev: disks of this driver that oned takes for files are devices."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.ours import is_ours
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Make block devices of the driver's disks that the document has as files."""
    for disk in domain.disks:
        source = disk.element.find("source")
        if disk.type == "file" and source is not None and is_ours(disk, vm):
            disk.element.set("type", "block")
            source.set("dev", source.attrib.pop("file"))


TWEAK = Tweak(
    name="volatile2dev",
    doc="Volatile disks and the context image are volumes, so that the guest gets them as devices.",
    change=(
        "`disk[@type='file']` of this driver, the context image too if the system datastore is this driver's:"
        " `type='block'`, and `source/@file` becomes `source/@dev`. Not needed where the system datastore has"
        " `DISK_TYPE=BLOCK` and `CONTEXT_DISK_TYPE=BLOCK`."
    ),
    keys=(),
    apply=apply,
)
