"""Formats are told by their headers as qemu-img tells them; nothing that leans on other files passes."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from storpool_addon.datastore import formats
from storpool_addon.errors import StateError
from tests import programs


def qemu_img(*words: str) -> str:
    return programs.run("qemu-img", *words)


def head(path: Path) -> bytes:
    return path.read_bytes()[: formats.HEAD_SIZE]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("qcow2", "compat=0.10"),
        ("qcow2", "compat=1.1"),
        ("qcow", ""),
        ("vmdk", "subformat=monolithicSparse"),
        ("vmdk", "subformat=streamOptimized"),
        ("vhdx", ""),
        ("vdi", ""),
        ("vpc", "subformat=dynamic,force_size=on"),
    ],
)
def test_every_format_is_recognised_with_its_size(tmp_path: Path, name: str, options: str) -> None:
    image = tmp_path / "image"
    source = tmp_path / "raw"
    with source.open("wb") as file:
        file.write(b"x" * 100_000)
        file.truncate(37 << 20)
    qemu_img("convert", "-O", name, *(["-o", options] if options else []), str(source), str(image))
    content = image.read_bytes()
    said = json.loads(qemu_img("info", "--output=json", str(image)))
    assert formats.detect(head(image)) == said["format"] == name
    found = formats.virtual_size(head(image), lambda offset, size: content[offset : offset + size])
    assert found == said["virtual-size"] == 37 << 20
    formats.check_self_contained(head(image), name)


@pytest.mark.parametrize("content", [b"", b"\0" * 512, b"QFI", b"KDM" + b"\0" * 99])
def test_anything_else_is_raw(content: bytes) -> None:
    assert formats.detect(content) == formats.RAW
    assert formats.virtual_size(content) is None


@pytest.mark.parametrize("content", [b"QFI\xfb\0\0\0\x03", b"KDMV", b"vhdxfile", b"conectix" + b"\0" * 8])
def test_truncated_header_has_no_size(content: bytes) -> None:
    assert formats.virtual_size(content, lambda offset, size: b"") is None


@pytest.mark.parametrize("junk", [b"\xff" * (64 << 10), b"regi" + b"\xff" * 65532])
def test_garbage_in_vhdx_tables_is_not_followed(junk: bytes) -> None:
    assert formats.virtual_size(b"vhdxfile", lambda offset, size: junk[:size]) is None


def test_backing_file_is_refused(tmp_path: Path) -> None:
    base, image = tmp_path / "base", tmp_path / "image"
    qemu_img("create", "-f", "qcow2", str(base), "1M")
    qemu_img("create", "-f", "qcow2", "-b", str(base), "-F", "qcow2", str(image))
    with pytest.raises(StateError, match="a backing file; flatten it"):
        formats.check_self_contained(head(image), "qcow2")


def test_external_data_file_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "image"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'}", str(image), "1M")
    with pytest.raises(StateError, match="an external data file"):
        formats.check_self_contained(head(image), "qcow2")


@pytest.mark.parametrize("subformat", ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"])
def test_vmdk_with_extents_elsewhere_is_refused(tmp_path: Path, subformat: str) -> None:
    image = tmp_path / "image.vmdk"
    qemu_img("create", "-f", "vmdk", "-o", f"subformat={subformat}", str(image), "1M")
    with pytest.raises(StateError, match="in other files"):
        formats.check_self_contained(head(image), "vmdk")


def test_vmdk_with_parent_is_refused(tmp_path: Path) -> None:
    base, image = tmp_path / "base.vmdk", tmp_path / "image.vmdk"
    qemu_img("create", "-f", "vmdk", str(base), "1M")
    qemu_img("create", "-f", "vmdk", "-b", str(base), "-F", "vmdk", str(image))
    with pytest.raises(StateError, match="a backing file"):
        formats.check_self_contained(head(image), "vmdk")


@pytest.mark.parametrize(
    ("capacity", "descriptor"),
    [
        (0, b'createType="monolithicSparse"\n'),
        (2048, b'createType="monolithicFlat"\n'),
        (2048, b'createType="custom"\n'),
        (2048, b""),
    ],
)
def test_forged_vmdk_header_is_refused(capacity: int, descriptor: bytes) -> None:
    """A capacity of 0 makes qemu take its extents, any files, from the embedded descriptor."""
    header = b"KDMV" + struct.pack("<IIQQQQ", 1, 3, capacity, 128, 1, 20)
    with pytest.raises(StateError):
        formats.check_self_contained(header.ljust(512, b"\0") + descriptor.ljust(10240, b"\0"), "vmdk")
