"""Image formats told by their first bytes: which one, how large inside, whether it leans on other files."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Callable

from storpool_addon.errors import StateError

RAW = "raw"
# Enough for every header below but VHDX's, and for the descriptor inside a VMDK.
HEAD_SIZE = 64 << 10

ReadAt = Callable[[int, int], bytes]

# qemu-img's name of the format, offset and bytes of its magic (block/<format>.c in QEMU).
_MAGIC = (
    ("qcow2", 0, b"QFI\xfb\x00\x00\x00\x02"),
    ("qcow2", 0, b"QFI\xfb\x00\x00\x00\x03"),
    ("qcow", 0, b"QFI\xfb\x00\x00\x00\x01"),
    ("vmdk", 0, b"KDMV"),
    ("vmdk", 0, b"COWD"),
    ("vmdk", 0, b"# Disk DescriptorFile"),
    ("vhdx", 0, b"vhdxfile"),
    ("vdi", 0x40, b"\x7f\x10\xda\xbe"),
    ("vpc", 0, b"conectix"),
)
# Where the virtual size stands: offset, struct format, unit in bytes.
_SIZE_AT = {
    "qcow2": (24, ">Q", 1),
    "qcow": (24, ">Q", 1),
    "vmdk": (12, "<Q", 512),
    "vdi": (0x170, "<Q", 1),
    "vpc": (48, ">Q", 1),
}

# VHDX (MS-VHDX 2.2.3.2 and 2.6): a region table names the metadata region, which holds the size.
_REGION_TABLE = 192 << 10
_METADATA_REGION = bytes.fromhex("06a27c8b9047 9a4bb8fe575f050f886e".replace(" ", ""))
_VIRTUAL_SIZE_ITEM = bytes.fromhex("2442a52f1bcd 7648b2115dbed83bf4b8".replace(" ", ""))

_QCOW2_EXTERNAL_DATA_FILE = 1 << 2
_VMDK_WHOLE = ("monolithicSparse", "streamOptimized")
_VMDK_CREATE_TYPE = re.compile(rb'^createType="([^"\n]*)"', re.MULTILINE)


def detect(head: bytes) -> str:
    """qemu-img's name of the format whose magic is in `head`; raw when there is none."""
    for name, offset, magic in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name
    return RAW


def virtual_size(head: bytes, read_at: ReadAt | None = None) -> int | None:
    """Bytes that the disk has inside, as its header says; None when it cannot be told from here.

    read_at: reads (offset, size) of the image, for formats that keep it further in.
    """
    name = detect(head)
    if name == "vhdx" and read_at:
        return _vhdx_size(read_at)
    if name not in _SIZE_AT:
        return None
    offset, form, unit = _SIZE_AT[name]
    end = offset + struct.calcsize(form)
    return int(struct.unpack(form, head[offset:end])[0]) * unit if len(head) >= end else None


def check_self_contained(head: bytes, name: str) -> None:
    """StateError when an image reads from any file but itself.

    Whoever may register an image could otherwise read every file that the driver can: through a backing
    file, an external data file or the extents of a VMDK. Checked on the header before qemu-img opens the
    image at all, because even `qemu-img info` opens some of those (CVE-2024-4467).
    """
    reason = {"qcow2": _qcow_leans, "qcow": _qcow_leans, "vmdk": _vmdk_leans}.get(name, _nothing)(head)
    if reason:
        raise StateError(f"the image has {reason}; flatten it into one file first (qemu-img convert)")


def _nothing(_head: bytes) -> str:
    return ""


def _qcow_leans(head: bytes) -> str:
    version, backing_offset = struct.unpack(">IQ", head[4:16].ljust(12, b"\0"))
    if backing_offset:
        return "a backing file"
    features = struct.unpack(">Q", head[72:80].ljust(8, b"\0"))[0] if version == 3 else 0
    return "an external data file" if features & _QCOW2_EXTERNAL_DATA_FILE else ""


def _vmdk_leans(head: bytes) -> str:
    if not head.startswith(b"KDMV"):
        return "its data in other files (a VMDK descriptor)"
    capacity, _grain, offset, size = struct.unpack("<QQQQ", head[12:44].ljust(32, b"\0"))
    # qemu takes the extents from the descriptor when the capacity is 0 (block/vmdk.c, vmdk_open_vmdk4).
    if not capacity:
        return "its data in other files (a VMDK descriptor)"
    descriptor = head[offset * 512 : (offset + size) * 512]
    if b"parentFileNameHint" in descriptor:
        return "a backing file"
    kind = _VMDK_CREATE_TYPE.search(descriptor)
    if kind is None or kind.group(1).decode("latin-1") not in _VMDK_WHOLE:
        return f"a VMDK type that is not one of {', '.join(_VMDK_WHOLE)}"
    return ""


def _vhdx_size(read_at: ReadAt) -> int | None:
    for region in _entries(read_at(_REGION_TABLE, 64 << 10), b"regi", 8, "<I", 16):
        if region.startswith(_METADATA_REGION):
            base = struct.unpack("<Q", region[16:24])[0]
            for item in _entries(read_at(base, 64 << 10), b"metadata", 10, "<H", 32):
                if item.startswith(_VIRTUAL_SIZE_ITEM):
                    data = read_at(base + struct.unpack("<I", item[16:20])[0], 8)
                    return int(struct.unpack("<Q", data)[0]) if len(data) == 8 else None
    return None


def _entries(table: bytes, magic: bytes, count_at: int, count_form: str, first: int) -> Iterator[bytes]:
    """The 32-byte entries of a VHDX table; none when it is not such a table."""
    if not table.startswith(magic) or len(table) < first:
        return
    (count,) = struct.unpack_from(count_form, table, count_at)
    for index in range(min(count, 2047)):
        entry = table[first + 32 * index : first + 32 * (index + 1)]
        if len(entry) == 32:
            yield entry
