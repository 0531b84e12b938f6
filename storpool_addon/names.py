"""The names of our volumes, snapshots and templates in StorPool; they are those of the bash addon, and stay.

`px` is ONE_PX, the prefix that keeps several OpenNebula instances apart in one cluster.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.errors import UsageError

if TYPE_CHECKING:
    from storpool_addon.opennebula.disk import Disk

# StorPool takes names of up to 199 of these characters (storpool.sptype in its Python bindings).
MAX_LENGTH = 199
_NAME = re.compile(r"[A-Za-z0-9_.:\-]+", re.ASCII)
_PREFIX = r"[A-Za-z0-9_.:\-]+"
_SOURCE = re.compile(rf"({_PREFIX})-ds-([0-9]+)/(\1-img-[0-9]+)", re.ASCII)


class Origin(NamedTuple):
    """What a volume's name says about it.

    kind: image, disk (a VM's copy of an image), raw, swap, context, nvram, tpm, checkpoint,
    checkpoint-archive or memory. The ids are None where the name has none.
    """

    kind: str
    image_id: int | None = None
    vm_id: int | None = None
    disk_id: int | None = None


def template(px: str, datastore_id: int) -> str:
    """The StorPool template of a datastore."""
    return _checked(f"{px}-ds-{datastore_id}")


def image(px: str, image_id: int) -> str:
    """An image: a persistent one, or what the disks of a non-persistent one are copies of."""
    return _checked(f"{px}-img-{image_id}")


def source(px: str, datastore_id: int, image_id: int) -> str:
    """What oned keeps as the SOURCE of an image."""
    return f"{template(px, datastore_id)}/{image(px, image_id)}"


def of_source(text: str) -> str:
    """The volume of an image by its SOURCE: `one-ds-101/one-img-7` gives `one-img-7`."""
    return _source(text)[3]


def datastore_of_source(text: str) -> int:
    """The datastore in the SOURCE of an image: `one-ds-101/one-img-7` gives 101."""
    return int(_source(text)[2])


def vm_disk(volume: str, vm_id: int, disk_id: int) -> str:
    """A VM's own copy of the image `volume`: a non-persistent disk, or a CDROM."""
    return _checked(f"{volume}-{vm_id}-{disk_id}")


def volatile(px: str, vm_id: int, disk_id: int, *, swap: bool = False) -> str:
    """A volatile disk."""
    return _checked(f"{px}-sys-{vm_id}-{disk_id}-{'swap' if swap else 'raw'}")


def of_disk(px: str, vm_id: int, disk: Disk) -> str:
    """The volume behind a VM's disk: its own for a clone, a CDROM or a volatile disk, else the image's."""
    if disk.is_volatile:
        return volatile(px, vm_id, disk.disk_id, swap=disk.is_swap)
    image_volume = of_source(disk.source)
    return vm_disk(image_volume, vm_id, disk.disk_id) if disk.has_own_volume else image_volume


def context(px: str, vm_id: int, disk_id: int) -> str:
    """The context image."""
    return _checked(f"{px}-sys-{vm_id}-{disk_id}-iso")


def is_context(px: str, name: str) -> bool:
    """Whether this is the name of a context image."""
    found = parse(px, name)
    return found is not None and found.kind == "context"


def nvram(px: str, vm_id: int) -> str:
    """The UEFI variables."""
    return _checked(f"{px}-sys-{vm_id}-NVRAM")


def tpm(px: str, vm_id: int) -> str:
    """The state of the virtual TPM."""
    return _checked(f"{px}-sys-{vm_id}-SWTPM")


def checkpoint(px: str, vm_id: int) -> str:
    """Memory that libvirt saves straight to a volume."""
    return _checked(f"{px}-sys-{vm_id}-rawcheckpoint")


def checkpoint_archive(px: str, vm_id: int) -> str:
    """An archive of a checkpoint file."""
    return _checked(f"{px}-sys-{vm_id}-checkpoint")


def memory(px: str, vm_id: int) -> str:
    """Memory during a VM snapshot that includes it."""
    return _checked(f"{px}-sys-{vm_id}")


def staging(px: str, image_id: int) -> str:
    """The volume that the bash addon downloaded an image to; this driver only removes it."""
    import hashlib

    final = image(px, image_id)
    digest = hashlib.md5(f"{final}\n".encode(), usedforsecurity=False).hexdigest()
    return _checked(f"{final}-{digest}")


def disk_snapshot(volume: str, snapshot_id: int) -> str:
    """A snapshot of a disk or an image."""
    return _checked(f"{volume}-snap{snapshot_id}")


def hypervisor_id(infix: str, snapshot_id: int, epoch_s: int) -> str:
    """What oned keeps for a VM snapshot. infix: VMSNAPSHOT_TAG."""
    return _checked(f"{infix}-{snapshot_id}-{epoch_s}")


def vm_snapshot(volume: str, hypervisor_id: str) -> str:
    """The part of a VM snapshot that is of `volume`."""
    return _checked(f"{volume}-{hypervisor_id}")


def backup_snapshot(volume: str, number: int | None, user: str = "") -> str:
    """What a backup reads. number: of the increment, None for a full backup.

    user: the disk, as `<VM>-<disk>`, of a volume that other VMs have too, whose backups are theirs.

    An increment needs the snapshot of the one before it and no other, so two names are enough for a chain of
    any length: whatever is left of an earlier chain has one of them, and is found without a list.
    """
    word = "full" if number is None else ("odd" if number % 2 else "even")
    return _checked(f"{volume}-ONEBACKUP-{user}-{word}" if user else f"{volume}-ONEBACKUP-{word}")


def backup_snapshots(volume: str, user: str = "") -> list[str]:
    """All that backups may have left of a volume."""
    return [backup_snapshot(volume, number, user) for number in (None, 0, 1)]


def export_snapshot(volume: str, word: str) -> str:
    """What an export reads. word: makes it unique."""
    return _checked(f"{volume}-export-{word}")


def of_export(px: str, name: str) -> int:
    """The image that the name of an export's snapshot or file is about; UsageError for any other name."""
    match = re.fullmatch(rf"{re.escape(px)}-img-([0-9]+)-export-[A-Za-z0-9]+", name, re.ASCII)
    if not match or len(name) > MAX_LENGTH:
        raise UsageError(f"{name[:200]!r} is not the name of an export ({px}-img-N-export-X)")
    return int(match[1])


def reverted(volume: str, word: str) -> str:
    """What a volume held when a revert of its VM began. word: the VM snapshot's."""
    return _checked(f"{volume}-SPTMP-{word}")


def restored(volume: str, word: str) -> str:
    """What a restore puts a disk's new content together in; the bash addon's name of what it replaced."""
    return _checked(f"{volume}-tmRestore{word}")


def deleted(volume: str, global_id: str) -> str:
    """The snapshot that delayed delete keeps; the global id makes it the same at each repetition."""
    return _checked(f"{volume}-deleted-{global_id}")


def parse(px: str, name: str) -> Origin | None:
    """What a volume's name says, None when it is not the name of a volume of ours. The whole name counts."""
    match = _volume(px).fullmatch(name)
    if match is None:
        return None
    image_id, user, disk_id, vm_id, its_disk, kind, own = match.groups()
    if image_id:
        if user:
            return Origin("disk", int(image_id), int(user), int(disk_id))
        return Origin("image", int(image_id))
    if its_disk:
        return Origin(_KINDS.get(kind, kind), None, int(vm_id), int(its_disk))
    return Origin(_KINDS.get(own, own) if own else "memory", None, int(vm_id))


@lru_cache(maxsize=4)
def _volume(px: str) -> re.Pattern[str]:
    """One pattern for all kinds: names are read by the ten thousand."""
    number = "([0-9]+)"
    image = f"img-{number}(?:-{number}-{number})?"
    own = f"sys-{number}(?:-{number}-(raw|swap|iso)|-(NVRAM|SWTPM|rawcheckpoint|checkpoint))?"
    return re.compile(f"{re.escape(px)}-(?:{image}|{own})", re.ASCII)


def is_ours(px: str, name: str, *, snapshot: bool = False) -> bool:
    """Whether a volume, or snapshot, of this name is one that we make: all of it counts."""
    if not snapshot and parse(px, name) is not None:
        return True
    match = re.fullmatch(_OF_SNAPSHOT if snapshot else _DRAFT, name, re.ASCII)
    return match is not None and parse(px, match[1]) is not None


# What this module makes of a volume's name for another volume, and for a snapshot.
_DRAFT = r"(.+?)-(?:SPTMP-|tmRestore)[A-Za-z0-9_.:\-]*"
_ENDINGS = r"snap[0-9]+|ONEBACKUP-[a-z0-9\-]+|export-[A-Za-z0-9]+|[A-Za-z]+-[0-9]+-[0-9]+|SPTMP-.+"
_OF_SNAPSHOT = rf"(.+?)-(?:{_ENDINGS})"
# Kinds whose names hold another word.
_KINDS = {
    "iso": "context",
    "NVRAM": "nvram",
    "SWTPM": "tpm",
    "rawcheckpoint": "checkpoint",
    "checkpoint": "checkpoint-archive",
}


def _source(text: str) -> re.Match[str]:
    match = _SOURCE.fullmatch(text)
    if not match:
        raise UsageError(
            f"{text[:200]!r} is not the SOURCE of an image of this driver (PREFIX-ds-N/PREFIX-img-N)"
        )
    return match


def _checked(name: str) -> str:
    if len(name) > MAX_LENGTH or not _NAME.fullmatch(name):
        allowed = f"1 to {MAX_LENGTH} of A-Z a-z 0-9 _ . : -"
        raise UsageError(f"{name[:220]!r} cannot be a name in StorPool; allowed are {allowed}")
    return name
