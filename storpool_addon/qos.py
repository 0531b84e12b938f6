"""The QoS class of a volume (its `qc` tag): who may ask for one, and whose word counts first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from storpool_addon.config import Config
from storpool_addon.errors import ConfigError

# Whose class counts, first to last.
VM_FIRST = ("disk", "vm", "system", "default")  # clone, ln of a CDROM, mkimage, mkswap
IMAGE_FIRST = ("disk", "image", "vm", "system", "datastore", "default")  # ln of a persistent image
VM_ONLY = ("vm", "system", "default")  # context, UEFI variables
IMAGE_ONLY = ("image", "datastore", "default")  # cp, mkfs, clone of an image, snap_revert, mvds
DATASTORE_ONLY = ("datastore", "default")  # cpds
DEFAULT_ONLY = ("default",)  # delete of a persistent disk

_CLASS = re.compile(r"[A-Za-z0-9_.\-]+", re.ASCII)
_DISK = re.compile(r"([0-9]{1,9}):(.*)", re.ASCII | re.DOTALL)


class Asking(Protocol):
    """A VM, image, disk or datastore: what may carry SP_QOSCLASS."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """By OpenNebula's names."""


class VmClasses(NamedTuple):
    """SP_QOSCLASS of a VM: a class for the VM, and classes for single disks."""

    vm: str
    disks: Mapping[int, str]


def of_vm(config: Config, vm: Asking, system: Asking) -> str:
    """For a volume that is the VM's own and no disk: context image, UEFI variables."""
    return resolve(config, VM_ONLY, vm=vm, system=system)


def of_disk(config: Config, vm: Asking, disk_id: int, system: Asking) -> str:
    """For a VM's copy of an image, and for a volatile disk."""
    return resolve(config, VM_FIRST, vm=vm, disk_id=disk_id, system=system)


def of_image(config: Config, image: Asking, datastore: Asking) -> str:
    """For an image that no VM uses."""
    return resolve(config, IMAGE_ONLY, image=image, datastore=datastore)


def resolve(
    config: Config,
    order: Sequence[str],
    *,
    vm: Asking | None = None,
    disk_id: int | None = None,
    image: Asking | None = None,
    system: Asking | None = None,
    datastore: Asking | None = None,
) -> str:
    """The first class that is asked for, "" when nobody asks; ConfigError for one that is not possible.

    order: one of the tuples above. disk_id: whose entry of the VM's list counts. datastore: the image's.
    """
    classes = read(_asked(vm), f"SP_QOSCLASS of VM {getattr(vm, 'id', '')}")
    others = {"image": image, "system": system, "datastore": datastore}
    for whose in order:
        if whose == "disk":
            asked = classes.disks.get(-1 if disk_id is None else disk_id, "")
        elif whose == "vm":
            asked = classes.vm
        elif whose == "default":
            asked = config.default_qosclass
        else:
            asked = _asked(others[whose])
        if asked:
            return _checked(asked, f"SP_QOSCLASS ({whose})")
    return ""


def read(text: str, what: str = "SP_QOSCLASS") -> VmClasses:
    """Read `class`, or `class;2:classA;4:classB` in any order; ConfigError names the entry that does not fit.

    Of several entries without a disk the last one counts, as in the bash addon's transfer manager.
    """
    try:
        return _read(text)
    except ValueError as error:
        raise ConfigError(f"{what}: {error}") from None


@lru_cache(maxsize=256)
def _read(text: str) -> VmClasses:
    vm_class, disks = "", {}
    for entry in filter(None, text.split(";")):
        match = _DISK.fullmatch(entry)
        if match is None:
            vm_class = _possible(entry)
        elif match[2]:
            disks[int(match[1])] = _possible(match[2])
    return VmClasses(vm_class, disks)


def _asked(by: Asking | None) -> str:
    return "" if by is None else "".join(by.attributes.get("SP_QOSCLASS", "").split())


def _checked(name: str, what: str) -> str:
    try:
        return _possible(name)
    except ValueError as error:
        raise ConfigError(f"{what}: {error}") from None


def _possible(name: str) -> str:
    if not _CLASS.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is not a class; only A-Z a-z 0-9 _ . - are possible")
    return name
