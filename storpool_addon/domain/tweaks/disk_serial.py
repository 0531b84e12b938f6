"""disk-serial: disks have serial numbers by which a guest finds them again."""

from __future__ import annotations

import hashlib

from storpool_addon.config import Config
from storpool_addon.domain.disk import Disk
from storpool_addon.domain.document import Domain
from storpool_addon.domain.layout import insert
from storpool_addon.domain.tweak import Tweak
from storpool_addon.opennebula.vm import Vm

_OFF, _BY_PATH = "DISABLED", "HASHPATH"
# virtio-blk has room for no more (virtio 1.2, 5.2.6: VIRTIO_BLK_T_GET_ID).
_LENGTH = 20


def apply(domain: Domain, vm: Vm, config: Config) -> None:
    """Give a serial number to disks that have none."""
    if config.t_diskserial in ("", _OFF):
        return
    for disk in domain.disks:
        seed = _seed(disk, vm, by_path=config.t_diskserial == _BY_PATH) if disk.device == "disk" else ""
        if seed and not (disk.element.findtext("serial") or "").strip():
            for empty in disk.element.findall("serial"):
                disk.element.remove(empty)
            insert(disk.element, "serial", _hash(seed))


def _seed(disk: Disk, vm: Vm, *, by_path: bool) -> str:
    """What no other disk has and this one keeps; "" for a disk that nothing is known of."""
    if by_path:
        return disk.source
    found = next((each for each in vm.disks if each.disk_id == disk.disk_id), None)
    if found is None:
        return ""
    if found.is_volatile:
        # With the VM's id: the first disks of two VMs are two disks.
        return f"volatile-{vm.id}-{found.disk_id}"
    return f"{vm.id}-{found.disk_id}" if found.clone else f"persistent-{found.image_id}"


def _hash(seed: str) -> str:
    # Not for secrecy: hosts in FIPS mode refuse MD5 otherwise.
    return hashlib.md5(seed.encode(), usedforsecurity=False).hexdigest()[:_LENGTH]


TWEAK = Tweak(
    name="disk-serial",
    doc="Disks have serial numbers by which a guest finds them, whatever their order.",
    change=(
        "`serial` of each `disk[@device='disk']` that has none, unless `T_DISKSERIAL` is DISABLED: the first"
        " 20 digits of the MD5 sum of the disk's path for HASHPATH, else of `<VM id>-<disk id>`,"
        " `persistent-<image id>` or `volatile-<VM id>-<disk id>`. A disk without a path has none."
    ),
    keys=(Config.t_diskserial,),
    apply=apply,
)
