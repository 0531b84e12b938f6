"""Attributes of a VM about what it can grow to and about its devices."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from storpool_addon.config import key
from storpool_addon.config.elements import attributes, only
from storpool_addon.config.key import VM, Attribute, Key, Numbered, yes_or_no

# As many queues as the guest has CPUs.
PER_CPU = -1
# Of a multi-queue tap device of Linux (MAX_TAP_QUEUES).
_MOST_QUEUES = 256
_QUEUES = f"0 for none, 1 to {_MOST_QUEUES}, or VCPU"
# A bus has a number of 8 bits, and the root and other bridges need some.
_MOST_PORTS = 200
_MOST_MIB = 1 << 30
# Of QEMU's machines with the most.
_MOST_CPUS = 4096
# Compiled when a VM has the attribute: every script reads this module.
_MAC = r"[0-9a-fA-F][02468aAcCeE](?::[0-9a-fA-F]{2}){5}"
_ACCELERATION = ("accel2d", "accel3d", "rendernode")
_NUMBERS = ("ram", "vram", "vram64", "vgamem", "heads")
_ACCELERATIONS = {"accel2d": ("yes", "no"), "accel3d": ("yes", "no")}
_TYPES = ("vga", "cirrus", "vmvga", "xen", "vbox", "qxl", "virtio", "gop", "none", "bochs", "ramfb")


class Video(NamedTuple):
    """A video model: attributes of `<model>`, and of `<acceleration>` in it."""

    model: dict[str, str]
    acceleration: dict[str, str]


def _upto(most: int) -> Callable[[str], int]:
    """Reads a whole number from 0, which an empty text stands for."""

    def parse(text: str) -> int:
        if not re.fullmatch("[0-9]{0,18}", text, re.ASCII) or int(text or "0") > most:
            raise ValueError(text)
        return int(text or "0")

    return parse


def _queues(text: str) -> int:
    return PER_CPU if text.upper() == "VCPU" else _upto(_MOST_QUEUES)(text)


def _override(text: str) -> bool | None:
    """None when nothing is said; any number but 0 means yes."""
    if not text:
        return None
    return int(text) > 0 if re.fullmatch("[0-9]{1,9}", text, re.ASCII) else yes_or_no(text)


def _macs(text: str) -> tuple[str, ...]:
    """Addresses with commas between them; an empty one is for a device that is left alone."""
    found = tuple(each.strip() for each in text.split(",")) if text else ()
    if not all(not each or re.fullmatch(_MAC, each) for each in found):
        raise ValueError(text)
    return found


def _video(text: str) -> Video | None:
    if not text:
        return None
    given = attributes(text)
    acceleration = {name: given.pop(name) for name in _ACCELERATION if name in given}
    only(
        {name: value for name, value in given.items() if name not in _NUMBERS},
        {"type": _TYPES, "primary": ("yes", "no")},
    )
    numbers = [given[name] for name in _NUMBERS if name in given]
    if "type" not in given or not all(each.isascii() and each.isdigit() for each in numbers):
        raise ValueError(text)
    only({name: acceleration[name] for name in acceleration if name != "rendernode"}, _ACCELERATIONS)
    if not re.fullmatch(r"/dev/dri/[A-Za-z0-9]+", acceleration.get("rendernode", "/dev/dri/x")):
        raise ValueError(text)
    return Video(given, acceleration)


class Devices:
    """CPUs, memory and devices of a VM"""

    t_nic_queues = Key("T_NIC_QUEUES", "0", "Queues of virtio NICs.", _queues, _QUEUES, (VM,))
    t_blk_queues = key.flag("T_BLK_QUEUES", "NO", "As many queues as CPUs for virtio disks.", VM)
    t_vcpu_max = Key(
        "T_VCPU_MAX",
        "",
        "Most CPUs that the VM can grow to.",
        _upto(_MOST_CPUS),
        f"up to {_MOST_CPUS}; 0 or empty for no more than it has",
        (VM,),
    )
    t_memory_max = Attribute(
        "T_MEMORY_MAX",
        "",
        "Most memory that the VM can grow to, in MiB.",
        _upto(_MOST_MIB),
        f"MiB, up to {_MOST_MIB}; 0 or empty for no more than it has",
    )
    t_iothreads_override = Attribute(
        "T_IOTHREADS_OVERRIDE",
        "",
        "Whether the tweak's I/O thread takes the place of those that the template asks for.",
        _override,
        "1, or any larger number, for yes; 0 to leave the VM alone; empty to leave one alone that has some",
    )
    t_kvm_hide = Attribute(
        "T_KVM_HIDE", "", "Hide from the guest that it runs on KVM.", yes_or_no, "on or 1; off, 0 or empty"
    )
    q35_pcie_root_ports = Attribute(
        "Q35_PCIE_ROOT_PORTS",
        "",
        "PCI Express root ports of a q35 machine.",
        _upto(_MOST_PORTS),
        f"1 to {_MOST_PORTS}; 0 or empty for those that it has",
    )
    t_vf_macs = Attribute(
        "T_VF_MACS",
        "",
        "MAC addresses of the NICs that the VM has by PCI passthrough, in their order.",
        _macs,
        "MAC addresses with commas between them, an empty one for a device to leave alone; or empty",
    )
    t_video_model = Attribute(
        "T_VIDEO_MODEL",
        "",
        "The video card.",
        _video,
        f"name=value name=value, of type={'|'.join(_TYPES)} (needed), primary=yes|no, {', '.join(_NUMBERS)},"
        " accel2d=yes|no, accel3d=yes|no, rendernode=/dev/dri/…; or empty",
    )


# For the NIC with that number, in place of T_NIC_QUEUES.
T_NIC_N_QUEUES = Numbered("T_NIC<n>_QUEUES", "Queues of the NIC with that number.", _queues, _QUEUES)
