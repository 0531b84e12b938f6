"""os: the firmware, and where its variables are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from storpool_addon import names
from storpool_addon.config import Config
from storpool_addon.config.firmware import Nvram
from storpool_addon.domain.document import Domain
from storpool_addon.domain.tweak import Tweak
from storpool_addon.errors import ConfigError, StateError
from storpool_addon.opennebula.vm import Vm

if TYPE_CHECKING:
    from lxml.etree import _Element

# oned writes the VM's directory on the host there (LibVirtDriverKVM.cc); it is the last metadata, after what
# a template's RAW may hold.
_ONE = "{http://opennebula.org/xmlns/libvirt/1.0}"
_DIRECTORY = f"metadata/{_ONE}vm/{_ONE}system_datastore"


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Set attributes of `<os>`, its loader and its variables, each when the VM says so."""
    for name, value in (config.t_os or {}).items():
        _set_or_delete(domain.ensure("os"), name, value)
    loader, nvram = config.t_os_loader, config.t_os_nvram
    if loader:
        _refuse_disks(domain, vm, loader.text)
        domain.replace("os/loader", loader.text, loader.attributes)
    if nvram:
        _variables(domain, vm, config, nvram)


def _set_or_delete(element: _Element, name: str, value: str) -> None:
    if value:
        element.set(name, value)
    else:
        element.attrib.pop(name, "")


def _refuse_disks(domain: Domain, vm: Vm, loader: str) -> None:
    """ConfigError for a file of a datastore: it may be the disk of another VM."""
    datastores = os.path.dirname(os.path.dirname(os.path.normpath(_directory(domain))))
    if datastores not in ("", "/") and loader.startswith(datastores + "/"):
        raise ConfigError(
            f"T_OS_LOADER of VM {vm.id}: {loader} is in a datastore, where disks of VMs are; put the firmware"
            " elsewhere"
        )


def _directory(domain: Domain) -> str:
    """The VM's directory on hosts, "" when the domain does not name it."""
    found = domain.all(_DIRECTORY)
    return (found[-1].text or "").strip() if found else ""


def _variables(domain: Domain, vm: Vm, config: Config, wish: Nvram) -> None:
    path = _path(domain, vm, config, wish)
    # The volume is filled by this driver, and libvirt is to make nothing of it.
    template = (
        {} if wish.is_volume or not wish.template else {"template": _template(vm, config, wish.template)}
    )
    if not wish.type:
        domain.replace("os/nvram", path, template)
        return
    from lxml.etree import SubElement

    element = domain.replace("os/nvram", "", {**template, "type": wish.type})
    # Without white space: `deploy` on the host takes any text in the element for a path to copy a file to.
    SubElement(element, "source", {"dev" if wish.type == "block" else "file": path})


def _path(domain: Domain, vm: Vm, config: Config, wish: Nvram) -> str:
    if wish.is_volume:
        return f"/dev/storpool/{names.nvram(config.one_px, vm.id)}"
    directory = _directory(domain)
    if not directory.startswith("/"):
        raise StateError(
            f"the domain of VM {vm.id} does not name the VM's directory, which T_OS_NVRAM puts a file in;"
            " write storpool in place of the file"
        )
    return os.path.join(directory, wish.file)


def _template(vm: Vm, config: Config, template: str) -> str:
    """Its path on hosts; libvirt reads it as root, so that nothing but templates may be named."""
    directory = config.nvram_template_path
    path = os.path.join(directory, template)
    if not os.path.normpath(path).startswith(os.path.normpath(directory) + "/"):
        raise ConfigError(
            f"T_OS_NVRAM of VM {vm.id}: template {template} is not a file in {directory};"
            " put a copy of it there"
        )
    return path


TWEAK = Tweak(
    name="os",
    doc="Boots with a firmware such as UEFI, and keeps its variables on a volume or in the VM's directory.",
    change=(
        "`T_OS` sets attributes of `<os>`, or takes away those with an empty value. `T_OS_LOADER` replaces"
        " `os/loader`. `T_OS_NVRAM` replaces `os/nvram`: `storpool` is the VM's volume,"
        " `/dev/storpool/PREFIX-sys-VM-NVRAM`; any other name is a file in the VM's directory, which"
        " libvirt fills from `template`, a file of `NVRAM_TEMPLATE_PATH`. With `type` the path is in"
        " `nvram/source`, else it is the text. Several `<os>` become one."
    ),
    keys=(
        Config.t_os,
        Config.t_os_loader,
        Config.t_os_nvram,
        Config.one_px,
        Config.nvram_template_path,
    ),
    apply=apply,
)
