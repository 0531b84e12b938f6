"""Domains and attributes that nobody should write, and somebody will."""

from __future__ import annotations

import subprocess
import sys

import pytest

from storpool_addon.config import Config
from storpool_addon.domain.document import Domain
from storpool_addon.domain.tweaking import BUILT_IN, MIGRATE, apply, built_in, load, tweak
from storpool_addon.errors import AddonError, TweakError, UsageError
from tests.domain import golden

POLICIES = "name[:policy],…; policy: force, require, optional, disable, forbid"
ALL = (*BUILT_IN, *MIGRATE)


@pytest.mark.parametrize(
    ("name", "attribute", "text", "allowed"),
    [
        ("cpu", "T_CPU_MODE", "banana", "empty, custom, host-model, host-passthrough, delete"),
        ("cpu", "T_CPU_FEATURES", "vmx:maybe", POLICIES),
        ("cpu", "T_CPU_FEATURES", "<vmx>", POLICIES),
        ("cpu", "T_CPU_MODEL", "EPYC:perhaps", "model[:fallback]; fallback: allow, forbid; delete; or empty"),
        ("cpu", "T_CPU_SOCKETS", "two", "a whole number from 0 to 4096"),
        ("cpu", "T_CPU_SOCKETS", "9" * 30, "a whole number from 0 to 4096"),
        ("cpu", "T_CPU_THREADS", "0", "a whole number from 1 to 64"),
        ("cpuShares", "T_CPUTUNE_MUL", "1e9", "a number with up to 6 decimals"),
        ("cpuShares", "T_CPUTUNE_SHARES", "1", "2 to 262144, or empty"),
        ("cputune", "T_CPUTUNE_PERIOD", "999", "microseconds, 1000 to 1000000, or empty"),
        ("cputune", "T_CPUTUNE_QUOTA", "--5", "microseconds, 1000 to 17592186044415; 0 for none; "),
        ("cputune", "T_CPUTUNE_SHARES_KEEP", "perhaps", "1 Y YES T TRUE ON for yes"),
        ("feature_smm", "T_FEATURE_SMM", "state=on", ":state=on, :state=off, or empty"),
        ("feature_smm", "T_FEATURE_SMM", "x:state=on", ":state=on, :state=off, or empty"),
        ("feature_smm", "T_FEATURE_SMM_TSEG", "48", "number:unit=MiB (or KiB, GiB), or empty"),
        ("feature_smm", "T_FEATURE_SMM_TSEG", "much:unit=MiB", "number:unit=MiB (or KiB, GiB), or empty"),
        ("hv-enlightenments", "T_HV_IPI", "maybe", "on or 1; off, 0 or empty"),
        ("hv-enlightenments", "T_HV_SPINLOCKS", "17", "on or 1 for 8191 retries; how many, from 4095"),
        ("persistent-cdrom", "T_PERSISTENT_CDROM", "-1", "a whole number from 0 to"),
        ("persistent-cdrom", "T_PERSISTENT_CDROM_TYPE", "dvd", "block, file"),
        ("disk-serial", "T_DISKSERIAL", "a b", "one word of"),
    ],
)  # fmt: skip
def test_an_attribute_that_is_not_allowed(name: str, attribute: str, text: str, allowed: str) -> None:
    with pytest.raises(TweakError) as error:
        golden.tweaked("windows-q35", [name], {attribute: text}, {})
    line = str(error.value)
    assert line.startswith(f"tweak {name}: VM 43: {attribute} is {text!r}; allowed: {allowed}")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("base", "name", "attributes", "reason"),
    [
        ("linux-pc", "cpu", {"T_CPU_SOCKETS": "3"}, "T_CPU_SOCKETS=3 and T_CPU_THREADS=1 do not fit 4 CPUs"),
        ("linux-pc", "cpu", {"T_CPU_FEATURES": "vmx"}, "VM 42: T_CPU_FEATURES needs a CPU model"),
        (
            "linux-pc",
            "feature_smm",
            {"T_FEATURE_SMM_TSEG": "8:unit=MiB"},
            "machine type pc; only q35 has that",
        ),
        (
            "linux-pc",
            "os",
            {"T_OS_LOADER": "/var/lib/one/datastores/100/41/disk.0:type=pflash"},
            "T_OS_LOADER of VM 42: .*disk.0 is in a datastore",
        ),
        (
            "linux-pc",
            "os",
            {"T_OS_NVRAM": "VARS.fd:template=/etc/shadow"},
            "T_OS_NVRAM of VM 42: template /etc/shadow is not a file in /var/tmp/one/OVMF",
        ),
    ],
)
def test_attributes_that_do_not_fit_the_domain(
    base: str, name: str, attributes: dict[str, str], reason: str
) -> None:
    with pytest.raises(TweakError, match=f"tweak {name}: .*{reason}"):
        golden.tweaked(base, [name], attributes, {})


ODD = {path.stem: path.read_bytes() for path in (golden.BASES.parent / "odd").iterdir()}


@pytest.mark.parametrize("kind", ODD)
def test_odd_domains_end_in_a_document_or_a_line(kind: str) -> None:
    vm = golden.vm_of("linux-pc", golden.everything())
    config = Config().for_vm(vm)
    for name in (each for each in ALL if built_in(each, ALL)):
        try:
            once = tweak(ODD[kind], vm, config, [name])
        except TweakError as error:
            assert str(error).startswith(f"tweak {name}: ") and "\n" not in str(error)
            continue
        assert tweak(once, vm, config, [name]) == once, name
        if kind == "others-names":
            assert once.count(b"<x:") == ODD[kind].count(b"<x:")


@pytest.mark.parametrize(
    ("document", "name", "attributes", "reason"),
    [
        (
            b"<domain><os><smbios mode='host'/></os></domain>",
            "sysinfo_smbios",
            {"T_SMBIOS_OEMSTRINGS": "a"},
            "VM 42 has T_SMBIOS attributes, and its domain has os/smbios of mode host",
        ),
        (b"<domain/>", "os", {"T_OS_NVRAM": "VARS.fd:"}, "does not name the VM's directory"),
        (
            b"<domain><memory>much</memory></domain>",
            "resizeCpuMem",
            {"T_MEMORY_MAX": "9"},
            "memory is 'much'",
        ),
    ],
)
def test_domains_that_do_not_fit_the_attributes(
    document: bytes, name: str, attributes: dict[str, str], reason: str
) -> None:
    vm = golden.vm_of("linux-pc", attributes)
    with pytest.raises(TweakError, match=f"tweak {name}: .*{reason}"):
        tweak(document, vm, Config().for_vm(vm), [name])


def test_what_a_tweak_needs_is_one_afterwards() -> None:
    document = (
        b"<domain><cpu mode='custom'><model>a</model></cpu><cpu><topology/></cpu>"
        b"<devices/><devices><panic/></devices></domain>"
    )
    vm = golden.vm_of("linux-pc", {"T_CPU_MODE": "host-model"})
    made = tweak(document, vm, Config().for_vm(vm), ["cpu"])
    assert made == (
        b'<domain><cpu mode="host-model"><model>a</model><topology/></cpu>'
        b"<devices><panic/></devices></domain>\n"
    )


def test_a_large_domain_is_made_in_time() -> None:
    disk = b"<disk type='file' device='disk'><source file='/x/disk.3'/><target dev='vdb'/></disk>\n"
    document = (
        b"<domain>\n<description>"
        + b"x" * (10 << 20)
        + b"</description>\n<devices>\n"
        + disk * 2000
        + b"</devices></domain>"
    )
    vm = golden.vm_of("linux-pc", {"T_DISKSERIAL": "on"})
    made = tweak(document, vm, Config().for_vm(vm), ["volatile2dev", "disk-serial", "disk-cache-io"])
    assert (
        made.count(b'<source dev="/x/disk.3"/>')
        == made.count(b"<serial>")
        == made.count(b'io="native"')
        == 2000
    )


def test_an_unknown_name() -> None:
    domain = Domain.parse(b"<domain/>")
    with pytest.raises(AddonError, match=r"no tweak is named \.\./x; there are: "):
        apply(domain, golden.vm_of("linux-pc", {}), Config(), ["../x"])
    assert load("cpu.py") is load("cpu")
    with pytest.raises(UsageError):
        load("cpu.py.py")


def test_only_what_is_enabled_is_loaded() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from storpool_addon.domain.tweaking import load; load('uuid.py')\n"
        "print(*sorted(name for name in sys.modules if 'domain.tweaks.' in name or 'lxml' in name))"
    )
    checkout = str(golden.BASES.parents[2])
    argv = [sys.executable, "-I", "-S", "-c", program, checkout]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == "storpool_addon.domain.tweaks.uuid\n"
