"""persistent-cdrom: CD drives that are there before there is a CD."""

from __future__ import annotations

from collections.abc import Iterator

from storpool_addon.config import Config
from storpool_addon.domain.disk import Disk
from storpool_addon.domain.document import Domain, whole
from storpool_addon.domain.layout import insert, place
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
# One controller of libvirt's: two channels with two drives; AHCI has six ports and may come more than once.
_IDE_PLACES, _SATA_PLACES, _PORTS = 4, 24, 6


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Add empty drives until there are as many as wanted, places end, or the limit is reached."""
    drives = [disk for disk in domain.disks if disk.device == "cdrom"]
    missing = config.t_persistent_cdrom - sum(disk.is_empty for disk in drives)
    room = max(0, config.max_cdrom_devices - len(drives))
    for target in list(_free_targets(domain))[: max(0, min(missing, room))]:
        _add(domain, target, config.t_persistent_cdrom_type)


def _free_targets(domain: Domain) -> Iterator[str]:
    """Names whose places on the bus of CD drives are free too."""
    bus, prefix, places = ("sata", "sd", _SATA_PLACES) if domain.is_q35 else ("ide", "hd", _IDE_PLACES)
    names = {disk.target for disk in domain.disks}
    taken = {_place(disk, bus) for disk in domain.disks if disk.bus == bus}
    for number, letter in enumerate(_LETTERS[:places]):
        if number not in taken and prefix + letter not in names:
            yield prefix + letter


def _place(disk: Disk, bus: str) -> int:
    """Where on the bus a disk is; libvirt goes by the letter if there is no address."""
    address = disk.element.find("address")
    if address is None:
        return _LETTERS.find(disk.target[2:3])
    numbers = [whole(str(address.get(each, ""))) or 0 for each in ("controller", "bus", "unit")]
    controller, channel, unit = numbers
    return controller * _PORTS + unit if bus == "sata" else controller * _IDE_PLACES + channel * 2 + unit


def _add(domain: Domain, target: str, kind: str) -> None:
    from lxml.etree import Element

    devices = domain.ensure("devices")
    drive = Element("disk", {"type": kind, "device": "cdrom"})
    disks = devices.findall("disk")
    place(devices, drive, devices.index(disks[-1]) + 1 if disks else len(devices))
    insert(drive, "target", dev=target, bus="sata" if target.startswith("sd") else "ide")
    insert(drive, "driver", name="qemu", type="raw", cache="none", io="native")
    insert(drive, "readonly")


TWEAK = Tweak(
    name="persistent-cdrom",
    doc="CD drives are there before there is a CD, since a running guest can be given a CD but no IDE drive.",
    change=(
        "`T_PERSISTENT_CDROM` empty `disk[@device='cdrom']` of type `T_PERSISTENT_CDROM_TYPE`, as far as"
        " there are free places (four `hd` on IDE; `sd` on SATA if the machine type is q35) and no more CD"
        " drives in all than `MAX_CDROM_DEVICES`."
    ),
    keys=(Config.t_persistent_cdrom, Config.t_persistent_cdrom_type, Config.max_cdrom_devices),
    apply=apply,
)
