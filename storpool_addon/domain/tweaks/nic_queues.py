"""nic-queues: several queues for virtio NICs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from storpool_addon.config import Config
from storpool_addon.config.devices import PER_CPU, T_NIC_N_QUEUES
from storpool_addon.domain.document import Domain
from storpool_addon.domain.layout import insert
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm

if TYPE_CHECKING:
    from lxml.etree import _Element

# oned names a NIC's device on the host `one-<VM>-<NIC>`, or whatever the template says.
_NIC = re.compile(r".*-([0-9]{1,6})", re.ASCII)


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Set the queues of every virtio NIC that is to have some."""
    for nic in domain.all("devices/interface"):
        model = nic.find("model")
        if model is not None and model.get("type") == "virtio":
            queues = _queues(nic, vm, config)
            if queues:
                _set(nic, domain.vcpus if queues == PER_CPU else queues)


def _queues(nic: _Element, vm: Vm, config: Config) -> int:
    target = nic.find("target")
    found = _NIC.fullmatch("" if target is None else str(target.get("dev", "")))
    own = T_NIC_N_QUEUES.of(vm.id, vm.attributes, int(found[1])) if found else None
    return config.t_nic_queues if own is None else own


def _set(nic: _Element, queues: int) -> None:
    driver = nic.find("driver")
    if driver is None:
        driver = insert(nic, "driver")
        # A NIC in another process is vhost anyway, and libvirt's documents name no driver for it.
        if nic.get("type") != "vhostuser":
            driver.set("name", "vhost")
    driver.set("queues", str(queues))


TWEAK = Tweak(
    name="nic-queues",
    doc="Several queues for virtio NICs, so that several CPUs of the guest can serve one.",
    change=(
        "`interface[model/@type='virtio']/driver/@queues`: `T_NIC<n>_QUEUES` of the NIC `n`, else"
        " `T_NIC_QUEUES`; `VCPU` for the number of CPUs. A driver that is made is `name='vhost'`. With 0"
        " the NIC is left alone."
    ),
    keys=(Config.t_nic_queues, T_NIC_N_QUEUES),
    apply=apply,
)
