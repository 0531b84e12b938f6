"""q35-pcie-root: more slots for PCI Express devices."""

from __future__ import annotations

from collections import Counter

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.layout import insert
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Bring a q35 machine to the number of root ports that the VM asks for."""
    if not config.q35_pcie_root_ports or not domain.is_q35:
        return
    devices = domain.ensure("devices")
    found = Counter(each.get("model") for each in domain.all("devices/controller[@type='pci']"))
    if not found["pcie-root"]:
        insert(devices, "controller", type="pci", index="0", model="pcie-root")
    for _ in range(found["pcie-root-port"], config.q35_pcie_root_ports):
        insert(devices, "controller", type="pci", model="pcie-root-port")
    if not found["pcie-to-pci-bridge"]:
        insert(devices, "controller", type="pci", model="pcie-to-pci-bridge")


TWEAK = Tweak(
    name="q35-pcie-root",
    doc="More PCI Express root ports, each of which takes one device that is plugged in later.",
    change=(
        "With `Q35_PCIE_ROOT_PORTS` on a q35 machine: `controller[@type='pci']` of model `pcie-root-port`"
        " up to that number, those that oned writes included; a `pcie-root` and a `pcie-to-pci-bridge` when"
        " they are absent."
    ),
    keys=(Config.q35_pcie_root_ports,),
    apply=apply,
)
