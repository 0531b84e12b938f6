"""vfhostdev2interface: NICs by PCI passthrough that keep their MAC address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.layout import insert
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.pci import PciAddress
from storpool_addon.opennebula.vm import Vm

if TYPE_CHECKING:
    from lxml.etree import _Element


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Make interfaces of the passed-through NICs whose address is known."""
    macs = config.t_vf_macs
    by_address = {each.address: each.mac for each in vm.pcis if each.address}
    for index, device in enumerate(_devices(domain)):
        place = _address(device)
        mac = "".join(macs[index : index + 1]) if macs else (by_address.get(place, "") if place else "")
        if mac and device.tag == "hostdev":
            _convert(device, mac)


def _devices(domain: Domain) -> list[_Element]:
    """The PCI devices in the order that T_VF_MACS counts: those that are interfaces already, too."""
    return [
        each
        for each in domain.all("devices/*")
        if (each.tag, each.get("type")) in (("hostdev", "pci"), ("interface", "hostdev"))
    ]


def _address(device: _Element) -> PciAddress | None:
    found = device.find("source/address")
    if found is None:
        return None
    return PciAddress.of(*(str(found.get(name, "0")) for name in ("domain", "bus", "slot", "function")))


def _convert(device: _Element, mac: str) -> None:
    device.tag = "interface"
    device.attrib.pop("mode", "")
    device.set("type", "hostdev")
    device.set("managed", "yes")
    address = device.find("source/address")
    if address is not None:
        address.set("type", "pci")
    if device.find("driver") is None:
        insert(device, "driver", "", 0, name="vfio")
    insert(device, "mac", "", 1, address=mac)


TWEAK = Tweak(
    name="vfhostdev2interface",
    doc="Gives NICs by PCI passthrough (SR-IOV) their MAC address, which the guest would choose by chance.",
    change=(
        "A `hostdev[@type='pci']` becomes an `interface[@type='hostdev'][@managed='yes']` with `<driver"
        " name='vfio'/>` and the MAC address, at the same place and with the same addresses on the host and"
        " in the guest. The address is the one of its position in `T_VF_MACS`; without that attribute, the"
        " one that OpenNebula has for the device at this address of the host (`PCI/MAC`). A device without"
        " an address is left alone."
    ),
    keys=(Config.t_vf_macs,),
    apply=apply,
)
