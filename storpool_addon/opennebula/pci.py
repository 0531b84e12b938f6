"""A PCI device of the host that a VM has."""

from __future__ import annotations

import re
from typing import NamedTuple

from storpool_addon.opennebula.xml import Node

# Domain, bus, slot and function in hexadecimal, as `lspci` writes them.
_PART = r"(?:0x)?([0-9a-fA-F]{1,8})"


class PciAddress(NamedTuple):
    """Where a device is."""

    domain: int
    bus: int
    slot: int
    function: int

    @classmethod
    def of(cls, domain: str, bus: str, slot: str, function: str) -> PciAddress | None:
        """Of hexadecimal texts, with 0x or without; None when one is no number."""
        found = [re.fullmatch(_PART, each.strip()) for each in (domain, bus, slot, function)]
        numbers = [int(each[1], 16) for each in found if each]
        return cls(*numbers) if len(numbers) == len(found) else None


class Pci(NamedTuple):
    """A device. address: on the host, None when oned has not chosen it yet. mac: of a NIC, else ""."""

    address: PciAddress | None
    mac: str

    @classmethod
    def from_node(cls, node: Node) -> Pci:
        """The device in a PCI element of a VM's template."""
        place = PciAddress.of(*(node.text(name) for name in ("DOMAIN", "BUS", "SLOT", "FUNCTION")))
        return cls(place, node.text("MAC"))
