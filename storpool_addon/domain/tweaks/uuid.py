"""uuid: a UUID of the VM's own choice."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.layout import insert
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Set the UUID that the VM asks for."""
    if not config.t_uuid:
        return
    name = domain.find("name")
    if domain.find("uuid") is None and name is not None:
        # libvirt's schema wants the two together.
        insert(domain.root, "uuid", "", domain.root.index(name) + 1)
    domain.set("uuid", config.t_uuid)


TWEAK = Tweak(
    name="uuid",
    doc="Gives the domain a certain UUID; OpenNebula's own `OS/UUID` does the same.",
    change="With `T_UUID`: the text of `<uuid>`.",
    keys=(Config.t_uuid,),
    apply=apply,
)
