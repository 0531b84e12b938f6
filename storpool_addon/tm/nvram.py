"""The UEFI variables of a VM: a volume, filled once from a template and the guest's own from then on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon import names, qos, tags
from storpool_addon.drafts import Draft, is_finished
from storpool_addon.errors import ConfigError
from storpool_addon.hosts import firmware
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.vm import Vm
from storpool_addon.undo import Undo
from storpool_addon.units import round_up_to_sector

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

ATTRIBUTE = "T_OS_NVRAM"
# The attribute may be a user's, and the driver can read what the user cannot, so nothing but a template is
# ever copied: a file of the directories that an operator has filled, and a flash image. That begins with the
# header of a firmware volume (UEFI Platform Initialization Specification 1.7, volume 3, 3.2.1: 16 zero bytes,
# GUID, length, signature) or is blank as a whole: a disk, too, may begin with zeros.
_HEADER, _SIGNATURE = 56, (40, b"_FVH")


class Wish(NamedTuple):
    """What T_OS_NVRAM asks for: variables on a volume of this driver, made from a template."""

    vm_id: int
    template: str

    @classmethod
    def of(cls, vm: Vm) -> Wish | None:
        """`storpool:template=OVMF_VARS.fd`, with other attributes in any order; None for other storage."""
        kind, _, rest = vm.attribute(ATTRIBUTE).partition(":")
        if kind.strip() != "storpool":
            return None
        given = dict(word.partition("=")[::2] for word in rest.split())
        return cls(vm.id, given.get("template", ""))


def provide(driver: Driver, vm: Vm, system: Datastore, host: str) -> list[str]:
    """The names of the VM's volumes of UEFI variables, made there if they are absent: one or none."""
    wish = Wish.of(vm)
    if wish is None:
        return []
    volumes = driver.volumes(system)
    name = names.nvram(volumes.config.one_px, vm.id)
    with driver.exclusive(name):
        if not is_finished(volumes, name):
            _make(driver, vm, system, name, host, wish)
    return [name]


def _make(driver: Driver, vm: Vm, system: Datastore, name: str, host: str, wish: Wish) -> None:
    volumes, client = driver.volumes(system), driver.client_id(host, vm, system)
    content = _checked(_template(driver, wish, host), wish)
    config = volumes.config.for_vm(vm)
    wanted = tags.vm_disk(config, vm, type="NVRAM", qc=qos.of_vm(config, vm, system))
    draft = Draft(volumes, name, host, client)
    with Undo(driver.log) as undo:
        size, template = round_up_to_sector(len(content)), names.template(config.one_px, system.id)
        draft.create(undo, size=size, template=template, tags=wanted)
        firmware.fill(driver.hosts.on(host), volumes.api.reference(name), content)
        draft.finish()


def _template(driver: Driver, wish: Wish, host: str) -> bytes:
    """From the front-end (OVMF_PATH) or else the host (NVRAM_TEMPLATE_PATH), and from nowhere else."""
    if not wish.template or ".." in wish.template.split("/"):
        raise ConfigError(
            f"{ATTRIBUTE} of VM {wish.vm_id} names no template; write storpool:template=OVMF_VARS.fd"
        )
    ours, theirs = driver.config.ovmf_path, driver.config.nvram_template_path
    here = os.path.join(ours, wish.template)
    if _is_below(here, ours) and os.path.lexists(here):
        return _read(os.path.realpath(here), os.path.realpath(ours), wish)
    there = os.path.join(theirs, wish.template)
    if not _is_below(there, theirs):
        raise _outside(wish, f"{ours} on the front-end or {theirs} on hosts")
    return firmware.read(driver.hosts.on(host), there, theirs, f"{ATTRIBUTE} of VM {wish.vm_id}")


def _read(path: str, directory: str, wish: Wish) -> bytes:
    if not _is_below(path, directory):
        raise _outside(wish, f"{directory}: a link leads out")
    try:
        with open(path, "rb") as file:
            return file.read(firmware.MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError(f"{ATTRIBUTE} of VM {wish.vm_id}: template {path}: {error.strerror}") from None


def _is_below(path: str, directory: str) -> bool:
    return os.path.normpath(path).startswith(os.path.normpath(directory) + "/")


def _outside(wish: Wish, where: str) -> ConfigError:
    return ConfigError(
        f"{ATTRIBUTE} of VM {wish.vm_id}: template {wish.template} is not a file in {where};"
        " put a copy of it there"
    )


def _checked(content: bytes, wish: Wish) -> bytes:
    """ConfigError for what cannot be the UEFI variables of a VM."""
    at, signature = _SIGNATURE
    blank = len(content) >= _HEADER and not (content.strip(b"\0") and content.strip(b"\xff"))
    if len(content) > firmware.MAX_SIZE or not (blank or content[at : at + len(signature)] == signature):
        raise ConfigError(
            f"{ATTRIBUTE} of VM {wish.vm_id}: template {wish.template} is no raw image of UEFI variables;"
            " convert one of another format with qemu-img"
        )
    return content
