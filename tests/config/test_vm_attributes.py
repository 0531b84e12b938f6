"""Attributes of VMs about firmware and devices: what they mean, and what they may not hold."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from storpool_addon.config import KEYS, Config
from storpool_addon.config.devices import PER_CPU, T_NIC_N_QUEUES, Video
from storpool_addon.config.elements import Element
from storpool_addon.config.firmware import Nvram
from storpool_addon.errors import ConfigError


def read(name: str, text: str) -> object:
    config = Config().for_vm(SimpleNamespace(id=7, attributes={name: text}))
    return getattr(config, KEYS[name].attribute)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("T_OS", ":firmware=efi", {"firmware": "efi"}),
        ("T_OS", "firmware=", {"firmware": ""}),
        ("T_OS_LOADER", "/a/b.fd:", Element("/a/b.fd", {})),
        ("T_OS_LOADER", "/b:type=rom  secure='no'", Element("/b", {"type": "rom", "secure": "no"})),
        ("T_OS_NVRAM", "storpool:type=block template=a/V.fd", Nvram("storpool", "a/V.fd", "block")),
        ("T_OS_NVRAM", ":template=/d/V.fd", Nvram("V.fd", "/d/V.fd", "")),
        ("T_SMBIOS_BIOS", "vendor=a=b; date:05/13/22;", {"vendor": "a=b", "date": "05/13/22"}),
        ("T_SMBIOS_OEMSTRINGS", "a:b ; c;", ("a:b", "c")),
        (
            "T_VF_MACS",
            "02:00:11:AB:cd:01,, 02:00:11:ab:cd:02",
            ("02:00:11:AB:cd:01", "", "02:00:11:ab:cd:02"),
        ),
        ("T_VIDEO_MODEL", "type=qxl accel3d=no", Video({"type": "qxl"}, {"accel3d": "no"})),
        ("T_NIC_QUEUES", "vcpu", PER_CPU),
        ("T_VCPU_MAX", "0", 0),
        ("T_IOTHREADS_OVERRIDE", "4", True),
        ("T_IOTHREADS_OVERRIDE", "0", False),
    ],
)
def test_what_they_mean(name: str, text: str, value: object) -> None:
    assert read(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("T_OS", "firmware=coreboot"),
        ("T_OS", "xmlns=x"),
        ("T_OS", "efi"),
        ("T_OS_LOADER", "/usr/share/OVMF/OVMF_CODE.fd"),
        ("T_OS_LOADER", "OVMF_CODE.fd:readonly=yes"),
        ("T_OS_LOADER", "/x:readonly"),
        ("T_OS_LOADER", "/dev/storpool/one-img-7:type=pflash"),
        ("T_OS_LOADER", "/proc/self/root/dev/storpool/one-img-7:type=pflash"),
        ("T_OS_LOADER", "/usr/../dev/storpool/one-img-7:type=pflash"),
        ("T_OS_LOADER", "//dev/storpool/one-img-7:type=pflash"),
        ("T_OS_LOADER", "/x:readonly=maybe"),
        ("T_OS_NVRAM", "storpool"),
        ("T_OS_NVRAM", "../x:template=V.fd"),
        ("T_OS_NVRAM", "..:template=V.fd"),
        ("T_OS_NVRAM", ":type=file"),
        ("T_OS_NVRAM", "disk.1:type=block"),
        ("T_OS_NVRAM", "checkpoint:type=file"),
        ("T_OS_NVRAM", "vm.xml:type=file"),
        ("T_OS_NVRAM", "storpool:template=../../etc/shadow"),
        ("T_OS_NVRAM", "storpool:type=network"),
        ("T_SMBIOS_SYSTEM", "colour=red"),
        ("T_SMBIOS_SYSTEM", "uuid=1"),
        ("T_SMBIOS_BIOS", "date=2022-05-13"),
        ("T_SMBIOS_CHASSIS", "serial"),
        ("T_SMBIOS_OEMSTRINGS", "a\x01b"),
        ("T_UUID", "banana"),
        ("T_VF_MACS", "02:00:11:ab:cd"),
        ("T_VF_MACS", "03:00:11:ab:cd:01"),
        ("T_VIDEO_MODEL", "qxl"),
        ("T_VIDEO_MODEL", "vram=65536"),
        ("T_VIDEO_MODEL", "type=qxl vram=much"),
        ("T_VIDEO_MODEL", "type=virtio rendernode=/dev/storpool/x"),
        ("T_NIC_QUEUES", "257"),
        ("T_NIC_QUEUES", "many"),
        ("T_VCPU_MAX", "9" * 30),
        ("T_MEMORY_MAX", "4G"),
        ("Q35_PCIE_ROOT_PORTS", "-1"),
        ("T_KVM_HIDE", "perhaps"),
        ("T_IOTHREADS_OVERRIDE", "perhaps"),
    ],
)
def test_what_they_may_not_hold(name: str, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(name, text)
    assert str(error.value) == f"VM 7: {name} is {text[:80]!r}; allowed: {KEYS[name].allowed}"


def test_an_attribute_with_a_number_in_its_name() -> None:
    given = {"T_NIC3_QUEUES": "2", "T_NIC4_QUEUES": "x"}
    assert (T_NIC_N_QUEUES.of(7, given, 3), T_NIC_N_QUEUES.of(7, given, 0)) == (2, None)
    with pytest.raises(
        ConfigError, match=r"VM 7: T_NIC4_QUEUES is 'x'; allowed: 0 for none, 1 to 256, or VCPU"
    ):
        T_NIC_N_QUEUES.of(7, given, 4)
