"""Hot-plug: what runs around OpenNebula's own attach_disk and detach_disk on the host of a running VM."""

from __future__ import annotations

from posixpath import dirname
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.errors import UsageError
from storpool_addon.hosts import hotplug, vmdir
from storpool_addon.opennebula.datastore import without_token
from storpool_addon.opennebula.location import absolute, as_written, checked_host
from storpool_addon.opennebula.protocol import number, protocol, text
from storpool_addon.opennebula.vm import TM_MAD, Vm
from storpool_addon.opennebula.xml import Node, is_true, parse

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

_BLOCK = "BLOCK"


class _Sent(NamedTuple):
    """The action's document: what it says, and how it is handed on."""

    vm: Vm
    document: bytes

    @classmethod
    def parse(cls, document: bytes) -> _Sent:
        root = parse(document)
        for disk in root.nodes("VM/TEMPLATE/DISK"):
            if disk.flag("ATTACH"):
                _as_block_device(disk)
        return cls(Vm.from_node(root.required("VM")), without_token(root.document()))


class Plugging(NamedTuple):
    """A disk that oned attaches to a running VM, or detaches: both actions are told nearly the same."""

    deploy_id: str
    path: str
    target: str
    target_index: str
    vm_id: int
    host: str
    action: _Sent
    message: str = ""


def _as_block_device(disk: Node) -> None:
    """A disk of ours is a device, whatever its datastore says: OpenNebula's script takes others for files."""
    if disk.text("TM_MAD") == TM_MAD and disk.text("DISK_TYPE").upper() != _BLOCK:
        disk.write("DISK_TYPE", _BLOCK)
        disk.write("TYPE", "CDROM" if disk.text("TYPE").upper().endswith("CDROM") else _BLOCK)


@protocol(
    deploy_id=text,
    path=as_written,
    target=text,
    target_index=text,
    message=text,
    vm_id=number,
    host=checked_host,
    stdin=("action", _Sent.parse),
    into=Plugging,
)
def attach_disk(driver: Driver, plugging: Plugging) -> None:
    """The running VM gets a disk; a CD goes into an empty drive where the VM keeps some for that."""
    shell, plug = driver.hosts.on(plugging.host), _plug(driver, plugging)
    if _goes_into_a_drive(driver, plugging.action.vm):
        hotplug.insert(shell, plug)
    else:
        hotplug.attach(shell, plug)


@protocol(
    deploy_id=text,
    path=as_written,
    target=text,
    target_index=text,
    vm_id=number,
    host=checked_host,
    stdin=("action", _Sent.parse),
    into=Plugging,
)
def detach_disk(driver: Driver, plugging: Plugging) -> None:
    """The running VM loses a disk; a CD leaves a drive that stays."""
    hotplug.detach(driver.hosts.on(plugging.host), _plug(driver, plugging))


def _plug(driver: Driver, plugging: Plugging) -> hotplug.Plug:
    vm_id, home = plugging.vm_id, absolute(dirname(plugging.path))
    vmdir.check(home, vm_id)
    if plugging.action.vm.id != vm_id:
        raise UsageError(f"standard input is about VM {plugging.action.vm.id}, not about VM {vm_id}")
    words = (plugging.deploy_id, plugging.path, plugging.target, plugging.target_index)
    last = (str(vm_id), plugging.host)
    return hotplug.Plug(driver.config.scripts_remote_dir, home, (*words, *last), plugging.action.document)


def _goes_into_a_drive(driver: Driver, vm: Vm) -> bool:
    """An IDE drive cannot be plugged in, and the VM has empty ones."""
    attached = [disk for disk in vm.disks if is_true(disk.attribute("ATTACH"))]
    keeps_drives = driver.config.for_vm(vm).t_persistent_cdrom > 0
    return keeps_drives and any(disk.is_cdrom and disk.dev_prefix == "hd" for disk in attached)
