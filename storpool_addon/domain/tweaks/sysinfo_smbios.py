"""sysinfo_smbios: what the guest reads about its machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.layout import insert
from storpool_addon.domain.tweak import Tweak
from storpool_addon.errors import StateError
from storpool_addon.opennebula.vm import Vm

if TYPE_CHECKING:
    from lxml.etree import _Element


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Write down the entries, and have the guest read them."""
    blocks = {
        "bios": config.t_smbios_bios,
        "system": config.t_smbios_system,
        "baseBoard": config.t_smbios_baseboard,
        "chassis": config.t_smbios_chassis,
    }
    strings = config.t_smbios_oemstrings
    if not strings and not any(blocks.values()):
        return
    _use_sysinfo(domain, vm)
    sysinfo = domain.find("sysinfo[@type='smbios']")
    if sysinfo is None:
        sysinfo = insert(domain.root, "sysinfo", type="smbios")
    for name, entries in blocks.items():
        if entries:
            _write(_child(sysinfo, name), entries)
    if strings:
        _add(_child(sysinfo, "oemStrings"), strings)


def _use_sysinfo(domain: Domain, vm: Vm) -> None:
    found = domain.find("os/smbios")
    mode = "sysinfo" if found is None else found.get("mode")
    if mode != "sysinfo":
        raise StateError(
            f"VM {vm.id} has T_SMBIOS attributes, and its domain has os/smbios of mode {mode};"
            " remove one of the two"
        )
    domain.set("os/smbios", mode="sysinfo")


def _child(parent: _Element, name: str) -> _Element:
    found = parent.find(name)
    return insert(parent, name) if found is None else found


def _write(block: _Element, entries: Mapping[str, str]) -> None:
    for name, value in entries.items():
        found = next((each for each in block.findall("entry") if each.get("name") == name), None)
        (insert(block, "entry", name=name) if found is None else found).text = value


def _add(block: _Element, strings: tuple[str, ...]) -> None:
    there = {each.text for each in block.findall("entry")}
    for text in strings:
        if text not in there:
            insert(block, "entry", text)


TWEAK = Tweak(
    name="sysinfo_smbios",
    doc="Sets what the guest reads about its machine: maker, product, serial numbers.",
    change=(
        "With any of the attributes: `os/smbios/@mode='sysinfo'`, and `sysinfo[@type='smbios']` with"
        " `<bios>`, `<system>`, `<baseBoard>`, `<chassis>` and `<oemStrings>`. An entry that is there gets"
        " the new value, others stay. A domain with another `os/smbios/@mode` is refused."
    ),
    keys=(
        Config.t_smbios_bios,
        Config.t_smbios_system,
        Config.t_smbios_baseboard,
        Config.t_smbios_chassis,
        Config.t_smbios_oemstrings,
    ),
    apply=apply,
)
