"""syncGraphicsListen: the console of a migrated VM listens where it is meant to."""

from __future__ import annotations

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Replace the addresses that consoles listen at."""
    address = config.graphics_listen or vm.graphics.get("LISTEN", "")
    if not address:
        return
    for console in domain.all("devices/graphics"):
        if console.get("listen") is not None:
            console.set("listen", address)
        for listen in console.findall("listen"):
            # A listener on a network of libvirt gets its address there.
            if listen.get("type") == "address" and listen.get("address") is not None:
                listen.set("address", address)


TWEAK = Tweak(
    name="syncGraphicsListen",
    doc="Lets the console listen at an address that the target of a migration has.",
    change=(
        "`graphics/@listen` and `graphics/listen[@type='address']/@address`, where they are set, become"
        " `GRAPHICS_LISTEN`, or else the VM's own `GRAPHICS/LISTEN`."
    ),
    keys=(Config.graphics_listen,),
    apply=apply,
)
