"""A volume that is a VM's own and none of its disks: its saved memory, the state of its TPM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, NamedTuple

from storpool_addon import names, qos, tags
from storpool_addon.config import Config
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.vm import Vm
from storpool_addon.volumes import Placement, Volumes

if TYPE_CHECKING:
    from storpool_addon.driver import Driver


class Own(NamedTuple):
    """Such a volume, whether it is there or not. config: with what system datastore and VM override."""

    vm: Vm
    system: Datastore
    volume: str
    volumes: Volumes
    config: Config

    @classmethod
    def of(cls, driver: Driver, vm: Vm, system: Datastore, name: Callable[[str, int], str]) -> Own:
        """name: what names it, of ONE_PX and the VM's id."""
        config = driver.config.for_datastore(system).for_vm(vm)
        return cls(vm, system, name(config.one_px, vm.id), driver.volumes(system), config)

    @property
    def reference(self) -> str:
        """What names the volume's device on a host."""
        return self.volumes.api.reference(self.volume)

    def exists(self) -> bool:
        """Whether it is there; StateError when it is another's."""
        return self.volumes.find(self.volume) is not None

    def placement(self, driver: Driver, host: str) -> Placement:
        """The volume on that host and on no other."""
        return Placement(self.volume, driver.client_id(host, self.vm, self.system))

    def ensure(self, size: int, type: str) -> bool:
        """Have it there, as it is if it is there already; True when this call made it. type: the tag."""
        wanted = tags.vm_disk(
            self.config, self.vm, type=type, qc=qos.of_vm(self.config, self.vm, self.system)
        )
        template = names.template(self.config.one_px, self.system.id)
        return self.volumes.ensure(self.volume, size=size, template=template, tags=wanted)
