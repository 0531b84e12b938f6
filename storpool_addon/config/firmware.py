"""Attributes of a VM about its firmware: the loader, UEFI variables, SMBIOS, the UUID."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from storpool_addon.config.elements import Element, attributes, element, only
from storpool_addon.config.key import Attribute

_YES_NO = ("yes", "no")
_LOADER = {"readonly": _YES_NO, "type": ("rom", "pflash"), "secure": _YES_NO, "stateless": _YES_NO}
# Patterns are compiled when a VM has the attribute: every script reads this module.
_FILE_NAME = r"[A-Za-z0-9_+\-][A-Za-z0-9_.+\-]{0,200}"
# What else is in the VM's directory: its disks, some of them to read only, and what OpenNebula's scripts give
# libvirt or go by. A guest may write whatever it likes to where its variables are.
_OTHERS = r"disk\..*|deployment\..*|checkpoint.*|.*\.xml|tpm"
# libvirt's schema of domains takes these, and checks the form of the two.
_UUID = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_DATE = r"(?:0[1-9]|1[0-2])/(?:0[1-9]|[12][0-9]|3[01])/(?:[0-9]{2}|[0-9]{4})"
_SMBIOS = {
    "BIOS": ("vendor", "version", "date", "release"),
    "SYSTEM": ("manufacturer", "product", "version", "serial", "uuid", "sku", "family"),
    "BASEBOARD": ("manufacturer", "product", "version", "serial", "asset", "location"),
    "CHASSIS": ("manufacturer", "version", "serial", "asset", "sku"),
}


class Nvram(NamedTuple):
    """Where UEFI variables are: `file` in the VM's directory, or our volume when it is `storpool`.

    template: what they are filled from, "" when it is not said. type: how libvirt is told: file, block, or ""
    for the form of releases before 8.5.
    """

    file: str
    template: str
    type: str

    @property
    def is_volume(self) -> bool:
        """Whether they are on a volume of this driver."""
        return self.file == "storpool"


def _os(text: str) -> dict[str, str] | None:
    """Attributes of `<os>`, an empty value to take one away; None when nothing is given."""
    if not text:
        return None
    return only(attributes(text.lstrip(": ")), {"firmware": ("efi", "bios", "")})


def _loader(text: str) -> Element | None:
    if not text:
        return None
    found = element(text)
    # A path that may lead elsewhere, or to a device: the guest may write to its firmware, or run it. All that
    # is forbidden is found below /proc/self/root too.
    is_plain = found.text.startswith("/") and not {"", ".", ".."} & set(found.text[1:].split("/"))
    if not is_plain or found.text.startswith(("/dev/", "/proc/", "/sys/")):
        raise ValueError(text)
    return Element(found.text, only(found.attributes, _LOADER))


def _nvram(text: str) -> Nvram | None:
    if not text:
        return None
    found = element(text)
    given = found.attributes
    only({name: value for name, value in given.items() if name != "template"}, {"type": ("file", "block")})
    template = given.get("template", "")
    file = found.text or template.rpartition("/")[2]
    if not re.fullmatch(_FILE_NAME, file) or re.fullmatch(_OTHERS, file) or ".." in template.split("/"):
        raise ValueError(text)
    return Nvram(file, template, given.get("type", ""))


def _entries(text: str, names: tuple[str, ...]) -> Mapping[str, str]:
    """`name=value;name=value`; a colon does for the first `=` of each."""
    found = {}
    for pair in filter(None, (each.strip() for each in text.split(";"))):
        parts = re.split("[=:]", pair, maxsplit=1)
        name, value = parts[0].strip(), parts[-1].strip()
        if len(parts) < 2 or name not in names or not value.isprintable() or not _is_form_of(name, value):
            raise ValueError(text)
        found[name] = value
    return found


def _is_form_of(name: str, value: str) -> bool:
    form = {"date": _DATE, "uuid": _UUID}.get(name)
    return form is None or bool(re.fullmatch(form, value))


def _smbios(block: str) -> Attribute[Mapping[str, str]]:
    names = _SMBIOS[block]
    forms = "; date as mm/dd/yyyy" if "date" in names else ""
    return Attribute(
        f"T_SMBIOS_{block}",
        "",
        f"SMBIOS entries of the block {block.lower()}.",
        lambda text: _entries(text, names),
        f"name=value;name=value, of {', '.join(names)}{forms}; or empty",
    )


def _strings(text: str) -> tuple[str, ...]:
    if not text.isprintable():
        raise ValueError(text)
    return tuple(filter(None, (each.strip() for each in text.split(";"))))


def _uuid(text: str) -> str:
    if text and not re.fullmatch(rf"{_UUID}|[0-9a-fA-F]{{32}}", text):
        raise ValueError(text)
    return text


class Firmware:
    """Firmware of one VM"""

    t_os = Attribute(
        "T_OS",
        "",
        "Attributes of `<os>`; an empty value takes one away.",
        _os,
        "firmware=efi, firmware=bios, firmware=, or empty",
    )
    t_os_loader = Attribute(
        "T_OS_LOADER",
        "",
        "The firmware's file on hosts.",
        _loader,
        "/path:name=value name=value, of readonly=yes|no, type=rom|pflash, secure=yes|no, stateless=yes|no;"
        " the colon is needed without any too, and the path is no device; or empty",
    )
    t_os_nvram = Attribute(
        "T_OS_NVRAM",
        "",
        "The VM's UEFI variables: on a volume (`storpool`) or in a file of the VM's directory.",
        _nvram,
        "storpool:template=FILE, or a file's name in the VM's directory in place of storpool; type=file or"
        " type=block after it for libvirt 8.5 and later; or empty",
    )
    t_smbios_bios = _smbios("BIOS")
    t_smbios_system = _smbios("SYSTEM")
    t_smbios_baseboard = _smbios("BASEBOARD")
    t_smbios_chassis = _smbios("CHASSIS")
    t_smbios_oemstrings = Attribute(
        "T_SMBIOS_OEMSTRINGS", "", "SMBIOS strings of the maker.", _strings, "text;text, or empty"
    )
    t_uuid = Attribute("T_UUID", "", "The domain's UUID.", _uuid, "a UUID, or empty")
